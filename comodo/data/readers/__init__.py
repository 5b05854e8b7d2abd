"""The readers: one module for each kind of data set, all with the interface `Reader`."""

import random
from collections import Counter
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
from comodo.data.readers.aria import AriaReader
from comodo.data.readers.ego4d import Ego4dReader
from comodo.data.readers.egoexo4d import EgoExo4dReader
from comodo.data.readers.folder import FolderReader
from comodo.data.readers.gopro import GoproReader
from comodo.data.readers.hapt import HaptReader
from comodo.data.readers.uestc_mmea import UestcMmeaReader
from comodo.data.readers.utd_mhad import UtdMhadReader
from comodo.data.recordings import SPLIT_NAMES, DatasetError, Reader, Recording


def list_recordings(settings: DatasetConfig, data_folder: Path) -> list[Recording]:
    """All recordings, sorted by id, in the splits that a sweep uses: the data set's own, or those
    of `split_by_group`. Raises DatasetError."""
    recordings = open_dataset(settings, data_folder).recordings()
    if settings.split_by_group is None:
        return recordings
    return split_by_group(recordings, settings.split_by_group)


def open_dataset(settings: DatasetConfig, data_folder: Path) -> Reader:
    """The reader for a data set's settings; `data_folder` is where simulated files are written."""
    match settings:
        case SimulatedDataset():
            # Imports SciPy's geometry: a second that other data sets need not wait.
            from comodo.data.readers.simulated import SimulatedReader

            return SimulatedReader(settings, data_folder)
        case FolderDataset():
            return FolderReader(settings)
        case GoproDataset():
            return GoproReader(settings)
        case AriaDataset():
            return AriaReader(settings)
        case UtdMhadDataset():
            return UtdMhadReader(settings)
        case Ego4dDataset():
            return Ego4dReader(settings)
        case EgoExo4dDataset():
            return EgoExo4dReader(settings)
        case UestcMmeaDataset():
            return UestcMmeaReader(settings)
        case HaptDataset():
            return HaptReader(settings)


def split_by_group(recordings: Sequence[Recording], shares: GroupSplit) -> list[Recording]:
    """Assigns whole groups to splits so that each has about its share of the recordings.

    Groups are assigned in random order (seeded); every split with a share gets at least one.

    Raises:
        DatasetError: fewer groups than splits.
    """
    wanted = {name: getattr(shares, name) for name in SPLIT_NAMES if getattr(shares, name) > 0}
    sizes = Counter(recording.group for recording in recordings)
    groups = sorted(sizes)
    if len(groups) < len(wanted):
        raise DatasetError(
            "dataset.too-few-groups",
            f"split_by_group: {len(groups)} groups cannot make {len(wanted)} splits; "
            "name more groups in the manifest's column group, or give each recording its split",
        )
    random.Random(shares.seed).shuffle(groups)
    filled = dict.fromkeys(wanted, 0)
    split_of: dict[str, str] = {}
    for group in groups:
        empty = [name for name in wanted if filled[name] == 0]
        remaining = len(groups) - len(split_of)
        choices = empty if remaining <= len(empty) else list(wanted)
        split = max(choices, key=lambda name: wanted[name] * len(recordings) - filled[name])
        split_of[group] = split
        filled[split] += sizes[group]
    return [replace(recording, split=split_of[recording.group]) for recording in recordings]
