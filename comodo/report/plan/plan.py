"""What a sweep will do, before anything starts: trials, what is there already, what must be made,
time, memory, disk, and what else moves with the swept keys.

Starts no Ray, downloads nothing, makes nothing but a simulated data set's listing; every number
rests on something measured, or is left out.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from comodo.config import CHANNELS, NoneMethod, Point, Sweep
from comodo.core.store import Store
from comodo.data.keys import resized_key
from comodo.report.plan.confounds import Confound, TrainSplit, confounds
from comodo.report.plan.estimates import Estimate, Speeds, folder_sizes, read_records
from comodo.report.plan.inventory import (
    DatasetPlan,
    FeaturesPlan,
    Machine,
    dataset_plan,
    features_plan,
    this_machine,
)
from comodo.search.ledger import Ledger
from comodo.search.precheck import evaluation_of
from comodo.search.records import TrainedRecord, read_asked
from comodo.search.trial import Evaluation, Trial
from comodo.search.warm_start import Arrays
from comodo.training.schedule import Schedule, schedule_of
from comodo.training.speed_test import SpeedRecord, measure_speed

FLOAT_BYTES = 4  # bytes
PROBE_SECONDS = 20.0
MAX_COUNTED = 100_000  # configurations are counted one by one


@dataclass
class Plan:
    """All that `comodo plan` shows."""

    sweep: Sweep
    store: Path
    datasets: list[DatasetPlan]
    features: list[FeaturesPlan]
    trials: int
    """Of a grid all, with the references; of a search those asked so far."""
    done: int
    half_done: int
    configurations: int | None
    """Of a grid; of another search the size of the space, None: infinite."""
    left: int
    """Trials to run; of a search without its references."""
    estimates: list[tuple[Trial, Estimate]]
    """Of trials to train; of a search one of each kind that it may ask."""
    to_measure: list[Estimate]
    """Of trials to run that are trained already."""
    concurrent: int | None
    machine: Machine
    confounds: list[Confound]
    schedules: list[Schedule]
    """Those that trials may have, where the number of windows is known or bounded."""
    free: int
    """Bytes on the store's disk."""
    disk: dict[str, int | None] = field(default_factory=dict)
    """Bytes that will be written, by kind; None: not known."""
    peak_memory: dict[str, int] | None = None
    probe_failed: str = ""

    @property
    def to_train(self) -> int:
        return self.left - len(self.to_measure)

    @property
    def trial_hours(self) -> float | None:
        """Of all trials to run, one after the other; without their measures if those are not
        known; None if any trial's training is not known."""
        if any(e.training is None for _, e in self.estimates):
            return None
        total = sum((e.training or 0) + (e.measuring or 0) for _, e in self.estimates)
        scale = self.to_train / max(1, len(self.estimates))
        return (total * scale + sum(e.measuring or 0 for e in self.to_measure)) / 3600

    @property
    def gpu_hours(self) -> float | None:
        asked = self.sweep.resources
        hours = self.trial_hours
        return None if hours is None else hours * asked.workers * asked.gpus_per_worker

    @property
    def encode_hours(self) -> float | None:
        seconds = [features.seconds for features in self.features]
        return None if None in seconds else sum(s for s in seconds if s is not None) / 3600

    @property
    def hours(self) -> float | None:
        """Wall-clock time of encoding and trials on this machine."""
        if self.trial_hours is None or self.encode_hours is None or not self.concurrent:
            return None
        return self.encode_hours + self.trial_hours / max(1, min(self.concurrent, self.left or 1))


