"""What the store and this machine already have for a sweep, and what is missing: windows, features,
and trials by state.

Reads listings, metadata of artifacts and records of trials; writes nothing, starts nothing. Does
not know how long a trial takes.
"""

import json
import statistics
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain

from comodo.config import CHANNELS, Sweep, TeacherConfig
from comodo.config.teacher import NOT_ENCODERS, teacher_on
from comodo.core.parts import damaged_parts
from comodo.core.store import Store, fetched, key_of
from comodo.data import window_sets
from comodo.data.feature_sets import (
    VideoPart,
    count_known,
    count_left,
    feature_key,
    video_parts,
)
from comodo.data.folds import Folds, listed_folds
from comodo.data.keys import packed_features_key, packed_windows_key, resized_key, simulated_folder
from comodo.data.readers import list_recordings, listing_notes
from comodo.data.records import MEASURED_ONLY, FeatureArraysMeta, FeaturesMeta, WindowArraysMeta
from comodo.data.window_sets import WindowSet
from comodo.report.plan.machine import Machine, this_machine
from comodo.report.plan.notes import DatasetFacts, dataset_notes
from comodo.report.plan.splits import split_bounds, train_split
from comodo.search.configuration import trials_of
from comodo.search.ledger import Ledger
from comodo.search.precheck import evaluation_of
from comodo.search.records import TrainedRecord
from comodo.search.train_split import TrainSplit
from comodo.search.trial import Trial, unread_splits
from comodo.search.warm_start import Arrays

FLOAT_BYTES = 4
FRAME_SETTINGS = {"frame", "frame_choice", "flips"}
FEATURE_DIMS = {"efficientnet-lite0": 1280}  # of teachers whose weights the user cannot choose


@dataclass(frozen=True)
class DatasetPlan:
    """One data set: its windows, or what has to be prepared."""

    name: str
    key: str
    recordings: int
    waiting: int  # recordings to prepare
    windows: list[dict[str, int]] | None
    """Of each fold, or of the one split, by split; an upper bound until they are prepared; None if
    counting them takes too long."""
    train: TrainSplit | None
    samples: int | None  # of a window, or the longest whole recording; None: not packed yet
    ready: WindowSet | None
    notes: list[str]
    """What prepare prints of the listing, and what the objective needs but is not there."""
    whole_samples: int | None = None
    """Of all whole recordings together, once they are prepared."""
    seconds: float | str = "whole"  # of a window
    channels: int = len(CHANNELS)
    videos: dict[str, tuple[VideoPart, ...]] = field(default_factory=dict)
    """By split, what of videos the recordings show, until the windows are prepared."""
    folds: Folds = ()
    """Until the windows are prepared, as far as the listing tells."""
    unfit: bool = False
    """Whether it has too few labels to fit a probe on, as far as the listing tells."""
    labels: tuple[str, ...] = ()
    """The names of all classes, as far as the listing tells."""

    @property
    def packed(self) -> str:
        """Key of the packed windows."""
        return packed_windows_key(self.key, () if self.ready is None else self.ready.rejected)

    @property
    def total(self) -> int | None:
        return None if self.windows is None else sum(self.windows[0].values())

    @property
    def all_samples(self) -> int | None:
        """Of all windows together; an upper bound until they are prepared; None: not known."""
        if self.whole_samples is not None or self.total is None or self.samples is None:
            return self.whole_samples
        return self.total * self.samples

    def bytes_left(self, lengths: set[int | None], store: Store) -> int | None:
        """Bytes to write: prepared, packed, and resized to the lengths that students take."""
        copies = (self.ready is None) + (store.meta("arrays", self.packed) is None)
        others = (samples for samples in lengths - {self.samples} if samples)
        keys = {samples: resized_key(self.packed, samples) for samples in others}
        resized = [samples for samples, key in keys.items() if store.meta("arrays", key) is None]
        if not copies and not resized:
            return 0
        if self.total is None or self.all_samples is None:
            return None
        samples = copies * self.all_samples + self.total * sum(resized)
        return self.channels * samples * FLOAT_BYTES


@dataclass(frozen=True)
class FeaturesPlan:
    """The splits of one data set that trials read, as one teacher encodes them."""

    dataset: str
    teacher: TeacherConfig
    packed: str  # key of the packed features; a placeholder until the windows are prepared
    done: int  # windows that need not be encoded, if they are as before in a set not prepared yet
    total: int | None
    complete: bool
    dim: int | None
    seconds: float | None = None  # to encode the rest; None if no speed is known
    basis: str = ""

    @property
    def left(self) -> int | None:
        if self.complete:
            return 0
        return None if self.total is None else max(0, self.total - self.done)

    def bytes_left(self, store: Store) -> int | None:
        """Bytes to write: encoded, or copied from other sets, and packed."""
        packed = store.meta("arrays", self.packed) is not None
        if self.complete and packed:
            return 0
        if self.total is None or self.dim is None:
            return None
        return (1 + (not packed)) * self.total * self.dim * FLOAT_BYTES


