"""What is shown and written of a sweep that runs."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from comodo.config import Sweep
from comodo.core.console import track
from comodo.core.errors import StoreError
from comodo.core.lease import Lease
from comodo.core.store import Store
from comodo.runtime import progress
from comodo.runtime.callbacks import SweepCallback
from comodo.runtime.progress import Progress, stages_recorded
from comodo.search.budget import BudgetTracker
from comodo.search.history import epoch_history
from comodo.search.ledger import Ledger
from comodo.search.records import ProgressRecord, StageRecord
from comodo.search.trial import Evaluation
from comodo.tracking.tracker import Tracker
from tests.helpers import answer, trial_config


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    sweep = Sweep.model_validate(
        {
            "name": "s",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial_config().model_dump(mode="json"),
            "search": {"space": {"method.queue_size": [10, 20]}},
            "references": ["none"],
            "budget": {"hours": 2},
        }
    )
    arrays = {("d", sweep.trial.teacher): ("w", "f")}
    return Ledger(sweep, Store(tmp_path), arrays, Evaluation())


def test_the_heartbeat_says_what_runs_and_what_is_best(ledger: Ledger) -> None:
    found = Progress(ledger, BudgetTracker(ledger.sweep, ledger.folder))
    untrained, first = ledger.next_trial(), ledger.next_trial()
    assert untrained is not None
    assert first is not None
    found.start(untrained)
    found.start(first)
    found.epoch(first, 2, 0.25)
    answer(ledger.store, untrained, 0.5)
    found.end(untrained, over=True)
    found.save("running")
    told = json.loads((ledger.folder / "progress.json").read_text())
    assert (told["state"], told["done"], told["planned"]) == ("running", 1, 3)
    assert told["running"] == [
        {
            "trial": first.key,
            "name": "comodo queue_size=10 seed 0",
            "epoch": 2,
            "epochs": 4,
            "metric": 0.25,
        }
    ]
    assert (told["best"]["name"], told["best"]["metric"]) == ("untrained", "val/acc1")
    assert told["best"]["value"] == pytest.approx(0.5, abs=0.1)
    assert told["budget"] == {"trials": [0, None], "hours": [0, 2], "gpu_hours": [0, None]}
    found.end(first, over=False)  # half done
    found.save("stopped: budget.hours")
    told = json.loads((ledger.folder / "progress.json").read_text())
    assert (told["running"], told["done"]) == ([], 1)


def recorded(store: Store) -> tuple[str, StageRecord | None]:
    """State and stage, as `comodo status` reads them."""
    found = ProgressRecord.find(store.folder("sweeps", "s"))
    return ("", None) if found is None else (found.state, found.stage)


def test_a_stage_is_recorded_while_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comodo.core.console.UPDATE_SECONDS", 0)
    monkeypatch.setattr("comodo.runtime.progress.HEARTBEAT_SECONDS", 0.01)
    store = Store(tmp_path)

    def seen(done: int) -> Iterator[tuple[int, int]]:
        """Items, the second only after the record shows how many are done."""
        yield 0, done
        began = time.monotonic()
        while (stage := recorded(store)[1]) is None or stage.done != done:
            assert time.monotonic() - began < 30, stage
            time.sleep(0.01)
        assert recorded(store)[0] == "running"
        yield 1, 12 - done

    with stages_recorded("s", store):
        list(track(seen(5), 12, "prepare demo"))
    state, stage = recorded(store)
    assert stage is not None
    assert (state, stage.name, stage.done, stage.total) == ("running", "prepare demo", 12, 12)
    with pytest.raises(KeyboardInterrupt), stages_recorded("s", store):
        raise KeyboardInterrupt
    assert recorded(store)[0] == "stopped: interrupted"
    with pytest.raises(StoreError), stages_recorded("s", store):
        raise StoreError("store.full", "the store is full")
    assert recorded(store)[0] == "stopped: the store is full"


def test_a_stage_alone_leaves_what_a_sweep_recorded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("sweeps", "s")
    with stages_recorded("s", store, alone=True):
        pass
    assert recorded(store)[0] == "finished"
    of_trials = ProgressRecord(updated="", state="stopped: x", pid=1, host="h", done=3, planned=4)
    of_trials.write(folder)
    with stages_recorded("s", store, alone=True):
        pass
    assert ProgressRecord.find(folder) == of_trials
    (folder / "lease.json").touch()  # another process runs the sweep
    before = (folder / "progress.json").stat().st_mtime_ns
    with stages_recorded("s", store, alone=True):
        pass
    assert (folder / "progress.json").stat().st_mtime_ns == before


def test_without_a_terminal_a_line_tells_how_far_the_trials_are(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Progress(ledger, BudgetTracker(ledger.sweep, ledger.folder))
    found.beat()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    found.beat()
    assert "0 of 3 trials done" in capsys.readouterr().out


def test_a_pruned_trial_leaves_its_history_and_no_checkpoint(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store, trial = ledger.store, ledger.next_trial()
    assert trial is not None
    folder = store.folder("trials", trial.key)
    folder.mkdir(parents=True)
    torch.save({"history": [{"epoch": 1}]}, folder / "checkpoint.pt")
    found = Progress(ledger, BudgetTracker(ledger.sweep, ledger.folder))
    found.start(trial)
    tracker = Tracker(store, "s", {})
    callback = SweepCallback(found, tracker, Lease(store, "sweeps", "s"))
    tuned = SimpleNamespace(config={"key": trial.key}, last_result={"epoch": 1})
    callback.on_trial_complete(1, [], tuned)
    tracker.close()
    assert ledger.ended[trial.key].state == "pruned"
    assert not (folder / "checkpoint.pt").exists()
    assert epoch_history(folder) == [{"epoch": 1}]


def test_trials_are_counted_as_the_budget_counts_them(tmp_path: Path) -> None:
    sweep = Sweep.model_validate(
        {
            "name": "s",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial_config().model_dump(mode="json"),
            "search": {
                "space": {"method.queue_size": [5, 10, 20]},
                "sampler": "random",
                "hopeless_below": 0.2,
            },
            "seeds": [0, 1],
            "references": ["none", "supervised"],
            "budget": {"trials": 4},
        }
    )
    arrays = {("d", sweep.trial.teacher): ("w", "f")}
    ledger = Ledger(sweep, Store(tmp_path), arrays, Evaluation())
    found = Progress(ledger, BudgetTracker(sweep, ledger.folder))

    def told() -> dict[str, Any]:
        found.save("running")
        content: dict[str, Any] = json.loads((ledger.folder / "progress.json").read_text())
        return content

    assert (told()["done"], told()["planned"], told()["left"]) == (0, 4, None)
    accuracies = iter([0.8, 0.8, 0.4])  # the second configuration is hopeless
    while (trial := ledger.next_trial()) is not None:
        found.start(trial)
        own = trial.key in ledger.own
        answer(ledger.store, trial, next(accuracies) if own else 0.2)
        ledger.end(trial, "finished", "")
        found.end(trial, over=True)
    assert (told()["done"], told()["planned"]) == (7, 7)
    assert told()["budget"]["trials"] == [3, 4]


def test_best_is_of_all_seeds_that_were_asked(tmp_path: Path) -> None:
    sweep = Sweep.model_validate(
        {
            "name": "s",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial_config().model_dump(mode="json"),
            "search": {"space": {"method.queue_size": [10, 20]}},
            "seeds": [0, 1],
            "references": [],
        }
    )
    arrays = {("d", sweep.trial.teacher): ("w", "f")}
    ledger = Ledger(sweep, Store(tmp_path), arrays, Evaluation())
    found = Progress(ledger, BudgetTracker(sweep, ledger.folder))
    for accuracy in (0.5, 0.3, 0.9):  # of the second configuration one seed
        trial = ledger.next_trial()
        assert trial is not None
        answer(ledger.store, trial, accuracy)
        ledger.end(trial, "finished", "")
        found.end(trial, over=True)
        best = found.best()
        assert (best and best.name) == (None if accuracy == 0.5 else "comodo queue_size=10")


def test_the_table_shows_epochs_time_left_and_budget(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("comodo.runtime.progress.time.monotonic", lambda: now[0])
    terminal = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    monkeypatch.setattr(progress, "console", terminal)
    found = Progress(ledger, BudgetTracker(ledger.sweep, ledger.folder))
    untrained, first = ledger.next_trial(), ledger.next_trial()
    assert untrained is not None
    assert first is not None
    answer(ledger.store, untrained, 0.5)
    found.end(untrained, over=True)
    with found.shown():
        found.start(first)
        for epoch in (1, 2):
            now[0] += 30
            found.epoch(first, epoch, 0.3)
        terminal.print(found._table())
    shown = terminal.export_text()
    assert "comodo queue_size=10 seed 0" in shown
    assert "2/4" in shown
    assert "0.300" in shown
    assert "60 s" in shown  # two more epochs of 30 s
    assert "1 of 3 trials done" in shown
    assert "best so far: untrained, val/acc1 0." in shown
    assert "0 s of 2.0 h" in shown
    # One of eleven units of work was the untrained student's, two were epochs, in a minute.
    assert "3/11 epochs" in shown
    assert "left: 2.7 min" in shown