def make_plan(sweep: Sweep, store: Store, measure: bool = False) -> Plan:
    """Looks at the store and the recordings' listing; with `measure`, trains a few batches.

    Raises DatasetError for a data set that cannot be listed.
    """
    datasets = {name: dataset_plan(name, sweep, store) for name in sweep.used()}
    machine = this_machine()
    features = [
        features_plan(datasets[name], teacher, store, machine)
        for name, teacher in sweep.trained_on()
    ]
    arrays = _arrays(features, datasets)
    packed = {name: dataset.packed for name, dataset in datasets.items()}
    prepared = {n: d.ready.classes.get("train", {}) for n, d in datasets.items() if d.ready}
    evaluation = evaluation_of(sweep, packed, prepared)
    ledger = Ledger(sweep, store, arrays, evaluation)
    grid = sweep.search.sampler == "grid"
    planned = ledger.planned()
    kinds = planned if grid else _trials(sweep, sweep.points(), sweep.seeds[:1], arrays, evaluation)
    own = {trial.config.method.name for trial in kinds}
    asked = planned
    if not grid:  # the ledger itself has only those that are over
        points = [a.values for a in read_asked(ledger.folder) if a.values in sweep.space]
        asked = _trials(sweep, points, sweep.seeds, arrays, evaluation)
    todo = [trial for trial in asked if not ledger.is_over(trial)]
    begun = {path.parent.name for path in store.files("trials", "*/checkpoint.pt")}
    trained = [t for t in todo if (store.folder("trials", t.key) / TrainedRecord.FILE).exists()]
    measured_only = {trial.key for trial in trained}
    todo = [trial for trial in todo if trial.key not in measured_only]
    halves = [trial for trial in todo if trial.key in begun]
    records, failed = read_records(store), ""
    if measure:
        try:
            records.append(_probe(sweep, datasets, features))
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            failed = str(error) or type(error).__name__
    speeds = Speeds(sweep, store, records)
    estimates = []
    for trial in todo if grid else kinds:
        dataset = datasets[trial.config.dataset]
        windows = None if dataset.train is None else dataset.train.of(trial.config)
        estimates.append((trial, speeds.of(trial, windows, dataset.samples)))
    over = [t for t in planned if ledger.is_over(t) and t.config.method.name in own]
    trials_left = len(todo) + len(trained)
    if not grid:
        trials_left = max(len(trained), (sweep.budget.trials or 0) - len(over))
    fits = machine.holds(sweep.resources)
    train = {name: plan.train for name, plan in datasets.items() if plan.train is not None}
    plan = Plan(
        sweep=sweep,
        store=store.root,
        datasets=list(datasets.values()),
        features=features,
        trials=len(planned),
        done=ledger.done() if grid else len(over),
        half_done=len(halves),
        configurations=_space_size(sweep),
        left=trials_left,
        estimates=estimates,
        to_measure=[speeds.to_measure(t, datasets[t.config.dataset].samples) for t in trained],
        concurrent=fits,
        machine=machine,
        confounds=confounds(sweep, train),
        schedules=_schedules(sweep, train),
        free=shutil.disk_usage(_existing(store.root)).free,
        probe_failed=failed,
    )
    plan.disk = _disk(plan, store)
    if (os.environ.get("MLFLOW_TRACKING_URI") or "sqlite").startswith("sqlite"):
        plan.disk["MLflow's copies of students"] = _copies(plan, store, planned, trained)
    peaks = [e.peak_memory for _, e in estimates if e.peak_memory]
    if peaks:
        plan.peak_memory = {
            key: max(peak.get(key, 0) for peak in peaks) for peak in peaks for key in peak
        }
    return plan


def _arrays(features: list[FeaturesPlan], datasets: dict[str, DatasetPlan]) -> Arrays:
    return {
        (plan.dataset, plan.teacher): (datasets[plan.dataset].packed, plan.packed)
        for plan in features
    }


def _trials(
    sweep: Sweep,
    points: Iterable[Point],
    seeds: list[int],
    arrays: Arrays,
    evaluation: Evaluation,
) -> list[Trial]:
    """Those that a search asks for at these points, each once."""
    trials = [
        Trial(config, seed, *arrays[config.dataset, config.teacher], evaluation)
        for config in map(sweep.with_values, points)
        for seed in seeds
    ]
    return list({trial.key: trial for trial in trials}.values())


