"""Estimates of time, memory and disk, from the recorded speeds of this store's trials.

Nothing is guessed: where nothing similar was measured there is no number.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from comodo.config import Resources, StudentConfig, Sweep, TrialConfig
from comodo.config.space import plain
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
    samples, config = cache(partial(window_samples, store)), cache(_config)
    found = [_read(path.parent, samples, config) for path in sorted(folder.glob(files[0]))]
    return [record for record in found if record is not None]


def _config(trial: str) -> TrialConfig | None:
    """The settings that a trial recorded, from JSON; None for those of other versions."""
    try:
        return TrialConfig.model_validate(json.loads(trial))
    except ValueError:
        return None


def _read(
    folder: Path,
    samples: Callable[[str], int | None],
    config_of: Callable[[str], TrialConfig | None],
) -> SpeedRecord | None:
    if (trained := TrainedRecord.find(folder)) is None:
        return None
    measuring = MeasuringRecord.find(folder)
    if (config := config_of(json.dumps(trained.trial))) is None:  # many differ by seed only
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
        key=folder.name,
    )


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


class Kind(NamedTuple):
    """What the records that a trial is compared with depend on."""

    network: str
    samples: int | None  # of a window
    method: str
    batch_size: int
    precision: str


class Speed(NamedTuple):
    """Of training, from the most similar records."""

    windows: float  # per second
    basis: str
    peak_memory: dict[str, int]


class Speeds:
    """Estimates for the trials of one sweep from the records of one store. What is found for one
    trial is kept for all of its kind: both may be thousands."""

    def __init__(
        self, sweep: Sweep, store: Store, inventory: Inventory, records: list[SpeedRecord]
    ) -> None:
        self._store, self._inventory = store, inventory
        needed = resources_for(sweep, inventory.machine, records)
        self._device = "cuda" if needed.gpus else "cpu"
        self._workers, self._threads = needed.workers, max(1, int(needed.cpus_per_worker))
        self._records = defaultdict[str, list[SpeedRecord]](list)
        for record in records:
            if record.device in (None, self._device):
                self._records[network_of(record.trial.student)].append(record)
        self._alike, self._speed = cache(self._find_alike), cache(self._find_speed)
        self._measuring, self._kept = cache(self._find_measuring), cache(self._find_kept)

    def of(self, trial: Trial) -> Estimate:
        """What the trial will take, from the records of the most similar trials, if any."""
        config, kind = trial.config, self._kind(trial)
        kept = self._kept(*kind[:3])
        estimate = Estimate(
            training=0.0 if config.method.name == "none" else None,
            measuring=self._measuring(*kind[:2], _places(trial.measures())),
            kept=0 if kept is None and trial.is_hand_crafted else kept,
        )
        if (speed := self._speed(kind)) is None:
            return estimate
        if estimate.measuring is None:
            estimate = replace(estimate, tuning=self._tuning(trial.measures(), speed.windows))
        if config.method.name == "none":
            return estimate
        training = None
        if (train := self._inventory.train.get(config.dataset)) is not None:
            training = schedule_of(config, train.of(config)).windows / speed.windows
        return replace(
            estimate, training=training, basis=speed.basis, peak_memory=speed.peak_memory
        )

    def to_measure(self, trial: Trial) -> Estimate:
        """The time to measure a trial that is already trained."""
        folder, kind = self._store.folder("trials", trial.key), self._kind(trial)
        missing = [x for x in trial.measures() if read_measure(folder, x[-1]) is None]
        estimate = Estimate(0.0, self._measuring(*kind[:2], _places(missing)))
        if estimate.measuring is None and (speed := self._speed(kind)) is not None:
            estimate = replace(estimate, tuning=self._tuning(missing, speed.windows))
        return estimate

    def _kind(self, trial: Trial) -> Kind:
        config = trial.config
        samples = self._inventory.datasets[config.dataset].samples
        network, method = network_of(config.student), config.method.title
        return Kind(network, samples, method, config.batch_size, config.precision)

    def _find_alike(self, network: str, samples: int | None) -> list[SpeedRecord]:
        """Records of the same student on windows of the same length."""
        return [
            record
            for record in self._records.get(network, ())
            if samples is None or record.samples in (None, samples)
        ]

    def _find_kept(self, network: str, samples: int | None, method: str) -> int | None:
        """Bytes of the first such student that was trained by the same method."""
        alike = (r for r in self._alike(network, samples) if r.trial.method.title == method)
        return next(filter(None, map(self._bytes_kept, alike)), None)

    def _bytes_kept(self, record: SpeedRecord) -> int | None:
        if not record.key:
            return record.kept
        return sum(self._store.files("trials", f"{record.key}/**/*").values())

    def _find_speed(self, kind: Kind) -> Speed | None:
        alike = self._alike(kind.network, kind.samples)
        usable = [r for r in alike if r.speeds and r.trial.precision == kind.precision]
        if not usable:
            return None
        others = [self._other(record, kind) for record in usable]
        other = min(others, key=len)
        best = [record for record, its in zip(usable, others, strict=True) if its == other]
        speed = statistics.median(speed for record in best for speed in record.speeds)
        peaks = largest_peaks(record.peak_memory for record in best)
        return Speed(speed, _basis(best, speed, other), peaks)

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

    def _find_measuring(
        self, network: str, samples: int | None, places: frozenset[str]
    ) -> float | None:
        alike = self._alike(network, samples)
        times = [r.measured[1] for r in alike if r.measured and r.measured[0] == places]
        return statistics.median(times) if times else None

    def _other(self, record: SpeedRecord, kind: Kind) -> list[str]:
        """How the conditions of a record differ from those of the trial."""
        pairs = [
            ("method", record.trial.method.title, kind.method),
            ("batch", record.trial.batch_size, kind.batch_size),
            ("workers", record.workers, self._workers),
            ("threads", record.threads, self._threads),
        ]
        return [
            f"{name} {was} where this sweep has {now}"
            for name, was, now in pairs
            if was not in (None, now)
        ]


def network_of(student: StudentConfig) -> str:
    """The same text for students that differ at most in what they start from."""
    return json.dumps(plain(student.network.model_dump(mode="json")), sort_keys=True)


def _places(measures: Iterable[tuple[str, str, Path]]) -> frozenset[str]:
    return frozenset(str(place) for *_, place in measures)


def largest_peaks(peaks: Iterable[dict[str, int] | None]) -> dict[str, int]:
    """The largest peak of memory on each device; empty if none was recorded."""
    largest: dict[str, int] = {}
    for peak in filter(None, peaks):
        largest |= {key: max(size, largest.get(key, 0)) for key, size in peak.items()}
    return largest


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
