"""How fast this store's students trained and its teachers encoded: what an estimate rests on.

Reads what trials and features have noted of themselves; `probe` trains a few batches to get a
speed where there is none. Nothing is guessed: what was not measured has no number.
"""

import json
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from comodo.config import Sweep, TeacherConfig, TrialConfig
from comodo.core.store import Store, fetched, read_json
from comodo.search.trial import Trial
from comodo.training.schedule import schedule_of
from comodo.training.speed_test import SpeedRecord


@dataclass(frozen=True)
class Estimate:
    """What a trial will take; None where nothing like it was measured."""

    training: float | None
    """Seconds."""
    measuring: float | None
    basis: str
    peak_memory: dict[str, int] | None = None
    kept: int | None = None
    student: int | None = None


def window_samples(store: Store, key: str) -> int | None:
    """Length of the longest packed window, from the header of the first file."""
    file = next(iter(store.files("arrays", f"{key}/*.safetensors")), None)
    if file is None:
        return None
    with store.open(file) as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return int(header["imu"]["shape"][-1]) if "imu" in header else None


def read_records(store: Store) -> list[SpeedRecord]:
    """Of every trained student in the store; one that another version wrote is left out."""
    folder = fetched(store.root / "trials", "*/trained.json", "*/measured.json")
    sizes, samples = folder_sizes(store), cache(partial(window_samples, store))
    return [record for path in sorted(folder.glob("*/trained.json"))
            if (record := _read(path, sizes, samples)) is not None]  # fmt: skip


def _read(
    path: Path, sizes: Counter[Path], samples: Callable[[str], int | None]
) -> SpeedRecord | None:
    trained = read_json(path)
    try:
        config = TrialConfig.model_validate(trained["trial"])
        speeds = [epoch["train/windows_per_second"] for epoch in trained["history"]]
        measured = None
        if (path.parent / "measured.json").exists():
            found = read_json(path.parent / "measured.json")
            measured = frozenset(found["measures"]), float(found["seconds"])
        return SpeedRecord(
            config,
            speeds,
            samples(trained["windows"]),
            trained.get("device"),
            trained.get("workers"),
            trained.get("threads"),
            trained.get("peak_memory"),
            measured,
            sizes[path.parent],
            sizes[path.parent / "student"] or None,
        )
    except (KeyError, ValueError):
        return None


def folder_sizes(store: Store) -> Counter[Path]:
    """Bytes in the folders of all trials, and in those under them."""
    sizes = Counter[Path]()
    for path, size in store.files("trials", "**/*").items():
        for folder in path.relative_to(store.root).parents:
            sizes[store.root / folder] += size
    return sizes


class Speeds:
    """Estimates for the trials of one sweep from the records of one store."""

    def __init__(self, sweep: Sweep, store: Store, records: list[SpeedRecord]) -> None:
        self._store, self._records = store, records
        asked = sweep.resources
        self._device = "cuda" if asked.gpus_per_worker else "cpu"
        self._workers, self._threads = asked.workers, max(1, int(asked.cpus_per_worker))

    def of(self, trial: Trial, windows: int | None, samples: int | None) -> Estimate:
        """What the trial will take on so many training windows of that length."""
        config, method = trial.config, trial.config.method.name
        alike = self._alike(trial, samples)
        measuring = self._measuring([place for *_, place in trial.measures()], alike)
        same = [record for record in alike if record.trial.method.name == method]
        kept = next((record.kept for record in same if record.kept is not None), None)
        student = next((record.student for record in alike if record.student is not None), None)
        if method == "none":
            return Estimate(0.0, measuring, "", None, kept, student)
        trained = [record for record in alike if record.speeds and
                   record.trial.precision == config.precision]  # fmt: skip
        if not trained:
            return Estimate(None, measuring, "", None, kept, student)
        fewest = min(len(self._other(record, config)) for record in trained)
        best = [record for record in trained if len(self._other(record, config)) == fewest]
        other = self._other(best[0], config)
        best = [record for record in best if self._other(record, config) == other]
        speeds = [speed for record in best for speed in record.speeds]
        speed = statistics.median(speeds)
        peaks = [record.peak_memory for record in best if record.peak_memory]
        seconds = None
        if windows is not None:
            seconds = schedule_of(config, windows).windows / speed
        return Estimate(
            seconds,
            measuring,
            self._basis(best, other, speed, len(speeds)),
            {key: max(peak[key] for peak in peaks) for key in peaks[0]} if peaks else None,
            kept,
            student,
        )

    def to_measure(self, trial: Trial, samples: int | None) -> Estimate:
        """What is left of a trial that is trained."""
        folder = self._store.folder("trials", trial.key)
        missing = [p for *_, p in trial.measures() if not (folder / f"{p}.json").exists()]
        return Estimate(0.0, self._measuring(missing, self._alike(trial, samples)), "")

    def _alike(self, trial: Trial, samples: int | None) -> list[SpeedRecord]:
        """Records of the same student on windows of the same length."""
        return [
            record
            for record in self._records
            if record.trial.student == trial.config.student
            and record.device in (None, self._device)
            and (samples is None or record.samples in (None, samples))
        ]

    def _measuring(self, places: list[Path], alike: list[SpeedRecord]) -> float | None:
        asked = frozenset(map(str, places))
        times = [record.measured[1] for record in alike
                 if record.measured is not None and record.measured[0] == asked]  # fmt: skip
        return statistics.median(times) if times else None

    def _other(self, record: SpeedRecord, config: TrialConfig) -> list[str]:
        """What the record was measured with that the trial does not have."""
        pairs = [
            ("method", record.trial.method.name, config.method.name),
            ("batch", record.trial.batch_size, config.batch_size),
            ("workers", record.workers, self._workers),
            ("threads", record.threads, self._threads),
        ]
        return [
            f"{name} {was} where this sweep has {asked}"
            for name, was, asked in pairs
            if was not in (None, asked)
        ]

    def _basis(
        self, records: list[SpeedRecord], other: list[str], speed: float, epochs: int
    ) -> str:
        first = records[0]
        what = "passes over a few batches just now" if first.probed else "epochs in this store"
        device = first.device or "an unrecorded device"
        text = (
            f"{speed:.0f} windows/s, the median of {epochs} {what}: "
            f"{describe_student(first.trial)}, "
            f"batch {first.trial.batch_size}, {first.trial.precision}, on {device}"
        )
        return text + (f" ({'; '.join(other)})" if other else "")


def describe_student(trial: TrialConfig) -> str:
    student = trial.student
    size = ", ".join(f"{key} {value}" for key, value in student.size.items())
    given = student.weights or f"from scratch{f' ({size})' if size else ''}"
    return f"{student.name} {given}, {len(student.channels)} channels, {student.pooling}"


def encoding_speed(store: Store, teacher: TeacherConfig, device: str) -> tuple[float, str] | None:
    """Windows per second of the same teacher on the same kind of device, and the basis."""
    speeds = []
    for path in fetched(store.root / "features", "*/meta.json").glob("*/meta.json"):
        meta = read_json(path)
        devices = {name.split(" ")[0] for name in meta["devices"]}
        wanted = teacher.model_dump(mode="json")
        if meta["teacher"] == wanted and devices == {device} and meta.get("speed"):
            speeds.append(meta["speed"])
    if not speeds:
        return None
    speed = statistics.median(speeds)
    return speed, f"{speed:.1f} windows/s on {device}, {len(speeds)} earlier encodings here"
