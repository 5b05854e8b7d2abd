"""How far a sweep is, as its folder tells."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from comodo.core.store import Store, write_json
from comodo.report.status_view import show_status, show_statuses
from comodo.search.status import StatusError, read_all, read_status
from tests.errors import raises


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def beat(store: Store, name: str = "mine", ago: float = 3, **changes: Any) -> None:
    content: dict[str, Any] = {
        "updated": (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(),
        "state": "running",
        "pid": 7,
        "host": "here",
        "running": [
            {"trial": "k", "name": "comodo a=1", "epoch": 2, "epochs": 5, "metric": 0.25},
            {"trial": "l", "name": "untrained", "epoch": 0, "epochs": 0, "metric": None},
        ],
        "done": 3,
        "planned": 8,
        "best": {"name": "comodo a=2", "metric": "val/acc1", "value": 0.5},
        "budget": {"trials": [3, 8], "hours": [0.5, None], "gpu_hours": [0.0, None]},
    }
    write_json(store.folder("sweeps", name) / "progress.json", content | changes)


def text(shown: RenderableType) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


def test_a_running_sweep(store: Store) -> None:
    beat(store)
    status = read_status("mine", store)
    assert status.state == "running"
    shown = text(show_status(status))
    assert "mine: 3 of 8 trials done, running (process 7 on here, 3 s ago)" in shown
    assert "comodo a=1" in shown
    assert "2/5" in shown
    assert "best so far: comodo a=2, val/acc1 0.500" in shown
    assert "used: 3 of 8 trials, 30.0 min\n" in shown


def test_times_are_those_that_people_read(store: Store) -> None:
    beat(store, left=100.0, budget={"hours": [0.0126, 12], "gpu_hours": [2.5, 40]})
    shown = text(show_status(read_status("mine", store)))
    assert "mine: 3 of 8 trials done, about 100 s left, running" in shown
    assert "used: 45 s of 12.0 h, 2.5 h of 40.0 h of GPUs\n" in shown
    assert "3 of 8, about 100 s left" in text(show_statuses(read_all(store)))
    beat(store, left=100.0, ago=900)
    assert "100 s" not in text(show_status(read_status("mine", store)))


def test_a_sweep_that_gives_no_sign_of_life(store: Store) -> None:
    beat(store, ago=900)
    status = read_status("mine", store)
    assert status.state == "silent"
    assert "no sign of life for 15.0 min" in text(show_status(status))
    beat(store, ago=900, state="finished", running=[])
    status = read_status("mine", store)
    assert status.state == "finished"
    assert "no sign of life" not in text(show_status(status))


def test_how_trials_ended(store: Store) -> None:
    beat(store, best=None)
    ended = {
        "a": {"state": "pruned", "reason": "slow"},
        "b": {"state": "failed", "reason": "the loss became nan"},
    }
    write_json(store.folder("sweeps", "mine") / "ended.json", ended)
    shown = text(show_status(read_status("mine", store)))
    assert "1 pruned; 1 failed, the last: the loss became nan" in shown


def test_a_sweep_without_a_heartbeat(store: Store) -> None:
    write_json(store.folder("sweeps", "mine") / "asked.json", [])
    assert "mine: no trial has started" in text(show_status(read_status("mine", store)))


def test_a_stage_before_the_trials(store: Store) -> None:
    stage = {"name": "encode demo with clip", "done": 40, "total": 120, "left": 90.0}
    beat(store, stage=stage, done=0, planned=0, running=[], best=None)
    shown = text(show_status(read_status("mine", store)))
    assert "mine: encode demo with clip: 40 of 120 done, about 90 s left, running" in shown
    assert "encode demo with clip: 40 of 120" in text(show_statuses(read_all(store)))


def test_all_sweeps_the_latest_first(store: Store) -> None:
    assert "no sweeps" in text(show_statuses(read_all(store)))
    beat(store, "old", ago=7200)
    beat(store, "new", ago=1)
    assert [status.name for status in read_all(store)] == ["new", "old"]
    assert "2.0 h ago" in text(show_statuses(read_all(store)))


def test_an_unknown_name_lists_those_that_exist(store: Store) -> None:
    with raises(StatusError, "sweep.unknown", "'mine'", "none yet"):
        read_status("mine", store)
    beat(store)
    with raises(StatusError, "sweep.unknown", "'mine'"):
        read_status("mien", store)