@dataclass(frozen=True)
class Inventory:
    """Everything that a sweep needs from the store, with its state, and this machine."""

    datasets: dict[str, DatasetPlan]
    features: list[FeaturesPlan]
    arrays: Arrays
    machine: Machine

    @property
    def train(self) -> dict[str, TrainSplit]:
        """Of the data sets whose training windows are counted or bounded."""
        return {name: d.train for name, d in self.datasets.items() if d.train is not None}


@dataclass(frozen=True)
class TrialStates:
    """How far a sweep has got."""

    planned: list[Trial]
    """All trials of a grid with its references; of a search, those known so far."""
    done: int
    half_done: int  # trials with a checkpoint
    to_measure: list[Trial]  # trained already
    left: int  # trials to run or to measure; a search's references are not counted
    to_estimate: list[Trial]
    """Trials to train; of a search one trial of each kind that it may propose."""

    @property
    def to_train(self) -> int:
        return self.left - len(self.to_measure)


def take_inventory(sweep: Sweep, store: Store) -> Inventory:
    """What the store and this machine have for a sweep.

    Raises DatasetError for a data set that cannot be listed.
    """
    datasets = {name: dataset_plan(name, sweep, store) for name in sweep.used()}
    machine = this_machine()
    features = {
        (name, one): features_plan(datasets[name], one, sweep, store, machine)
        for name, teacher in sweep.encoded()
        for one in (*(teacher.several or ()), teacher)
    }
    arrays: Arrays = {}
    for name, teacher in sweep.trained_on():
        read = None if teacher is None else features.get((name, teacher))
        arrays[name, teacher] = datasets[name].packed, "" if read is None else read.packed
    return Inventory(datasets, list(features.values()), arrays, machine)


def dataset_plan(name: str, sweep: Sweep, store: Store) -> DatasetPlan:
    settings = sweep.datasets[name]
    folder = simulated_folder(settings, store)
    recordings = list_recordings(settings, folder)
    files = window_sets.fingerprints_of(settings, recordings)
    key = window_sets.window_key(settings, recordings, files)
    ready = window_sets.read_window_set(key, store, files)
    ready = ready and window_sets.with_folds(ready, settings)
    facts = DatasetFacts(name, settings, recordings, ready)
    notes = listing_notes(settings, folder, recordings) + dataset_notes(facts, sweep)
    if settings.window_seconds == "whole":
        rejected = () if ready is None else ready.rejected
        samples = window_samples(store, packed_windows_key(key, rejected))
    else:
        samples = round(settings.window_seconds * settings.imu_rate)
    if ready is not None:
        train, total = train_split(ready), None
        if settings.window_seconds == "whole":
            tables = window_sets.read_quality(ready.folder)
            seconds = [s or 0.0 for t in tables for s in t["window_seconds"].to_pylist()]
            total = round(sum(seconds) * settings.imu_rate)
            # Until they are packed, which is after prepare.
            samples = samples or round(max(seconds, default=0.0) * settings.imu_rate) or None
        counts = [split.counts for split in ready.splits]
        done = len(recordings), 0, counts, train, samples, ready, notes, total
        plan = DatasetPlan(name, key, *done, channels=len(settings.imu_channels))
        return replace(plan, folds=ready.folds, unfit=facts.unfit, labels=tuple(facts.labels))
    waiting = sum(map(len, window_sets.missing_parts(recordings, store, key).values()))
    known, at_most = split_bounds(settings, recordings)
    plan = DatasetPlan(name, key, len(recordings), waiting, known, at_most, samples, None, notes)
    by_split = {split: [r for r in recordings if r.split == split]
                for split in dict.fromkeys(r.split for r in recordings)}  # fmt: skip
    videos = {s: video_parts(settings, listed, files, store) for s, listed in by_split.items()}
    folds = listed_folds(recordings, settings)
    plan = replace(plan, seconds=settings.window_seconds, channels=len(settings.imu_channels))
    labels = tuple(facts.labels)
    return replace(plan, videos=videos, folds=folds, unfit=facts.unfit, labels=labels)


def window_samples(store: Store, key: str) -> int | None:
    """Length of the longest packed window; of an earlier version's arrays from a file's header."""
    meta = WindowArraysMeta.of(key, store)
    file = next(iter(store.files("arrays", f"{key}/*.safetensors")), None)
    if meta is None or file is None:
        return None
    if meta.longest:
        return meta.longest
    with store.open(file) as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return int(header["imu"]["shape"][-1]) if "imu" in header else None


