"""What a sweep finds already made in the store and on this machine, and what is missing.

Reads listings and the notes beside artifacts; makes nothing, starts nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from comodo.config import Resources, Sweep, TeacherConfig
from comodo.core.store import Store, fetched
from comodo.data.feature_sets import count_encoded, feature_key
from comodo.data.keys import packed_features_key, packed_windows_key, simulated_folder
from comodo.data.readers import list_recordings
from comodo.data.records import FeatureArraysMeta, FeaturesMeta, WindowsMeta
from comodo.data.window_sets import (
    WindowSet,
    missing_parts,
    read_quality,
    read_window_set,
    window_key,
)
from comodo.report.plan.confounds import TrainSplit
from comodo.report.plan.estimates import encoding_speed, window_samples
from comodo.search.capacity import cluster_address, trials_that_fit
from comodo.search.precheck import most_windows

FEATURE_DIMS = {"efficientnet-lite0": 1280}  # of teachers without weights of the user's choice


@dataclass(frozen=True)
class DatasetPlan:
    """One data set: its windows, or what has to be prepared."""

    name: str
    key: str
    recordings: int
    waiting: int
    """Recordings to prepare."""
    windows: dict[str, int] | None
    """By split; an upper bound while `waiting`; None if it takes too long to tell."""
    train: TrainSplit | None
    samples: int | None
    """Length of a window; None for whole recordings that are not packed yet."""
    ready: WindowSet | None

    @property
    def packed(self) -> str:
        """Key of the packed windows."""
        return packed_windows_key(self.key, () if self.ready is None else self.ready.rejected)

    @property
    def total(self) -> int | None:
        return None if self.windows is None else sum(self.windows.values())


@dataclass(frozen=True)
class FeaturesPlan:
    """One data set as one teacher sees it."""

    dataset: str
    teacher: TeacherConfig
    packed: str
    """Key of the packed features, if the windows are there; else it names nothing."""
    done: int
    total: int | None
    whole: bool
    dim: int | None
    seconds: float | None
    """To encode the rest; None if no speed is known."""
    basis: str

    @property
    def left(self) -> int | None:
        return 0 if self.whole else None if self.total is None else max(0, self.total - self.done)


@dataclass(frozen=True)
class Machine:
    """This machine as trials find it; on a cluster it is asked at the start."""

    cpus: int
    gpus: int | None
    """None: cannot be told."""
    cluster: str | None = None

    def holds(self, asked: Resources) -> int | None:
        """How many trials fit at once; None: cannot be told."""
        if self.cluster is not None or (asked.gpus_per_worker and self.gpus is None):
            return None
        return trials_that_fit([(self.cpus, self.gpus or 0)], asked)


def this_machine() -> Machine:
    """Ray counts the same, but takes seconds to be asked."""
    gpus: int | None = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if Path("/dev/dxg").exists() and not gpus:  # a GPU of Windows, which shows no number
        gpus = None
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None and gpus is not None:
        gpus = min(gpus, len([name for name in visible.split(",") if name.strip()]))
    return Machine(os.cpu_count() or 1, gpus, cluster_address())


def dataset_plan(name: str, sweep: Sweep, store: Store) -> DatasetPlan:
    settings = sweep.datasets[name]
    recordings = list_recordings(settings, simulated_folder(settings, store))
    key = window_key(settings, recordings)
    ready = read_window_set(key, store)
    rejected = () if ready is None else ready.rejected
    samples = window_samples(store, packed_windows_key(key, rejected))
    if settings.window_seconds != "whole":
        samples = round(settings.window_seconds * settings.imu_rate)
    if ready is not None:
        train = train_split(ready)
        return DatasetPlan(name, key, len(recordings), 0, ready.counts, train, samples, ready)
    waiting = sum(map(len, missing_parts(recordings, store, key).values()))
    bounds = dict[str, int | None]()
    for split in dict.fromkeys(recording.split for recording in recordings):
        mine = [recording for recording in recordings if recording.split == split]
        bounds[split] = most_windows(settings, mine)
    windows = {split: bound for split, bound in bounds.items() if bound is not None}
    at_most = None
    if windows.get("train"):  # else no recording could be read, and nothing is known
        mine = [recording for recording in recordings if recording.split == "train"]
        with_label = [recording for recording in mine if recording.label is not None]
        cut_up = settings.window_seconds != "whole"
        at_most = TrainSplit(
            windows["train"],
            round(len(with_label) / max(1, len(mine)) * windows["train"]),
            len(mine) * cut_up,
            len(with_label) * cut_up,
        )
    known = windows if len(windows) == len(bounds) else None
    return DatasetPlan(name, key, len(recordings), waiting, known, at_most, samples, None)


def train_split(windows: WindowSet) -> TrainSplit:
    """What trials on prepared windows can train on."""
    last = labelled_last = 0
    if WindowsMeta.read(windows.folder).window_seconds != "whole":
        for table in read_quality(windows.folder):
            for row in table.select(["split", "label", "windows"]).to_pylist():
                if row["split"] == "train" and row["windows"]:  # none of a rejected one
                    last += 1
                    labelled_last += row["label"] is not None
    labelled = sum(windows.classes.get("train", {}).values())
    return TrainSplit(windows.counts.get("train", 0), labelled, last, labelled_last)


def features_plan(
    dataset: DatasetPlan, teacher: TeacherConfig, store: Store, machine: Machine
) -> FeaturesPlan:
    packed = f"{dataset.name} {teacher.name}"
    done, whole, dim = 0, False, None if teacher.weights else FEATURE_DIMS.get(teacher.name)
    total = dataset.total
    if dataset.ready is not None:
        key = feature_key(teacher, dataset.ready)
        meta = FeaturesMeta.of(key, store)
        done = 0 if meta is None else meta.count
        whole = meta is not None and done >= sum(dataset.ready.counts.values())
        if not whole:
            done = count_encoded(fetched(store.folder("features", key)))
        rejected = [*dataset.ready.rejected, *(meta.rejected if meta else ())]
        packed = packed_features_key(dataset.key, key, rejected)
        arrays = FeatureArraysMeta.of(packed, store)
        dim = arrays.dim if arrays else dim
    speed = encoding_speed(store, teacher, "cuda" if machine.gpus else "cpu")
    seconds, basis = None, "no speed of this teacher is recorded in this store"
    if whole or teacher.name == "precomputed":
        seconds, basis = 0.0, ""
    elif speed is not None and total is not None:
        seconds, basis = max(0, total - done) / speed[0], speed[1]
    return FeaturesPlan(dataset.name, teacher, packed, done, total, whole, dim, seconds, basis)
