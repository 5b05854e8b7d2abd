"""The recordings of a dataset: one file for each kind, one small interface for all.

A reader lists recordings without opening them, and reads the IMU stream of one. It knows
neither windows nor models.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from comodo.config import (
    AriaDataset,
    DatasetConfig,
    Ego4dDataset,
    EgoExo4dDataset,
    FolderDataset,
    GoproDataset,
    GroupSplit,
    HaptDataset,
    SimulatedDataset,
    UestcMmeaDataset,
    UtdMhadDataset,
)
from comodo.imu import ImuStream

SPLITS = ("train", "val", "test")


class DatasetError(ValueError):
    """A dataset that cannot be listed; the text names the file, the place and the mend."""


@dataclass(frozen=True)
class Recording:
    """One video file with one IMU stream."""

    id: str
    video: str
    """Empty for a recording of the IMU alone, which students can be measured on."""
    imu: str
    split: str
    group: str
    """Subject, capture or day: what must not stand in two splits."""
    label: str | None = None
    acc_unit: str = ""
    gyro_unit: str = ""
    imu_rate: float | None = None
    """Hz; only for IMU files without a clock of their own."""
    imu_offset: float | Literal["estimate"] = 0.0
    """Seconds to add to the IMU's clock to get the video's; `estimate` finds them from the camera's
    own motion."""
    beside: tuple[str, ...] = ()
    """Other files that it is read from."""


def plain(name: str) -> str:
    """A name that becomes part of a path. Raises DatasetError where it would lead elsewhere."""
    if Path(name).name != name or name == ".." or "\0" in name:
        raise DatasetError(f"'{name}' is no plain name; no / and no .. may stand in it")
    return name


class Reader(Protocol):
    def recordings(self) -> list[Recording]:
        """All recordings in the data set's own splits, sorted by id; raises DatasetError."""

    def read_imu(self, recording: Recording) -> ImuStream:
        """The whole stream, on the video's clock; raises ImuError."""


def list_recordings(settings: DatasetConfig, data_folder: Path) -> list[Recording]:
    """All recordings, sorted by id, in the splits that they are trained and tested in: the data
    set's own, or those of `split_by_group`; raises DatasetError."""
    recordings = open_dataset(settings, data_folder).recordings()
    if settings.split_by_group is None:
        return recordings
    return split_by_group(recordings, settings.split_by_group)


def open_dataset(settings: DatasetConfig, data_folder: Path) -> Reader:
    """The reader for a dataset's settings. `data_folder` is where simulated files lie or will."""
    match settings:
        case SimulatedDataset():
            from comodo.datasets.simulated import SimulatedReader

            return SimulatedReader(settings, data_folder)
        case FolderDataset():
            from comodo.datasets.folder import FolderReader

            return FolderReader(settings)
        case GoproDataset():
            from comodo.datasets.gopro import GoproReader

            return GoproReader(settings)
        case AriaDataset():
            from comodo.datasets.aria import AriaReader

            return AriaReader(settings)
        case UtdMhadDataset():
            from comodo.datasets.utd_mhad import UtdMhadReader

            return UtdMhadReader(settings)
        case Ego4dDataset():
            from comodo.datasets.ego4d import Ego4dReader

            return Ego4dReader(settings)
        case EgoExo4dDataset():
            from comodo.datasets.egoexo4d import EgoExo4dReader

            return EgoExo4dReader(settings)
        case UestcMmeaDataset():
            from comodo.datasets.uestc_mmea import UestcMmeaReader

            return UestcMmeaReader(settings)
        case HaptDataset():
            from comodo.datasets.hapt import HaptReader

            return HaptReader(settings)


def camera_files(folder: Path, suffix: str) -> list[Recording]:
    """A recording and group for each file below a folder that has video and IMU in one.

    Raises:
        DatasetError: no file with that suffix.
    """
    files = [path for path in folder.rglob("*") if path.suffix.lower() == suffix]
    if not files:
        raise DatasetError(f"{folder}: no {suffix} files")
    ids = {str(path.relative_to(folder)): str(path) for path in files}
    return [Recording(id, ids[id], ids[id], "train", group=id) for id in sorted(ids)]


def split_by_group(recordings: Sequence[Recording], shares: GroupSplit) -> list[Recording]:
    """Gives whole groups to the splits until each holds about its share of the recordings.

    Groups are taken in random order (seeded); every split with a share gets at least one.

    Raises:
        DatasetError: fewer groups than splits.
    """
    wanted = {name: getattr(shares, name) for name in SPLITS if getattr(shares, name) > 0}
    sizes: dict[str, int] = {}
    for recording in recordings:
        sizes[recording.group] = sizes.get(recording.group, 0) + 1
    groups = sorted(sizes)
    if len(groups) < len(wanted):
        raise DatasetError(
            f"split_by_group: {len(groups)} groups cannot make {len(wanted)} splits; "
            "give more groups in the manifest's group column, or the splits themselves"
        )
    random.Random(shares.seed).shuffle(groups)
    filled = dict.fromkeys(wanted, 0)
    split_of: dict[str, str] = {}
    for group in groups:
        empty = [name for name in wanted if name not in split_of.values()]
        rest = len(groups) - len(split_of)
        choices = empty if rest <= len(empty) else list(wanted)
        lacking = {name: wanted[name] * len(recordings) - filled[name] for name in choices}
        split_of[group] = max(lacking, key=lambda name: lacking[name])
        filled[split_of[group]] += sizes[group]
    return [replace(recording, split=split_of[recording.group]) for recording in recordings]
