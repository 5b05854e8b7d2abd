"""What the engine adds to trials of one worker, and what its driver keeps in memory of them.

    OMP_NUM_THREADS=1 python -m benchmarks.overhead --between 20 120

Trials of one epoch on a handful of random windows run as in a sweep: Ray Tune, ledger, MLflow on
SQLite, results on disk. They run one after the other. The report shows medians, without the first
trial of each process:

- between two trials: from the end of a trial's own work (training and measures, `run_trial`) to
  the start of the next trial's. This is all that the engine adds, except for the driver's work
  during a trial; the MLflow records of an ending trial are part of it and shown separately.
- growth of the driver from one trial to another, the first late enough to be warm: its resident
  memory, and the number of blocks that Python's objects take (some 60 bytes each). A few short
  strings and numbers are kept for each trial: its key, its MLflow run, its scores. Ray Tune keeps
  some 80 KB of each trial until its round ends (`comodo.runtime.tune`).

Uses neither video nor a real student: the trials' own work is as little as the engine allows. The
memory that trials need for their data is measured by `benchmarks.sharing`.
"""

import argparse
import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

import psutil

from benchmarks.common import machine
from comodo.config import Sweep
from comodo.core.lease import Lease
from comodo.core.store import Store, write_json
from comodo.runtime import trainable, tune
from comodo.runtime.cluster import connect
from comodo.runtime.worker import run_trial
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation, Trial, TrialResult
from comodo.tracking.tracker import Tracker
from comodo.training.distill import Report
from comodo.training.epoch import ShouldStop
from tests.helpers import make_arrays, trial_config


def ledger_of(store: Store, trials: int, concurrent: int) -> Ledger:
    """The ledger of a sweep of toy trials that differ in their seeds, with the arrays they need."""
    trial = trial_config(epochs=1, method={"name": "l2", "head": {"kind": "linear"}})
    sweep = Sweep.model_validate(
        {
            "name": "toys",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial.model_dump(mode="json"),
            "seeds": list(range(trials)),
            "references": [],
            "resources": {"max_concurrent_trials": concurrent},
        }
    )
    arrays = make_arrays(store, windows=100)
    return Ledger(sweep, store, {("d", trial.teacher): arrays}, Evaluation())


def timed(
    trial: Trial, store: Store, report: Report, leave: ShouldStop, gpus: float
) -> TrialResult | None:
    """`run_trial`, noting when the trial's own work begins and ends, and in which process."""
    began = time.time()
    result = run_trial(trial, store, report, leave, gpus)
    times = {"began": began, "ended": time.time(), "pid": os.getpid()}
    write_json(store.folder("times", f"{trial.seed}.json"), times)
    return result


_train = trainable.train


def timed_train(config: dict[str, Any]) -> None:
    trainable.run_trial = timed  # type: ignore[assignment, attr-defined]  # here, in the trial's process
    _train(config)


def between_trials(store: Store, between: list[int]) -> None:
    ledger = ledger_of(store, between[1], 1)
    sweep = ledger.sweep
    tracker = Tracker(store, sweep.name, {})
    driver, kept, records = psutil.Process(), dict[int, tuple[float, int]](), list[float]()
    finish = tracker.finish

    def finished(*args: Any) -> None:
        began = time.perf_counter()
        finish(*args)
        records.append(time.perf_counter() - began)
        if len(records) in between:
            gc.collect()
            kept[len(records)] = driver.memory_info().rss / 1e3, sys.getallocatedblocks()

    tracker.finish = finished  # type: ignore[assignment, method-assign]
    tune.train = timed_train  # type: ignore[attr-defined]
    lease = Lease(store, "sweeps", sweep.name)
    tune.run_missing(ledger, tracker, BudgetTracker(sweep, ledger.folder), lease)
    tracker.close()

    times = sorted(
        (json.loads(path.read_text()) for path in (store.root / "times").glob("*.json")),
        key=lambda one: one["began"],
    )
    gaps = [
        after["began"] - before["ended"]
        for before, after in itertools.pairwise(times)
        if before["pid"] == after["pid"]
    ]
    own = [one["ended"] - one["began"] for one in times[1:]]
    print(f"{len(times)} trials in {len({one['pid'] for one in times})} processes")
    print(f"a trial's own work        {statistics.median(own):6.2f} s")
    print(
        f"between two trials        {statistics.median(gaps):6.2f} s "
        f"(longest {max(gaps):.2f} s), of which records {statistics.median(records):.2f} s"
    )
    first, last = between
    grown, blocks = (after - before for before, after in zip(kept[first], kept[last], strict=True))
    print(f"driver after trial {first:<6} {kept[first][0] / 1e3:6.0f} MB")
    each, of_python = grown / (last - first), blocks / (last - first)
    print(f"  until trial {last:<6}      +{grown:6.0f} KB", end="")
    print(f", for each trial {each:.1f} KB and {of_python:.1f} blocks of Python's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--between", type=int, nargs=2, default=[20, 120], metavar="TRIAL")
    args = parser.parse_args()
    print(machine("cpu", "ray", "mlflow"))
    connect()
    with tempfile.TemporaryDirectory() as folder:
        between_trials(Store(folder), args.between)


if __name__ == "__main__":
    main()
