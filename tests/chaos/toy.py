"""A sweep of toy trials, driven as `comodo sweep` does but without recordings and report.

    python -m tests.chaos.toy STORE '{"seeds": [0, 1], "trial": {"epochs": 5}}'

The second argument replaces keys of the sweep; RAY_ADDRESS names the cluster. `stop_seed` stops the
trials of one seed after their third epoch, as a scheduler does. Of the processes that go on with a
trial after another, counted from one, those in `lose` are lost as they are given to it.
"""

import json
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import ray
import typer
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import FIFOScheduler

from comodo.config import Sweep
from comodo.core.console import console, show_errors
from comodo.core.lease import Lease
from comodo.core.store import Store, write_json
from comodo.runtime import tune
from comodo.runtime.cluster import await_room, connect
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation
from comodo.tracking.tracker import Tracker
from tests.helpers import make_arrays, trial_config

WINDOWS = 700  # a hundred steps an epoch, about a second


def sweep_of(changes: dict[str, Any]) -> Sweep:
    trial = changes.pop("trial", {})
    return Sweep.model_validate(
        {
            "name": "toy",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial_config(**trial).model_dump(mode="json"),
            "references": [],
            **changes,
        }
    )


def ledger_of(store: Store, sweep: Sweep) -> Ledger:
    return Ledger(sweep, store, {("d", sweep.trial.teacher): ("w", "f")}, Evaluation())


class StopSeed(FIFOScheduler):
    """Stops the trials of one seed after their third epoch."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = trial.config["trial"].seed == self._seed and result.get("epoch", 0) >= 3
        return FIFOScheduler.STOP if stops else FIFOScheduler.CONTINUE


def lose_processes(lost: list[int]) -> None:
    give, given = TuneController._schedule_trial_reset, count(1)

    def give_or_lose(controller: Any, trial: Any, *settings: Any) -> None:
        if next(given) in lost:
            ray.kill(trial.temporary_state.ray_actor)
        give(controller, trial, *settings)

    TuneController._schedule_trial_reset = give_or_lose  # type: ignore[assignment, method-assign]


def main() -> None:
    store, changes = Store(Path(sys.argv[1])), json.loads(sys.argv[2])
    windows, stop_seed = changes.pop("windows", WINDOWS), changes.pop("stop_seed", None)
    lose_processes(changes.pop("lose", []))
    sweep = sweep_of(changes)
    if store.meta("arrays", "w") is None:
        make_arrays(store, windows=windows)
    if stop_seed is not None:
        tune._scheduler = lambda sweep: StopSeed(stop_seed)  # type: ignore[assignment, return-value]
    connect(dashboard=sweep.resources.workers > 1)
    await_room(sweep.resources)
    lease = Lease(store, "sweeps", sweep.name)
    assert lease.take(), lease.holder
    ledger, tracker, memory = ledger_of(store, sweep), Tracker(store, sweep.name, {}), list[int]()
    finish = tracker.finish

    def finished(*args: Any) -> None:
        finish(*args)
        memory.append(psutil.Process().memory_info().rss)

    tracker.finish = finished  # type: ignore[assignment, method-assign]
    limits = BudgetTracker(sweep, ledger.folder)
    stopped = tune.run_missing(ledger, tracker, limits, lease)
    lease.release()
    write_json(store.root / "memory.json", memory)
    console.print(f"ended at {time.time()}: {ledger.done()} done, {stopped}", markup=False)


if __name__ == "__main__":
    try:
        with show_errors():
            main()
    except typer.Exit as end:
        sys.exit(end.exit_code)
