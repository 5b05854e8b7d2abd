"""Estimates of time, memory and disk, from the recorded speeds of this store's trials.

Nothing is guessed: where nothing similar was measured there is no number.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from comodo.config import Resources, Sweep, TrialConfig
from comodo.core.store import Store, fetched
from comodo.evaluation.tuning_schedule import tuned_windows
from comodo.report.plan.inventory import Inventory, window_samples
from comodo.report.plan.machine import Machine
from comodo.search.capacity import gpu_share, resolved
from comodo.search.records import MeasuringRecord, TrainedRecord
from comodo.search.trial import Trial, read_measure
from comodo.training.schedule import schedule_of
from comodo.training.speed_test import SpeedRecord


@dataclass(frozen=True)
class Estimate:
    """What a trial will take; None where nothing like it was measured."""

    training: float | None  # seconds
    measuring: float | None
    basis: str = ""
    tuning: float = 0.0
    """At most, of fine-tuning; known from its steps where no earlier run measured the same."""
    peak_memory: dict[str, int] | None = None
    kept: int | None = None


def read_records(store: Store) -> list[SpeedRecord]:
    """The records of all trained students in the store, except those of other versions."""
    files = [f"*/{record.FILE}" for record in (TrainedRecord, MeasuringRecord)]
    folder = fetched(store.root / "trials", *files)
    sizes, samples = folder_sizes(store), cache(partial(window_samples, store))
    found = [_read(path.parent, sizes, samples) for path in sorted(folder.glob(files[0]))]
    return [record for record in found if record is not None]


def _read(
    folder: Path, sizes: Counter[Path], samples: Callable[[str], int | None]
) -> SpeedRecord | None:
    if (trained := TrainedRecord.find(folder)) is None:
        return None
    measuring = MeasuringRecord.find(folder)
    try:
        config = TrialConfig.model_validate(trained.trial)
    except ValueError:
        return None
    return SpeedRecord(
        trial=config,
        speeds=trained.speeds,
        samples=samples(trained.windows),
        device=trained.device,
        workers=trained.workers,
        threads=trained.threads,
        peak_memory=trained.peak_memory,
        gpu_memory=trained.gpu_memory,
        measured=None if measuring is None else (frozenset(measuring.measures), measuring.seconds),
        kept=sizes[folder],
    )


def folder_sizes(store: Store) -> Counter[Path]:
    """Bytes in the folders of all trials, and in those under them."""
    sizes = Counter[Path]()
    for path, size in store.files("trials", "**/*").items():
        for folder in path.relative_to(store.root).parents:
            sizes[store.root / folder] += size
    return sizes


def resources_for(sweep: Sweep, machine: Machine, records: list[SpeedRecord]) -> Resources:
    """What each trial gets on this machine, where the sweep leaves it to `auto`: by the memory of
    recorded trials. Of a cluster nothing is known, as of no GPU."""
    gpus = 0 if machine.cluster is not None else machine.gpus or 0
    measured = [
        (record.trial, record.peak_memory["cuda"], record.gpu_memory)
        for record in records
        if record.gpu_memory and record.peak_memory and "cuda" in record.peak_memory
    ]
    return resolved(sweep.resources, gpus, gpu_share(sweep, measured) or 1.0)


class Speeds:
    """Estimates for the trials of one sweep from the records of one store."""

    def __init__(
        self, sweep: Sweep, store: Store, inventory: Inventory, records: list[SpeedRecord]
    ) -> None:
        self._store, self._inventory, self._records = store, inventory, records
        needed = resources_for(sweep, inventory.machine, records)
        self._device = "cuda" if needed.gpus else "cpu"
        self._workers, self._threads = needed.workers, max(1, int(needed.cpus_per_worker))

    def of(self, trial: Trial) -> Estimate:
        """What the trial will take, from the records of the most similar trials, if any."""
        config, alike = trial.config, self._alike(trial)
        same = [r for r in alike if r.trial.method.title == config.method.title]
        estimate = Estimate(
            training=0.0 if config.method.name == "none" else None,
            measuring=self._measuring([place for *_, place in trial.measures()], alike),
            kept=next((r.kept for r in same if r.kept), 0 if trial.is_hand_crafted else None),
        )
        if (found := self._speed(alike, config)) is None:
            return estimate
        speed, best, basis = found
        if estimate.measuring is None:
            estimate = replace(estimate, tuning=self._tuning(trial.measures(), speed))
        if config.method.name == "none":
            return estimate
        training = None
        if (train := self._inventory.train.get(config.dataset)) is not None:
            training = schedule_of(config, train.of(config)).windows / speed
        return replace(
            estimate,
            training=training,
            basis=basis,
            peak_memory=largest_peaks(record.peak_memory for record in best),
        )

    def to_measure(self, trial: Trial) -> Estimate:
        """The time to measure a trial that is already trained."""
        folder, alike = self._store.folder("trials", trial.key), self._alike(trial)
        missing = [x for x in trial.measures() if read_measure(folder, x[-1]) is None]
        estimate = Estimate(0.0, self._measuring([place for *_, place in missing], alike))
        found = self._speed(alike, trial.config)
        if estimate.measuring is None and found is not None:
            estimate = replace(estimate, tuning=self._tuning(missing, found[0]))
        return estimate

    def _speed(
        self, alike: list[SpeedRecord], config: TrialConfig
    ) -> tuple[float, list[SpeedRecord], str] | None:
        """Windows per second of training, the most similar records and the basis, if any."""
        usable = [r for r in alike if r.speeds and r.trial.precision == config.precision]
        if not usable:
            return None
        other = min((self._other(record, config) for record in usable), key=len)
        best = [record for record in usable if self._other(record, config) == other]
        speed = statistics.median(speed for record in best for speed in record.speeds)
        return speed, best, _basis(best, speed, other)

    def _tuning(self, measures: Iterable[tuple[str, str, Path]], speed: float) -> float:
        """Seconds of the measure `fine-tuned` among these, on data sets that are prepared."""
        windows = 0
        for dataset, measure, _ in measures:
            ready = self._inventory.datasets[dataset].ready
            if measure == "fine-tuned" and ready is not None:
                train, val, test = (ready.classes.get(s, {}) for s in ("train", "val", "test"))
                others = (sum(counts.values()) for counts in (val, test))
                windows += tuned_windows(train.values(), *others)
        return windows / speed

    def _alike(self, trial: Trial) -> list[SpeedRecord]:
        """Records of the same student on windows of the same length."""
        samples = self._inventory.datasets[trial.config.dataset].samples
        return [
            record
            for record in self._records
            if record.trial.student.network == trial.config.student.network
            and record.device in (None, self._device)
            and (samples is None or record.samples in (None, samples))
        ]

    def _measuring(self, places: list[Path], alike: list[SpeedRecord]) -> float | None:
        wanted = frozenset(map(str, places))
        times = [r.measured[1] for r in alike if r.measured and r.measured[0] == wanted]
        return statistics.median(times) if times else None

    def _other(self, record: SpeedRecord, config: TrialConfig) -> list[str]:
        """How the conditions of a record differ from those of the trial."""
        pairs = [
            ("method", record.trial.method.title, config.method.title),
            ("batch", record.trial.batch_size, config.batch_size),
            ("workers", record.workers, self._workers),
            ("threads", record.threads, self._threads),
        ]
        return [
            f"{name} {was} where this sweep has {now}"
            for name, was, now in pairs
            if was not in (None, now)
        ]


def largest_peaks(peaks: Iterable[dict[str, int] | None]) -> dict[str, int]:
    """The largest peak of memory on each device; empty if none was recorded."""
    known = [peak for peak in peaks if peak]
    return {key: max(peak.get(key, 0) for peak in known) for peak in known for key in peak}


def _basis(records: list[SpeedRecord], speed: float, other: list[str]) -> str:
    """What the speed is based on, and what was different there."""
    first, epochs = records[0], sum(len(record.speeds) for record in records)
    what = "passes over a few batches just now" if first.is_speed_test else "epochs in this store"
    text = (
        f"{speed:.0f} windows/s, the median of {epochs} {what}: {describe_student(first.trial)}, "
        f"batch {first.trial.batch_size}, {first.trial.precision}, on "
        f"{first.device or 'an unrecorded device'}"
    )
    return f"{text} ({'; '.join(other)})" if other else text


def describe_student(trial: TrialConfig) -> str:
    student = trial.student
    size = ", ".join(f"{key} {value}" for key, value in student.size.items())
    given = student.weights or f"from {student.source or 'scratch'}{f' ({size})' if size else ''}"
    return f"{student.name} {given}, {len(student.channels)} channels, {student.pooling}"
