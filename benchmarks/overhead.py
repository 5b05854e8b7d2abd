"""What the engine adds to trials of one worker, and what its driver keeps of them.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py --between 20 120 --megabytes 200

Trials of one epoch on a handful of random windows run as in a sweep: Ray Tune, ledger, MLflow on
SQLite, results on disk. All run one after the other. Reported are medians, the first trial of a
process left out:

- between two trials: from the end of a trial's own work (training and measures, `run_trial`) to
  the beginning of the next one's. That is all that the engine adds but for what it does meanwhile
  in the driver; of it, the MLflow records of an ending trial are shown alone.
- private memory (USS) that a process gains by mapping packed arrays of this size and reading
  every window of them once, while another process has them mapped too.
- growth of the driver between two trials, of which the first leaves time to warm up: its resident
  memory, and how many blocks Python's objects take (some 60 bytes each). What grows by rights is a
  few short strings and numbers for each trial: its key, its MLflow run, its scores. Some pages more
  become resident as the native libraries' pools settle, fewer with each hundred trials.

It knows neither video nor a real student: the trials' own work is as little as the engine allows.
"""

import argparse
import gc
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import ray
import torch
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' small arrays

from comodo import tuning
from comodo.arrays import Windows
from comodo.cluster import connect
from comodo.config import Sweep, TrialConfig
from comodo.distill import Leave, Report
from comodo.identity import Evaluation, Trial
from comodo.lease import Lease
from comodo.ledger import Ledger
from comodo.limits import Limits
from comodo.store import Store, write_json
from comodo.tracking.tracker import Tracker
from comodo.trial import run_trial
from tests.helpers import make_arrays, trial_config


def sweep_of(trials: int) -> Sweep:
    trial = trial_config(epochs=1, method={"name": "l2", "head": {"kind": "linear"}})
    return Sweep.model_validate(
        {
            "name": "overhead",
            "datasets": {"d": {"kind": "simulated", "window_seconds": 1}},
            "trial": trial.model_dump(mode="json"),
            "seeds": list(range(trials)),
            "references": [],
            "resources": {"max_concurrent_trials": 1},
        }
    )


def timed(trial: Trial, store: Store, report: Report, leave: Leave) -> dict[str, Any]:
    """`run_trial`, noting when the trial's own work begins and ends, and in which process."""
    began = time.time()
    result = run_trial(trial, store, report, leave)
    times = {"began": began, "ended": time.time(), "pid": os.getpid()}
    write_json(store.folder("times", f"{trial.seed}.json"), times)
    return result


_train = tuning.train


def timed_train(config: dict[str, Any]) -> None:
    tuning.run_trial = timed  # type: ignore[assignment, attr-defined]  # here, in the trial's process
    _train(config)


def between_trials(store: Store, between: list[int]) -> None:
    sweep = sweep_of(between[1])
    windows, features = make_arrays(store, windows=100)
    teacher = TrialConfig.model_validate(sweep.trial).teacher
    ledger = Ledger(sweep, store, {("d", teacher): (windows, features)}, Evaluation())
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
    tuning.train = timed_train
    lease = Lease(store, "sweeps", sweep.name)
    tuning.run_missing(ledger, tracker, Limits(sweep, ledger.folder), 1, lease)
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


def private_memory(store: Store, megabytes: int) -> float:
    """MB of private memory that mapped arrays add to a process that reads all of them."""
    count = megabytes * 10**6 // (6 * 64 * 4)
    make_arrays(store, windows=8, name="big")
    file = store.folder("arrays", "big") / "train-00000.safetensors"
    save_file(
        {
            "imu": np.ones((count, 6, 64), np.float32),
            "length": np.full(count, 64),
            "label": np.zeros(count, np.int64),
            "group": np.zeros(count, np.int64),
            "last": np.zeros(count, bool),
        },
        file,
    )

    @ray.remote(num_cpus=0)
    def read(folder: Path) -> float:
        torch.set_num_threads(1)
        process = psutil.Process()
        torch.ones(256, 6, 64).sum()
        before = process.memory_full_info().uss
        split = Windows.load(folder).splits["train"]
        for row_B in torch.arange(count).split(256):
            split.imu(row_B)[0].sum()
        return float(process.memory_full_info().uss - before) / 1e6

    here = Windows.load(file.parent).splits["train"]
    for row_B in torch.arange(count).split(256):
        here.imu(row_B)
    return float(ray.get(read.remote(file.parent)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--between", type=int, nargs=2, default=[20, 120], metavar="TRIAL")
    parser.add_argument("--megabytes", type=int, default=200)
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}")
    print(f"Python {platform.python_version()}, Ray {ray.__version__}, ", end="")
    print(f"MLflow {mlflow.__version__}, torch {torch.__version__}")
    connect()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        print(
            f"{args.megabytes} MB of arrays, mapped: "
            f"{private_memory(store, args.megabytes):.1f} MB of private memory"
        )
        between_trials(store, args.between)


if __name__ == "__main__":
    main()
