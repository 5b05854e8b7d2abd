"""What importing a package brings along; pyproject.toml says which package may import which."""

import json
import pkgutil
import subprocess
import sys

import pytest

from tests.paths import ROOT

NUMERIC = ("core", "config", "data", "models", "search", "training", "evaluation")
PROGRAM = """
import importlib, json, sys
brought = {}
for package, modules in json.loads(sys.argv[1]).items():
    before = set(sys.modules)
    for module in modules:
        importlib.import_module(module)
    brought[package] = sorted({"ray", "mlflow"} & (set(sys.modules) - before))
print(json.dumps(brought))
"""


@pytest.fixture(scope="module")
def brought() -> dict[str, list[str]]:
    """Which of Ray and MLflow each package loads, imported one after the other in one process."""
    modules = {
        package: [
            module.name
            for module in pkgutil.walk_packages(
                [str(ROOT / "comodo" / package)], f"comodo.{package}."
            )
            if module.name != "comodo.training.losses_triton"  # Triton, for GPUs
        ]
        for package in NUMERIC
    }
    assert all(modules.values())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("package", NUMERIC)
def test_numeric_code_loads_neither_ray_nor_mlflow(
    package: str, brought: dict[str, list[str]]
) -> None:
    assert brought[package] == []
