"""The readers: one module for each kind of data set, all with the interface `Reader`."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comodo.config.datasets import DatasetConfig, GroupSplit, SimulatedDataset
from comodo.data.names import common_form, name_notes
from comodo.data.readers import aria, ego4d, egoexo4d, folder, gopro, hapt, uestc_mmea, utd_mhad
from comodo.data.recordings import SPLIT_NAMES, DatasetError, NotingReader, Reader, Recording

READERS: dict[str, Callable[[Any], Reader]] = {
    "folder": folder.FolderReader,
    "gopro": gopro.GoproReader,
    "aria": aria.AriaReader,
    "utd-mhad": utd_mhad.UtdMhadReader,
    "ego4d": ego4d.Ego4dReader,
    "egoexo4d": egoexo4d.EgoExo4dReader,
    "uestc-mmea-cl": uestc_mmea.UestcMmeaReader,
    "hapt": hapt.HaptReader,
}


def list_recordings(settings: DatasetConfig, data_folder: Path) -> list[Recording]:
    """All recordings, sorted by id, in the splits that a sweep uses: the data set's own, or those
    of `split_by_group`. Raises DatasetError."""
    listed = open_dataset(settings, data_folder).recordings()
    recordings = sorted(listed, key=lambda recording: recording.id)
    shares = settings.split_by_group
    return recordings if shares is None else split_by_group(recordings, shares)


def listing_notes(
    settings: DatasetConfig, data_folder: Path, recordings: Sequence[Recording]
) -> list[str]:
    """Sentences about what `list_recordings` ignored, or found and cannot decide, for the user to
    check before anything is trained. Raises DatasetError."""
    reader = open_dataset(settings, data_folder)
    own = reader.notes() if isinstance(reader, NotingReader) else []
    return [*own, *name_notes(recordings)]


def open_dataset(settings: DatasetConfig, data_folder: Path) -> Reader:
    """The reader for a data set's settings; `data_folder` is where simulated files are written."""
    if isinstance(settings, SimulatedDataset):
        # Imports SciPy's geometry: a second that other data sets need not wait.
        from comodo.data.readers.simulated import SimulatedReader

        return SimulatedReader(settings, data_folder)
    return READERS[settings.kind](settings)


def split_by_group(recordings: Sequence[Recording], shares: GroupSplit) -> list[Recording]:
    """Assigns whole groups to splits so that each has about its share of the recordings: in random
    order (seeded), at least one to each split. Groups whose names differ by case or spacing only
    stay together. Raises DatasetError for fewer groups than splits."""
    wanted = {name: share for name in SPLIT_NAMES if (share := getattr(shares, name)) > 0}
    names = sorted({recording.group for recording in recordings}, reverse=True)
    first = {common_form(name): name for name in names}
    group_of = {name: first[common_form(name)] for name in names}
    sizes = Counter(group_of[recording.group] for recording in recordings)
    groups = sorted(sizes)
    if len(groups) < len(wanted):
        found = f"split_by_group: {len(groups)} groups cannot make {len(wanted)} splits"
        fix = "name more groups in the manifest's column group, or give each recording its split"
        raise DatasetError("dataset.too-few-groups", f"{found}; {fix}")
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
    return [replace(r, split=split_of[group_of[r.group]]) for r in recordings]
