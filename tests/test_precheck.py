"""What is refused before anything heavy is imported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, load_sweep
from comodo.platt import FOLDS as PROBE_FOLDS
from comodo.precheck import FOLDS, precheck, unfit_for_probe
from comodo.store import Store
from tests.test_config import sweep_file

QUEUE = {"name": "comodo", "queue_size": 100_000}


def check(path: Path, tmp_path: Path) -> None:
    precheck(path, load_sweep(path), Store(tmp_path / "store"))


def test_queue_longer_than_a_simulated_training_split(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    with pytest.raises(
        ConfigError, match=r"trial\.method\.queue_size: a queue of 100000.*choose at most \d+"
    ):
        check(path, tmp_path)
    check(sweep_file(tmp_path), tmp_path)


@pytest.mark.parametrize(("seconds", "most"), [("whole", 5), (1.0, 11)])
def test_queue_longer_than_a_folder(
    tmp_path: Path, make_folder: Callable[..., Path], seconds: Any, most: int
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
    mine = {"kind": "folder", "path": str(manifest), "window_seconds": seconds}
    changes = {"datasets": {"mine": mine}, "trial__dataset": "mine"}
    method = {"name": "comodo", "queue_size": most - 1}
    check(sweep_file(tmp_path, **changes, trial__method=method), tmp_path)
    space = {"method.queue_size": [1, most]}
    path = sweep_file(tmp_path, **changes, trial__method=method, search__space=space)
    with pytest.raises(ConfigError, match=f"{most} is too long .* {most + 1} windows"):
        check(path, tmp_path)


def test_impossible_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    path = sweep_file(tmp_path, resources={"cpus_per_worker": 10_000})
    with pytest.raises(ConfigError, match=r"resources\.cpus_per_worker: .* 10000 CPUs"):
        check(path, tmp_path)


def test_missing_video_folder(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,imu,split\nvideos/a.mp4,imu/a.csv,train\n")
    mine = {"kind": "folder", "path": "m.csv"}
    path = sweep_file(tmp_path, datasets={"mine": mine}, trial__dataset="mine")
    with pytest.raises(ConfigError, match=r"sweep\.yaml: .*the folder .* does not exist"):
        check(path, tmp_path)


def test_a_probe_needs_two_classes_and_a_window_for_each_fold() -> None:
    assert FOLDS == PROBE_FOLDS  # kept twice, for the probe's room is slow to import
    assert unfit_for_probe({"a": FOLDS, "b": 1}) is None
    assert "no labelled training windows" in str(unfit_for_probe({}))
    for classes in ({"a": 100}, {"a": FOLDS - 1, "b": 1}):
        assert "the probe needs two classes" in str(unfit_for_probe(classes))


def test_refusal_comes_before_anything_heavy(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    program = f"""
import sys
from comodo.cli import app
try:
    app(["sweep", {str(path)!r}, "--store", {str(tmp_path / "store")!r}])
except SystemExit as end:
    assert end.code == 2, end.code
slow = {{"ray", "torch", "mlflow", "transformers", "sklearn", "pandas", "scipy.signal"}}
heavy = slow & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trial.method.queue_size" in done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "losses",
        "queue",
        "imu",
        "video",
        "encoders",
        "students",
        "teachers",
        "parallel",
        "distill",
        "schedule",
        "identity",
        "probe",
        "trial",
    ],
)
def test_numeric_rooms_know_neither_ray_nor_mlflow(module: str) -> None:
    program = f"import sys, comodo.{module}; assert not {{'ray', 'mlflow'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
