"""comodo as a library: what `import comodo` offers, and sweeps run from Python."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import comodo
from comodo.config import ConfigError
from comodo.core.errors import StoreError
from comodo.core.store import Store
from comodo.evaluation.sweep_record import SweepRecord
from comodo.losses.comodo import ComodoLoss
from comodo.search.trial import Evaluation
from tests import tiny_students
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.evaluation.test_sweep_record import saved_of
from tests.models.test_trained_student import write_export
from tests.paths import ROOT

HEAVY = {"torch", "ray", "mlflow", "pandas", "yaml", "numpy", "sklearn", "pydantic"}


PAGE = (ROOT / "docs" / "python.md").read_text()


def run_section(heading: str) -> dict[str, Any]:
    """Runs the Python of a section of docs/python.md, unchanged; returns its variables."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, found)
    return found


def test_importing_comodo_is_light() -> None:
    code = f"import comodo, sys; dir(comodo); print(*({HEAVY} & {{*sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []


def test_names_are_what_a_type_checker_sees() -> None:
    """Each name of `__all__` is imported under TYPE_CHECKING from where it is found, and has a
    docstring."""
    tree = ast.parse((ROOT / "comodo/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = dict[str, str]()
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            typed |= {x.asname or x.name: f"{node.module}:{x.name}" for x in node.names}
    assert typed == comodo._PLACES
    assert comodo.__all__ == sorted([*typed, "__version__"])
    assert set(comodo.__all__) <= set(dir(comodo))
    for name, place in typed.items():
        module, _, attribute = place.partition(":")
        assert getattr(comodo, name) is getattr(import_module(module), attribute)
        assert getattr(comodo, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'load_swep'"):
        comodo.load_swep  # noqa: B018


def test_temperatures_are_those_of_a_sweep_file() -> None:
    defaults = signature(comodo.comodo_loss).parameters
    for name in ("teacher_temperature", "student_temperature"):
        assert defaults[name].default == getattr(ComodoLoss(), name)


def test_overrides_are_values_of_python(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    changes = {"trial.learning_rate": 1e-05, "seeds": [3, 4], "trial.student.pooling": "mean"}
    sweep = comodo.read_sweep(file, changes)
    assert (sweep.trial.learning_rate, sweep.seeds) == (1e-05, [3, 4])
    assert sweep.trial.student.pooling == "mean"
    assert sweep.overrides == changes
    with raises(ConfigError, "trial.epoch", "did you mean 'epochs'?"):
        comodo.read_sweep(file, {"trial.epoch": 3})
    with raises(ConfigError, "file.not-found", "none.yaml"):
        comodo.read_sweep(tmp_path / "none.yaml")


def test_a_sweep_that_cannot_run_is_refused_before_ray_starts(tmp_path: Path) -> None:
    sets = {"demo": {"kind": "simulated", "window_seconds": 60, "seconds": 20}}
    sweep = comodo.read_sweep(sweep_file(tmp_path, datasets=sets))
    with raises(ConfigError, "datasets.demo", "sweep 'small'"):
        comodo.run_sweep(sweep, tmp_path / "store")


def test_a_sweep_of_other_overrides_is_refused(tmp_path: Path) -> None:
    file, store = sweep_file(tmp_path), Store(tmp_path / "store")
    saved: SweepRecord = saved_of(comodo.read_sweep(file, {"seeds": [1]}), Evaluation())
    saved.write(store)
    with raises(ConfigError, "name", "seeds"):
        comodo.run_sweep(comodo.read_sweep(file), store.root)


def test_sweeps_are_listed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with raises(StoreError, "store.not-found", str(store.root)):
        comodo.list_sweeps(store.root)
    with raises(StoreError, "store.not-found"):
        comodo.load_sweep("small", store.root)
    store.root.mkdir()
    assert comodo.list_sweeps(store.root).empty
    saved_of(comodo.read_sweep(sweep_file(tmp_path)), Evaluation()).write(store)
    found = comodo.list_sweeps(store.root)
    assert list(found["name"]) == ["small"]
    assert found["state"].item() == "no trial has started"


def test_the_pages_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_export(tiny_students.make("mantis"), tmp_path / "recogniser", gravity=False)
    monkeypatch.chdir(tmp_path)
    np.save("windows.npy", tiny_students.windows(20, 6, 333).numpy())
    np.save("labels.npy", np.arange(20) % 2)
    np.save("people.npy", np.arange(20) // 5)
    found = run_section("A trained student")
    assert found["features"].shape == (20, found["student"].dim)
    assert len(found["scores"]) == 2
    assert set(found["model"].predict(found["imu"])) == {0, 1}


def test_the_pages_loss_and_statistics() -> None:
    found = run_section("Loss, queue, probe and statistics")
    newest = torch.nn.functional.normalize(found["teacher"][found["batch"]], dim=1)
    assert torch.equal(found["queue"].ordered()[-64:], newest)
    assert found["mean"].mean == pytest.approx(216 / 280)
    assert found["gain"].difference == pytest.approx((47 - 11) / 280)
    assert found["accuracy"] > 0.8


RUN = """
import asyncio, json, sys
import comodo

async def notebook():  # whose loop runs
    import ray

    ended = []
    for mlflow in (True, False):
        frames = comodo.run_sweep(comodo.read_sweep(sys.argv[1]), sys.argv[2], mlflow=mlflow)
        ended.append(not ray.is_initialized())
    key = frames.trials["trial"].iloc[-1]
    student = frames.student(key)
    print(json.dumps([ended, list(frames.trials["state"]), student.rate, student.dim]))

asyncio.run(notebook())
"""


@pytest.mark.slow
def test_a_sweep_runs_in_a_notebook(tmp_path: Path) -> None:
    """Twice in one process: Ray is ended after each, and nothing is trained again."""
    content = {
        "name": "tiny",
        "datasets": {
            "d": {"kind": "simulated", "subjects": 6, "seconds": 15, "imu_rate": 25,
                  "window_seconds": 2.5}
        },
        "trial": {
            "dataset": "d",
            "student": {"name": "cnn", "size": {"width": 8}},
            "method": "supervised",
            "epochs": 1,
        },
        "references": ["none"],
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "tiny.yaml"), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [[True, True], ["finished", "finished"], 25, 64]
    assert "all 2 trials are done already" in done.stdout
    record = json.loads((tmp_path / "store/sweeps/tiny/sweep.json").read_text())
    assert record["command"] == f"comodo.run_sweep(sweep, '{tmp_path / 'store'}')"