def _space_size(sweep: Sweep) -> int | None:
    """Configurations of the space, counted up to MOST; None: infinitely many."""
    space = sweep.space
    return sum(1 for _ in islice(space.points(), MAX_COUNTED)) if space.is_countable() else None


def _schedules(sweep: Sweep, train: dict[str, TrainSplit]) -> list[Schedule]:
    """Of the trials that train; each once."""
    found: dict[Schedule, None] = {}
    for config in map(sweep.with_values, sweep.points()):
        if config.dataset in train and not isinstance(config.method, NoneMethod):
            found[schedule_of(config, train[config.dataset].of(config))] = None
    return list(found)


def _disk(plan: Plan, store: Store) -> dict[str, int | None]:
    """Bytes that are still to be written, uncompressed; None: not known."""
    windows: list[int | None] = []
    taken = {trial.config.student.samples for trial, _ in plan.estimates}
    for dataset in plan.datasets:
        copies = (dataset.ready is None) + (store.meta("arrays", dataset.packed) is None)
        resized = [
            samples
            for samples in taken - {None, dataset.samples}
            if store.meta("arrays", resized_key(dataset.packed, samples or 0)) is None
        ]
        size = None
        if dataset.total is not None and dataset.samples is not None:
            samples = copies * dataset.samples + sum(samples or 0 for samples in resized)
            size = dataset.total * len(CHANNELS) * samples * FLOAT_BYTES
        windows.append(0 if not copies and not resized else size)
    features: list[int | None] = []
    for encoding in plan.features:
        packed = store.meta("arrays", encoding.packed) is not None
        size = None
        if encoding.left is not None and encoding.total is not None and encoding.dim is not None:
            size = (encoding.left + encoding.total * (not packed)) * encoding.dim * FLOAT_BYTES
        features.append(0 if encoding.whole and packed else size)
    student = _mean([estimate.kept for _, estimate in plan.estimates])
    students = None
    if student is not None:
        # A checkpoint holds weights and both moments of the optimizer.
        checkpoints = 3 * (plan.concurrent or 1) * (plan.to_train > 0)
        students = round((plan.to_train + checkpoints) * student)
    return {
        "windows": _sum(windows),
        "features": _sum(features),
        "students and checkpoints": students,
    }


def _copies(plan: Plan, store: Store, planned: list[Trial], trained: list[Trial]) -> int | None:
    """Bytes of the students that the sweep's records in the store will have beside the trials."""
    student = _mean([estimate.student for _, estimate in plan.estimates])
    recorded = store.folder("mlflow", "artifacts") / plan.sweep.name
    copied = trained if recorded.exists() else [*planned, *trained]  # also what others have made
    folders = {store.folder("trials", trial.key) / "student" for trial in copied}
    if student is None:
        return None
    sizes = folder_sizes(store)
    return round(plan.to_train * student) + sum(sizes[folder] for folder in folders)


def _mean(sizes: list[int | None]) -> float | None:
    total = _sum(sizes)
    return None if total is None else total / max(1, len(sizes))


def _sum(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)


def _probe(
    sweep: Sweep, datasets: dict[str, DatasetPlan], features: list[FeaturesPlan]
) -> SpeedRecord:
    configs = map(sweep.with_values, sweep.points())
    trial = next((config for config in configs if not isinstance(config.method, NoneMethod)), None)
    if trial is None:
        raise ValueError("no trial of the space trains a student")
    samples = datasets[trial.dataset].samples
    if samples is None:
        raise ValueError("how long the recordings are is not known; first run comodo prepare")
    dim = next((f.dim for f in features if f.teacher == trial.teacher and f.dim), 768)
    return measure_speed(trial, sweep.resources, samples, dim, PROBE_SECONDS)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
