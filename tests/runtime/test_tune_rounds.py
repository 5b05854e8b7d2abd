"""Trials run in rounds, and what becomes of them when a round ends before they do."""

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.exceptions
from ray.tune.experiment import Trial as TuneTrial

from comodo.core.lease import Lease
from comodo.core.store import Store, read_json
from comodo.runtime import rounds, tune
from comodo.runtime.callbacks import SweepCallback
from comodo.runtime.progress import Progress
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Trial
from comodo.tracking.tracker import Tracker
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import make_arrays

ROUND = 3  # trials


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_tune_keeps_the_trials_of_one_round_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND_TRIALS_PER_PLACE", ROUND)
    store = Store(tmp_path)
    make_arrays(store)
    early_stopping = {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}
    sweep = sweep_of(
        {
            "seeds": list(range(7)),
            "trial": {"epochs": 1},
            "early_stopping": early_stopping,
            "resources": {"max_concurrent_trials": 1, "gpus_per_worker": 0},
        }
    )
    ledger, tracker, kept = ledger_of(store, sweep), Tracker(store, sweep.name, {}), list[int]()
    finish = tracker.finish

    def finished(*args: Any) -> None:
        finish(*args)
        gc.collect()
        kept.append(sum(type(one) is TuneTrial for one in gc.get_objects()))

    monkeypatch.setattr(tracker, "finish", finished)
    limits, lease = BudgetTracker(sweep, ledger.folder), Lease(store, "sweeps", sweep.name)
    assert tune.run_missing(ledger, tracker, limits, lease) is None
    assert ledger.done() == len(kept) == 7
    assert max(kept) == ROUND


RETRIES = 1
TEXT = """Task was killed due to the node running low on memory.
Considered workers: [
Selected to kill: (Actor({}): job ID=01000000, task name=ImplicitFunc.__init__, pid=9280)
]"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    store = Store(tmp_path)
    make_arrays(store)
    return ledger_of(store, sweep_of({"seeds": [0, 1, 2], "resources": {"retries": RETRIES}}))


class Round:
    """A callback, called as by Tune in a round in which all trials have a process."""

    def __init__(self, ledger: Ledger) -> None:
        limits = BudgetTracker(ledger.sweep, ledger.folder)
        self.ledger, self.progress = ledger, Progress(ledger, limits)
        tracker, lease = Tracker(ledger.store, "toy", {}), Lease(ledger.store, "sweeps", "toy")
        self.callback = SweepCallback(self.progress, tracker, lease)
        self.retries: dict[int, int] = {}

    def begin(self, number: int) -> list[Trial]:
        """The ledger's trials, each in the process of its seed and this number."""
        trials = list(iter(self.ledger.next_trial, None))
        for trial in trials:
            of_tune = SimpleNamespace(
                config={"key": trial.key},
                num_failures=0,
                max_failures=RETRIES,
                temporary_state=SimpleNamespace(
                    ray_actor=f"Actor(ImplicitFunc, {process(trial, number)})"
                ),
            )
            self.callback.on_trial_start(1, [], of_tune)
            self.retries[trial.seed] = of_tune.max_failures
        return trials


def process(trial: Trial, number: int) -> str:
    return f"{trial.seed:016x}{number:016x}"


def killed(name: str) -> ray.exceptions.OutOfMemoryError:
    return ray.exceptions.OutOfMemoryError(TEXT.format(name))


def test_a_process_killed_for_memory_is_charged_to_its_trial_alone(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    one_round = Round(ledger)
    trials = one_round.begin(1)
    assert one_round.retries == {0: 1, 1: 1, 2: 1}
    one_round.callback.on_memory_kill(killed(process(trials[1], 1)), trials)
    assert one_round.progress.running == {}
    shown = capsys.readouterr().out
    assert shown.count("its process was lost; restarted") == 1
    assert shown.count("Ray killed another process") == 2
    again = one_round.begin(2)
    assert [trial.seed for trial in again] == [0, 1, 2]
    assert one_round.retries == {0: 1, 1: 0, 2: 1}
    one_round.callback.on_memory_kill(killed(process(again[1], 2)), again)
    (ended,) = read_json(ledger.folder / "ended.json").values()
    assert ended["state"] == "failed"
    assert ended["reason"].startswith("its process was lost 2 times, killed by Ray")
    assert (
        "low on memory" in (ledger.store.folder("trials", again[1].key) / "failed.txt").read_text()
    )
    assert [trial.seed for trial in one_round.begin(3)] == [0, 2]


def test_an_idle_process_killed_for_memory_is_charged_to_nobody(ledger: Ledger) -> None:
    one_round = Round(ledger)
    ended, *running = one_round.begin(1)
    one_round.callback.on_memory_kill(killed(process(ended, 1)), running)
    assert len(one_round.begin(2)) == 2
    assert one_round.retries == {0: 1, 1: 1, 2: 1}


def test_memory_kills_of_unknown_processes_do_not_go_on_for_ever(ledger: Ledger) -> None:
    one_round = Round(ledger)
    for number in range(RETRIES + 1):
        trials = one_round.begin(number)
        one_round.callback.on_memory_kill(ray.exceptions.OutOfMemoryError("another text"), trials)
    assert one_round.begin(RETRIES + 1) == []
    assert len(read_json(ledger.folder / "ended.json")) == 3
