"""What is refused before anything heavy is imported."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.platt import PLATT_FOLDS as PROBE_FOLDS
from comodo.evaluation.probe import _validation_folds
from comodo.search.precheck import MIN_CLASS_WINDOWS, precheck, unfit_for_probe
from tests.config.test_load import sweep_file
from tests.errors import raises

QUEUE = {"name": "comodo", "queue_size": 100_000}


def check(path: Path, tmp_path: Path) -> None:
    precheck(path, read_sweep_file(path), Store(tmp_path / "store"))


def test_queue_longer_than_a_simulated_training_split(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    with raises(ConfigError, "trial.method.queue_size", "100000", "at most"):
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
    with raises(ConfigError, "search.space.method.queue_size", f"{most} ", f"{most + 1} windows"):
        check(path, tmp_path)


CPUS = os.cpu_count() or 1


@pytest.mark.parametrize("address", [None, "local"])
@pytest.mark.parametrize(
    ("needed", "key", "names"),
    [
        ({"cpus_per_worker": 10_000}, "cpus_per_worker", "10000 CPUs"),
        ({"workers": CPUS + 1}, "cpus_per_worker", f"{CPUS + 1} CPUs"),
        ({"workers": 2, "cpus_per_worker": CPUS / 2}, "cpus_per_worker", "0.01"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker", "at most 1, or 2"),
    ],
)
def test_impossible_resources(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
    needed: dict[str, Any],
    key: str,
    names: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with raises(ConfigError, f"resources.{key}", names):
        check(sweep_file(tmp_path, resources=needed), tmp_path)


def test_missing_video_folder(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,imu,split\nvideos/a.mp4,imu/a.csv,train\n")
    mine = {"kind": "folder", "path": "m.csv"}
    path = sweep_file(tmp_path, datasets={"mine": mine}, trial__dataset="mine")
    with pytest.raises(ConfigError, match=r"sweep\.yaml: .*the folder .* does not exist"):
        check(path, tmp_path)


def test_a_probe_needs_two_classes_and_a_window_for_each_fold() -> None:
    assert MIN_CLASS_WINDOWS == PROBE_FOLDS  # defined twice, as importing the probe is slow
    assert "no labelled training windows" in str(unfit_for_probe({}))
    for classes in ({"a": 100}, {"a": MIN_CLASS_WINDOWS - 1, "b": 1}, {"a": 50, "b": 1}):
        assert "the probe needs a class of" in str(unfit_for_probe(classes))
    sizes = [(4, 3), (5, 1), (5, 2), (49, 1, 1), (50, 1, 1), (7, 6), (5, 1, 1, 1), (3, 3, 3)]
    for counts in sizes:  # unfit is what fails in every order of the windows
        unfit = unfit_for_probe(dict(zip("abcd", counts, strict=False)))
        assert (unfit is None) == any(map(has_folds, itertools.permutations(enumerate(counts))))


def has_folds(counts: tuple[tuple[int, int], ...]) -> bool:
    codes, sizes = np.array(counts).T
    try:
        _validation_folds(np.repeat(codes, sizes))
    except EvaluateError:
        return False
    return True


def test_refusal_comes_before_anything_heavy(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=QUEUE)
    program = f"""
import sys
from comodo.cli import app
from tests.errors import raises
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
