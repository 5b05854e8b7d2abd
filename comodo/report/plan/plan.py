"""What a sweep will do: its trials by state, what is missing, time, memory and disk, and what else
changes with the swept keys.

Starts no Ray, downloads nothing, and writes nothing except the listing of a simulated data set.
Every number is based on a measurement; without one it is None.
"""

import shutil
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from comodo.config import NoneMethod, Resources, Sweep, TrialConfig
from comodo.core.store import Store
from comodo.report.plan import estimates
from comodo.report.plan.confounds import Confound, confounds
from comodo.report.plan.inventory import Inventory, TrialStates, take_inventory, trial_states
from comodo.report.plan.starts import plan_notes, start_lines
from comodo.search.train_split import refuse_untrainable
from comodo.training.schedule import Schedule, schedule_of
from comodo.training.speed_test import SpeedRecord, measure_speed

SPEED_TEST_SECONDS = 20.0
MAX_COUNTED = 100_000  # configurations are counted one by one
CHECKPOINT_COPIES = 3  # weights and both moments of the optimizer


@dataclass
class Plan:
    """Everything that `comodo plan` shows."""

    sweep: Sweep
    store: Path
    inventory: Inventory
    trials: TrialStates
    configurations: int | None  # in the space, counted up to MAX_COUNTED; None: infinitely many
    training: list[estimates.Estimate]  # of the trials in `trials.to_estimate`
    measuring: list[estimates.Estimate]  # of the trials in `trials.to_measure`
    confounds: list[Confound]
    resources: Resources
    """What each trial gets on this machine."""
    schedules: list[Schedule]
    """Those that trials may have, where the number of windows is known or bounded; with folds of
    trials in the first."""
    disk: dict[str, int | None]  # bytes that will be written, by kind; None: not known
    free: int  # bytes on the store's disk
    speed_test_failed: str = ""
    starts: list[str] = field(default_factory=list)
    """The trained students that its students start from."""
    start_notes: list[str] = field(default_factory=list)
    """What to look at about these."""

    @property
    def folds(self) -> dict[str, int]:
        """How many folds the data sets that are trained on have, of those that have some."""
        datasets = self.inventory.datasets
        found = {name: len(datasets[name].folds) for name, _ in self.sweep.trained_on()}
        return {name: folds for name, folds in found.items() if folds}

    @property
    def concurrent(self) -> int | None:
        """How many trials fit on this machine at once; None: not known."""
        return self.inventory.machine.holds(self.resources)

    @property
    def trial_hours(self) -> float | None:
        """Of all trials to run, one after the other. Measuring is not counted where its time is not
        known, except fine-tuning; None if the training time of any trial is not known."""
        if any(estimate.training is None for estimate in self.training):
            return None
        total = sum((e.training or 0) + (e.measuring or e.tuning) for e in self.training)
        scale = self.trials.to_train / max(1, len(self.training))
        return (total * scale + sum(e.measuring or e.tuning for e in self.measuring)) / 3600

    @property
    def gpu_hours(self) -> float | None:
        needed, hours = self.resources, self.trial_hours
        return None if hours is None else hours * needed.workers * needed.gpus

    @property
    def encode_hours(self) -> float | None:
        seconds = [features.seconds for features in self.inventory.features]
        return None if None in seconds else sum(s for s in seconds if s is not None) / 3600

    @property
    def hours(self) -> float | None:
        """Wall-clock time of encoding and trials on this machine."""
        if self.trial_hours is None or self.encode_hours is None or not self.concurrent:
            return None
        at_once = max(1, min(self.concurrent, self.trials.left or 1))
        return self.encode_hours + self.trial_hours / at_once

    @property
    def peak_memory(self) -> dict[str, int]:
        """Bytes, by `cpu` or `cuda`; empty if no earlier run recorded it."""
        return estimates.largest_peaks(estimate.peak_memory for estimate in self.training)


def make_plan(sweep: Sweep, store: Store, measure: bool = False) -> Plan:
    """Looks at the store and the list of recordings; with `measure`, trains on a few batches.

    Raises DatasetError for a data set that cannot be listed, and ConfigError if a trial would have
    too few windows.
    """
    inventory = take_inventory(sweep, store)
    refuse_untrainable(sweep, inventory.train)
    trials, train = trial_states(sweep, store, inventory), inventory.train
    configs = map(sweep.with_values, sweep.points())
    trained = [config for config in configs if not isinstance(config.method, NoneMethod)]
    records, failed = estimates.read_records(store), ""
    if measure:
        try:
            needed = estimates.resources_for(sweep, inventory.machine, records)
            records.append(_speed_test(trained, needed, inventory))
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            failed = str(error) or type(error).__name__
    speeds = estimates.Speeds(sweep, store, inventory, records)
    training = [speeds.of(trial) for trial in trials.to_estimate]
    found = [c for c in trained if c.dataset in train]
    schedules = dict.fromkeys(schedule_of(c, train[c.dataset].of(c)) for c in found)
    counted = islice(sweep.space.points(), MAX_COUNTED) if sweep.space.is_countable() else None
    disk = next(place for place in (store.root, *store.root.parents) if place.exists())
    resources = estimates.resources_for(sweep, inventory.machine, records)
    concurrent = inventory.machine.holds(resources) or 1
    return Plan(
        sweep=sweep,
        store=store.root,
        inventory=inventory,
        trials=trials,
        configurations=None if counted is None else sum(1 for _ in counted),
        training=training,
        measuring=[speeds.to_measure(trial) for trial in trials.to_measure],
        confounds=confounds(sweep, train),
        resources=resources,
        schedules=list(schedules),
        disk=bytes_to_write(sweep.name, inventory, trials, training, concurrent, store),
        free=shutil.disk_usage(disk).free,
        speed_test_failed=failed,
        starts=start_lines(sweep),
        start_notes=plan_notes(sweep, inventory.datasets, store),
    )


def _speed_test(
    trained: list[TrialConfig], resources: Resources, inventory: Inventory
) -> SpeedRecord:
    """Trains the first trial that trains a student for a few seconds."""
    if not trained:
        raise ValueError("no trial of the space trains a student")
    trial = trained[0]
    samples = inventory.datasets[trial.dataset].samples
    if samples is None:
        raise ValueError("the length of the recordings is not known; first run comodo prepare")
    dims = (f.dim for f in inventory.features if f.teacher == trial.teacher and f.dim)
    return measure_speed(trial, resources, samples, next(dims, 768), SPEED_TEST_SECONDS)


def bytes_to_write(
    sweep: str,
    inventory: Inventory,
    trials: TrialStates,
    training: list[estimates.Estimate],
    concurrent: int,
    store: Store,
) -> dict[str, int | None]:
    """By kind of file. `training`: the estimates of `trials.to_estimate`."""
    resized = {trial.config.student.samples for trial in trials.to_estimate} - {None}
    windows = [dataset.bytes_left(resized, store) for dataset in inventory.datasets.values()]
    features = [encoded.bytes_left(store) for encoded in inventory.features]
    kept = _sum([estimate.kept for estimate in training])
    count, left = max(1, len(training)), trials.to_train
    copies = left + CHECKPOINT_COPIES * concurrent * (left > 0)
    return {
        "windows": _sum(windows),
        "features": _sum(features),
        "students and checkpoints": None if kept is None else round(copies * (kept / count)),
    }


def _sum(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)