def features_plan(
    dataset: DatasetPlan, teacher: TeacherConfig, sweep: Sweep, store: Store, machine: Machine
) -> FeaturesPlan:
    seeing = teacher_on(teacher, sweep.datasets[dataset.name])
    packed, total = key_of([dataset.name, teacher.model_dump(mode="json")]), None
    unread = () if dataset.folds else unread_splits(sweep)  # in folds each window is trained on
    if dataset.windows is not None:
        total = sum(count for split, count in dataset.windows[0].items() if split not in unread)
    done, complete, dim = 0, False, None if teacher.weights else FEATURE_DIMS.get(teacher.name)
    if dataset.ready is not None:
        key, counts = feature_key(seeing, dataset.ready), dataset.ready.counts
        meta = FeaturesMeta.of(key, store)
        seen = Counter(counts)
        if teacher.sees_video:
            seen.subtract(window_sets.counts_without_video(dataset.ready.folder))
        total = sum(count for split, count in seen.items() if split not in unread)
        complete = meta is not None and meta.has(counts, unread)
        complete = complete and not damaged_parts(store.folder("features", key))
        done = total if complete else total - count_left(seeing, dataset.ready, store, unread)
        rejected = [*dataset.ready.rejected, *(meta.lacking(MEASURED_ONLY) if meta else ())]
        packed = packed_features_key(dataset.key, key, rejected)
        arrays = FeatureArraysMeta.of(packed, store)
        dim = arrays.dim if arrays else dim
    elif total is not None:
        read = (videos for split, videos in dataset.videos.items() if split not in unread)
        videos = tuple(chain.from_iterable(read))
        done = min(count_known(seeing, videos, dataset.seconds, store), total)
    plan = FeaturesPlan(dataset.name, teacher, packed, done, total, complete, dim)
    if plan.left == 0 or teacher.name in NOT_ENCODERS:
        return replace(plan, seconds=0.0)
    speed = encoding_speed(store, teacher, "cuda" if machine.gpus else "cpu")
    if speed is None:
        return replace(plan, basis="no speed of this teacher is recorded in this store")
    if plan.left is None:
        return replace(plan, basis="the number of windows is not known")
    return replace(plan, seconds=plan.left / speed[0], basis=speed[1])


def encoding_speed(store: Store, teacher: TeacherConfig, device: str) -> tuple[float, str] | None:
    """Windows per second of the same teacher, whichever frames it saw, on the same kind of device,
    and the basis."""
    speeds, pattern = [], f"*/{FeaturesMeta.FILE}"
    wanted = teacher.model_dump(mode="json", exclude=FRAME_SETTINGS)
    for path in fetched(store.root / FeaturesMeta.KIND, pattern).glob(pattern):
        if (meta := FeaturesMeta.find(path.parent)) is None:
            continue
        devices = {name.split(" ")[0] for name in meta.devices}
        encoder = {k: v for k, v in meta.teacher.items() if k not in FRAME_SETTINGS}
        if encoder == wanted and devices == {device} and meta.speed:
            speeds.append(meta.speed)
    if not speeds:
        return None
    speed = statistics.median(speeds)
    return speed, f"{speed:.1f} windows/s on {device}, {len(speeds)} earlier encodings here"


def trial_states(sweep: Sweep, store: Store, inventory: Inventory) -> TrialStates:
    """Looks up in the store how far each trial has got."""
    datasets, arrays = inventory.datasets, inventory.arrays
    packed = {name: dataset.packed for name, dataset in datasets.items()}
    prepared = {name: dataset.ready for name, dataset in datasets.items() if dataset.ready}
    evaluation = evaluation_of(sweep, packed, prepared)
    folds = {name: dataset.folds for name, dataset in datasets.items() if dataset.folds}
    unfit = frozenset(name for name, dataset in datasets.items() if dataset.unfit)
    evaluation = replace(evaluation, folds=folds, unlabelled=unfit)
    ledger = Ledger(sweep, store, arrays, evaluation)

    proposed = planned = ledger.planned()
    if is_search := sweep.search.sampler != "grid":
        proposed = ledger.proposed()  # also those that have only begun
    to_train: list[Trial] = []
    to_measure: list[Trial] = []
    for trial in proposed:
        if not ledger.is_over(trial):
            trained = TrainedRecord.find(store.folder("trials", trial.key))
            (to_train if trained is None else to_measure).append(trial)
    begun = {path.parent.name for path in store.files("trials", "*/checkpoint.pt")}
    half_done = sum(trial.key in begun for trial in to_train)
    if not is_search:
        left = len(to_train) + len(to_measure)
        return TrialStates(planned, ledger.done(), half_done, to_measure, left, to_train)
    of_points: dict[str, Trial] = {}
    for config in map(sweep.with_values, sweep.points()):
        of_config = arrays[config.dataset, config.teacher]
        found = trials_of(config, sweep.seeds[:1], of_config, evaluation)
        of_points |= {trial.key: trial for trial in found}
    kinds = [trial for trial in of_points.values() if trial.number[1] <= 1]
    methods = {trial.config.method.name for trial in kinds}
    done = sum(
        ledger.is_over(t) and t.config.method.name in methods and not t.is_hand_crafted
        for t in planned
    )
    left = max(len(to_measure), (sweep.budget.trials or 0) - done)
    return TrialStates(planned, done, half_done, to_measure, left, kinds)
