"""What importing a package brings along; pyproject.toml says which package may import which."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from comodo.config.datasets import READERS
from tests.config.test_load import sweep_file
from tests.paths import ROOT

HEAVY = ("matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "ray", "scipy", "sklearn", "torch")
FIRST_LINE = """
import json, os, sys
from comodo.cli import app
heavy, command = json.loads(sys.argv[1])

class First:
    def write(self, text):
        loaded = [name for name in heavy if name in sys.modules]
        print(json.dumps([text, loaded]), file=sys.__stdout__, flush=True)
        os._exit(0)

sys.stdout = First()
app(command)
"""
REFUSED = """
import json, sys
from comodo.cli import app
heavy, commands = json.loads(sys.argv[1])
for command in commands:
    try:
        app([*command.split(), "--store", sys.argv[2]])
    except SystemExit as end:
        print(json.dumps([command, end.code, [name for name in heavy if name in sys.modules]]))
"""
READ = """
import json, sys
from comodo.config import read_sweep_file
read_sweep_file(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""
NUMERIC = ("core", "losses", "config", "data", "models", "search", "training", "evaluation")
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
            if module.name != "comodo.losses.cross_entropy_triton"  # Triton, for GPUs
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


def test_a_wrong_name_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "sweeps/demo").mkdir(parents=True)
    (tmp_path / "sweeps/demo/asked.json").write_text("[]")
    names = [f"{verb} demmo" for verb in ("report", "export", "profile", "status", "inspect")]
    files = [f"{verb} demmo.yaml" for verb in ("plan", "sweep --smoke", "prepare", "encode")]
    arguments = [json.dumps([[*HEAVY, "comodo.config"], [*names, *files]]), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    refused = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert refused == [[name, 1, []] for name in names] + [[file, 2, []] for file in files]


@pytest.mark.parametrize("verb", ["sweep", "encode"])
def test_a_long_command_says_what_it_does_before_anything_heavy_is_loaded(verb: str) -> None:
    command = [verb, "sweeps/demo.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", FIRST_LINE, json.dumps([HEAVY, command])],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    text, loaded = json.loads(done.stdout)
    assert "sweeps/demo.yaml" in text
    assert loaded == []


@pytest.mark.parametrize(
    ("kind", "needed"), [("hapt", []), ("folder", []), ("simulated", ["folder"])]
)
def test_reading_a_sweep_file_imports_only_the_readers_that_it_names(
    kind: str, needed: list[str], tmp_path: Path
) -> None:
    path = {} if kind == "simulated" else {"path": "."}
    file = sweep_file(tmp_path, datasets={"demo": {"kind": kind, **path}})
    command = [sys.executable, "-c", READ, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    modules = {place.partition(":")[0] for place in READERS.built_in.values()}
    named = {READERS.built_in[each].partition(":")[0] for each in (kind, *needed)}
    assert loaded & modules == named
    assert loaded & {*HEAVY, "av"} == {"numpy"}


def test_a_report_is_made_without_pytorch() -> None:
    code = "import comodo.report.report, sys; print({'torch', 'ray'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
