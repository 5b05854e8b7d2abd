"""What the engine adds to trials of one worker, and what its driver keeps of them.

    OMP_NUM_THREADS=1 python -m benchmarks.overhead --between 20 120

Trials of one epoch on a few random windows run as in a sweep: Ray Tune, ledger, MLflow on SQLite,
results on disk, one trial after the other. Reported are medians without the first trial of a
process:

- between two trials: from the end of a trial's own work (training and measures, `run_trial`) to
  the start of the next one's. That is everything the engine adds, except what the driver does in
  parallel; the MLflow records of a trial that ends are also reported separately.
- growth of the driver between two trials, the first of which leaves time to warm up: its resident
  memory, and the number of blocks of Python's objects (about 60 bytes each). Some growth is
  expected: a few short strings and numbers per trial (its key, its MLflow run, its scores). A few
  more pages become resident as the native libraries' pools settle, fewer with each hundred trials.

It uses neither video nor a real student: the trials' own work is as small as the engine allows.
`benchmarks.sharing` measures what trials hold of their data.
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
from comodo.runtime import tune
from comodo.runtime.cluster import connect
from comodo.runtime.worker import run_trial
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation, Trial
from comodo.tracking.tracker import Tracker
from comodo.training.distill import Leave, Report
from tests.helpers import make_arrays, trial_config


def ledger_of(store: Store, trials: int, concurrent: int) -> Ledger:
    """The ledger of a sweep of toy trials that differ in their seeds, and their arrays."""
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


def timed(trial: Trial, store: Store, report: Report, leave: Leave) -> dict[str, Any]:
    """`run_trial`, which also records when and in which process the trial's own work runs."""
    began = time.time()
    result = run_trial(trial, store, report, leave)
    times = {"began": began, "ended": time.time(), "pid": os.getpid()}
    write_json(store.folder("times", f"{trial.seed}.json"), times)
    return result


_train = tune.train


def timed_train(config: dict[str, Any]) -> None:
    tune.run_trial = timed  # type: ignore[assignment, attr-defined]  # here, in the trial's process
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
    tune.train = timed_train
    lease = Lease(store, "sweeps", sweep.name)
    tune.run_missing(ledger, tracker, BudgetTracker(sweep, ledger.folder), 1, lease)
    tracker.close()

    times = sorted(
        (json.loads(path.read_text()) for path in store.folder("times", "").glob("*.json")),
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
