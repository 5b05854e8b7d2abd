"""What importing a package brings along; `.importlinter` says which package may import which."""

import pkgutil
import subprocess
import sys

import pytest

from tests.paths import ROOT

NUMERIC = ("core", "config", "data", "models", "search", "training", "evaluation")


@pytest.mark.parametrize("package", NUMERIC)
def test_numeric_code_loads_neither_ray_nor_mlflow(package: str) -> None:
    folder = ROOT / "comodo" / package
    modules = [
        module.name
        for module in pkgutil.walk_packages([str(folder)], f"comodo.{package}.")
        if module.name != "comodo.training.losses_triton"  # Triton, for GPUs
    ]
    assert modules
    program = f"import sys, {', '.join(modules)}; assert not {{'ray', 'mlflow'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
