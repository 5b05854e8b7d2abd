"""Trials that would have no step are refused before anything starts, by plan and sweep alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from comodo.cli import app
from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.search.train_split import TrainSplit, refuse_untrainable
from tests.config.test_load import sweep_file
from tests.errors import raises

LAST_ONLY = {"demo": {"kind": "simulated", "seconds": 5.0, "recordings": 5, "labelled": 1.0}}
"""Each recording is one window of 5 s."""


def sweep_of(tmp_path: Path, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(tmp_path, **changes))


QUEUE = {"name": "comodo", "queue_size": 8}


@pytest.mark.parametrize(
    ("changes", "split", "code", "names"),
    [
        # The queue leaves less than a step of the windows that are trained on.
        (
            {"trial__method": QUEUE},
            TrainSplit(9),
            "trial.method.queue_size",
            ["9 windows", "most 7"],
        ),
        (
            {"trial__method": QUEUE, "trial__last_window": "drop"},
            TrainSplit(12, last=3),
            "trial.method.queue_size",
            ["9 windows without the last one", "most 7"],
        ),
        (
            {"trial__method": QUEUE, "search__space": {"last_window": ["keep", "drop"]}},
            TrainSplit(12, last=3),
            "search.space.last_window",
            ["9 windows without the last one"],
        ),
        (
            {"trial__method": QUEUE},
            TrainSplit(2),
            "trial.method.queue_size",
            ["shorten datasets.demo.window_seconds"],
        ),
        # There is no window, or only one, to train on.
        ({"trial__method": "infonce"}, TrainSplit(1), "datasets.demo", ["1 training windows"]),
        (
            {"trial__method": "l2", "trial__last_window": "drop"},
            TrainSplit(7, last=7),
            "trial.last_window",
            ["0 of 7", "last_window: keep", "datasets.demo.window_seconds"],
        ),
        (
            {"trial__method": "l2", "search__space": {"protocol": ["corrected", "published"]}},
            TrainSplit(7, last=6),
            "search.space.protocol",
            ["1 of 7"],
        ),
        (
            {"trial__method": "supervised"},
            TrainSplit(90, labelled=1),
            "datasets.demo",
            ["1 labelled training windows", "labelled recordings"],
        ),
        (
            {"trial__method": {"name": "comodo", "queue_size": 8}},
            TrainSplit(90, unseen=81),
            "trial.method.queue_size",
            ["9 windows with video", "at most 7"],
        ),
        (
            {"trial__method": "l2"},
            TrainSplit(90, last=9, unseen=89, unseen_last=8),
            "datasets.demo",
            ["1 training windows with video", "add recordings with video"],
        ),
        (
            {"trial__method": "l2", "references": ["none", "supervised"]},
            TrainSplit(90, labelled=0),
            "datasets.demo",
            ["0 labelled"],
        ),
    ],
)
def test_too_few_windows_are_refused(
    tmp_path: Path, changes: dict[str, Any], split: TrainSplit, code: str, names: list[str]
) -> None:
    with raises(ConfigError, code, "demo", *names):
        refuse_untrainable(sweep_of(tmp_path, **changes), {"demo": split})


@pytest.mark.parametrize(
    ("changes", "split"),
    [
        ({"trial__method": QUEUE}, TrainSplit(10)),
        ({"trial__method": {**QUEUE, "hold_out_queue": False}}, TrainSplit(8)),
        ({"trial__method": "infonce"}, TrainSplit(2)),
        ({"trial__method": "none"}, TrainSplit(0)),
        ({"trial__method": "supervised"}, TrainSplit(90, labelled=2)),
        ({"trial__method": "supervised"}, TrainSplit(90, labelled=2, unseen=90)),
    ],
)
def test_enough_windows_are_accepted(
    tmp_path: Path, changes: dict[str, Any], split: TrainSplit
) -> None:
    refuse_untrainable(sweep_of(tmp_path, **changes), {"demo": split})
    refuse_untrainable(sweep_of(tmp_path, **changes), {})  # not counted


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("method", ["l2", {"name": "comodo", "queue_size": 4}])
def test_plan_and_sweep_refuse_before_anything_starts(
    tmp_path: Path, command: str, method: Any
) -> None:
    """As published, the last window of a recording is left out: here there is no other."""
    path = sweep_file(tmp_path, datasets=LAST_ONLY, protocol="published", trial__method=method)
    done = CliRunner().invoke(app, [command, str(path), "--store", str(tmp_path / "store")])
    assert done.exit_code == 2, done.output
    text = " ".join(done.output.split())
    assert f"{path}: trial.last_window:" in text
    assert "use last_window: keep" in text
    assert not list((tmp_path / "store").glob("windows/*"))


def test_windows_of_a_folder_are_bounded_too(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
    mine = {"kind": "folder", "path": str(manifest), "window_seconds": 2.0}
    changes = {"datasets": {"mine": mine}, "trial__dataset": "mine", "trial__method": "l2"}
    path = sweep_file(tmp_path, **changes, trial__last_window="drop")
    store = ["--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, ["plan", str(path), *store])
    assert done.exit_code == 2, done.output
    assert "trial.last_window" in done.output
    kept = sweep_file(tmp_path, **changes, trial__last_window="keep")
    done = CliRunner().invoke(app, ["plan", str(kept), *store])
    assert "last_window" not in done.output
