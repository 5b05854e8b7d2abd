"""How cost grows with the number of trials in a sweep, and with the data of a trial.

    python -m benchmarks.scaling --trials 8 16 32 64 --windows 10000 100000 1000000 --repeats 3

Every point is measured in a fresh process. The points take turns, and their medians are compared
with the first point's.

- trials: sweeps of so many toy trials (some 100 windows, one epoch), two at a time, as in a sweep:
  Ray Tune, ledger, MLflow on SQLite, results on disk. Trials per hour count from the first trial's
  end to the last one's, without what is started once.
- windows: one trial by itself, as a worker of the engine runs it: one epoch on packed windows of
  64 samples, in shards as `pack` writes them, then one measure of the features of all windows:
  nearest neighbours, in place of the SVM probe, which fits 10,000 windows at most and has
  `benchmarks.probe`. The train split grows; val and test have 200 windows each. The student is as
  small as possible and sees one channel, so that the cost of the data is visible.

Private memory is resident minus shared, the peak of five samples a second: what a process uses in
addition to the arrays that it maps. Uses neither video nor a real student.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import ray
import torch

from benchmarks.common import Row, in_fresh_process, machine, show
from benchmarks.overhead import ledger_of
from benchmarks.packed import write_arrays
from benchmarks.prepare import Watch
from comodo.core.console import console
from comodo.core.lease import Lease
from comodo.core.store import Store
from comodo.runtime import tune
from comodo.runtime.cluster import connect
from comodo.runtime.worker import run_trial
from comodo.search.budget import BudgetTracker
from comodo.search.trial import Evaluation, Trial
from comodo.tracking.tracker import Tracker
from tests.helpers import TINY_MANTIS, trial_config

CONCURRENT = 2
SAMPLES, DIM, BATCH, SCORED = 64, 12, 512, 200
STUDENT = TINY_MANTIS | {"channels": ["acc_x"]}


class OfTrials(NamedTuple):
    """A sweep; memory in MB at the peak."""

    per_hour: float
    driver: float
    worker: float


class OfWindows(NamedTuple):
    """One trial; memory in MB at the peak of training, and of all."""

    per_second: float
    seconds: float
    begun: float
    training: float
    all: float


Point = TypeVar("Point", OfTrials, OfWindows)


def measure_trials(trials: int) -> OfTrials:
    console.quiet = True
    with tempfile.TemporaryDirectory() as folder:
        connect()
        store = Store(folder)
        ledger = ledger_of(store, trials, CONCURRENT)
        tracker = Tracker(store, ledger.sweep.name, {})
        watch = Watch()
        watch.start()
        lease = Lease(store, "sweeps", ledger.sweep.name)
        limits = BudgetTracker(ledger.sweep, ledger.folder)
        tune.run_missing(ledger, tracker, limits, lease)
        watch.end()
        tracker.close()
        written = store.files("trials", "*/measured.json")
        ends = sorted(path.stat().st_mtime for path in written)
        assert len(ends) == trials, f"{len(ends)} of {trials} trials have ended well"
        ray.shutdown()
    per_hour = 3600 * (trials - 1) / (ends[-1] - ends[0])
    return OfTrials(per_hour, watch.driver / 1e6, watch.worker / 1e6)


def measure_windows(windows: int) -> OfWindows:
    torch.set_num_threads(1)  # as a trial of one CPU has
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        splits = {"train": windows, "val": SCORED, "test": SCORED}
        write_arrays(store.root / "arrays", splits, SAMPLES, DIM)
        config = trial_config(student=STUDENT, epochs=1, batch_size=BATCH)
        trial = Trial(config, 0, "windows", "features", Evaluation(measures=("knn",)))
        watch = Watch()
        watch.start()
        training = 0

        def report(metrics: dict[str, Any]) -> None:
            nonlocal training
            training = watch.driver

        began = time.perf_counter()
        result = run_trial(trial, store, report)
        seconds = time.perf_counter() - began
        watch.end()
    assert result is not None
    per_second = result.trained.speeds[0]
    memory = (watch.begun, training, watch.driver)
    return OfWindows(per_second, seconds, *(peak / 1e6 for peak in memory))


def medians(
    measure: Callable[[int], Point], line: Callable[[int, Point], str], sizes: list[int], turns: int
) -> list[tuple[float, ...]]:
    """The median of all that was measured of each size; what each turn found is shown."""
    found: dict[int, list[Point]] = {size: [] for size in sizes}
    for size in sizes * turns:
        found[size].append(point := in_fresh_process(measure, size))
        print(line(size, point), flush=True)
    return [tuple(map(statistics.median, zip(*points, strict=True))) for points in found.values()]


def of_trials(sizes: list[int], turns: int) -> None:
    print(f"sweeps of toy trials, {CONCURRENT} at a time; medians of {turns} turns")
    print("trials | an hour | driver MB | largest worker MB")
    points = [OfTrials(*point) for point in medians(measure_trials, _line_of_sweep, sizes, turns)]
    first, last = points[0], points[-1]
    show(
        Row(
            f"trials per hour as trials grow from {sizes[0]} to {sizes[-1]}, toy trials",
            _of_sweep(first),
            _of_sweep(last),
            f"{last.per_hour / first.per_hour:.2f}x",
            "linear: 1x; memory flat",
        )
    )


def _line_of_sweep(size: int, point: OfTrials) -> str:
    return f"{size:6} | {point.per_hour:7,.0f} | {point.driver:9.0f} | {point.worker:17.0f}"


def _of_sweep(point: OfTrials) -> str:
    return (
        f"{point.per_hour:,.0f} an hour; driver {point.driver:,.0f} MB, worker "
        f"{point.worker:,.0f} MB"
    )


def of_windows(sizes: list[int], turns: int) -> None:
    print(
        f"one trial of one epoch, batches of {BATCH}, and its measure, one thread; "
        f"medians of {turns} turns"
    )
    print("windows | training, windows/s | whole trial s | MB before | training MB | all MB")
    points = [OfWindows(*point) for point in medians(measure_windows, _line_of_trial, sizes, turns)]
    for (less, few), (more, many) in itertools.pairwise(zip(sizes, points, strict=True)):
        training, whole = (
            1e6 * (after - before) / (more - less)
            for before, after in ((few.training, many.training), (few.all, many.all))
        )
        print(
            f"from {less:,} to {more:,}: for each window {training:.0f} bytes more in training, "
            f"{whole:.0f} with the measure (of features of 8 numbers)"
        )
    first, last = points[0], points[-1]
    show(
        Row(
            f"training, windows/s as windows grow from {sizes[0]:,} to {sizes[-1]:,}, tiny student",
            _of_trial(first),
            _of_trial(last),
            f"{last.per_second / first.per_second:.2f}x",
            "linear: 1x; memory flat",
        )
    )


def _line_of_trial(size: int, point: OfWindows) -> str:
    return (
        f"{size:9,} | {point.per_second:10,.0f} | {point.seconds:7.1f} | {point.begun:6.0f} | "
        f"{point.training:6.0f} | {point.all:6.0f}"
    )


def _of_trial(point: OfWindows) -> str:
    return f"{point.per_second:,.0f} windows/s; {point.all:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="*", default=[8, 16, 32, 64])
    parser.add_argument("--windows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(machine("cpu", "ray", "mlflow"))
    if args.trials:
        of_trials(args.trials, args.repeats)
    if args.windows:
        of_windows(args.windows, args.repeats)


if __name__ == "__main__":
    main()
