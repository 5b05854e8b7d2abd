"""The recordings of a dataset: one file for each kind, one small interface for all.

A reader lists recordings without opening them, and reads the IMU stream of one. It knows
neither windows nor models.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
from comodo.data.recordings import SPLIT_NAMES, DatasetError, Reader, Recording


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
            from comodo.data.readers.simulated import SimulatedReader

            return SimulatedReader(settings, data_folder)
        case FolderDataset():
            from comodo.data.readers.folder import FolderReader

            return FolderReader(settings)
        case GoproDataset():
            from comodo.data.readers.gopro import GoproReader

            return GoproReader(settings)
        case AriaDataset():
            from comodo.data.readers.aria import AriaReader

            return AriaReader(settings)
        case UtdMhadDataset():
            from comodo.data.readers.utd_mhad import UtdMhadReader

            return UtdMhadReader(settings)
        case Ego4dDataset():
            from comodo.data.readers.ego4d import Ego4dReader

            return Ego4dReader(settings)
        case EgoExo4dDataset():
            from comodo.data.readers.egoexo4d import EgoExo4dReader

            return EgoExo4dReader(settings)
        case UestcMmeaDataset():
            from comodo.data.readers.uestc_mmea import UestcMmeaReader

            return UestcMmeaReader(settings)
        case HaptDataset():
            from comodo.data.readers.hapt import HaptReader

            return HaptReader(settings)


def split_by_group(recordings: Sequence[Recording], shares: GroupSplit) -> list[Recording]:
    """Gives whole groups to the splits until each holds about its share of the recordings.

    Groups are taken in random order (seeded); every split with a share gets at least one.

    Raises:
        DatasetError: fewer groups than splits.
    """
    wanted = {name: getattr(shares, name) for name in SPLIT_NAMES if getattr(shares, name) > 0}
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
