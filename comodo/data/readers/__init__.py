"""The readers: one module for each kind of data set, all with the interface `Reader`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comodo.config.dataset_base import GroupSplit
from comodo.config.datasets import READERS, DatasetConfig, OwnDataset, fold_split
from comodo.data.folds import fold_notes, listed_in_folds, without_split
from comodo.data.group_split import few_groups_notes, split_by_group
from comodo.data.intervals import refuse_shared, without_null
from comodo.data.names import name_notes
from comodo.data.readers.own import OwnReader
from comodo.data.recordings import DatasetError, NotingReader, Reader, Recording, UnitReader


def list_recordings(settings: DatasetConfig, data_folder: Path) -> list[Recording]:
    """All recordings, sorted by id, in the splits that a sweep uses: the data set's own, or those
    of `split_by_group`; with folds in `IN_FOLDS`. Raises DatasetError."""
    listed = open_dataset(settings, data_folder).recordings()
    recordings = sorted(listed, key=lambda recording: recording.id)
    recordings = without_null(recordings, settings.null_class)
    shares = settings.split_by_group
    ids = [f"'{recording.id}'" for recording in recordings]
    refuse_shared(recordings, ids, "split" if shares is None else "group")
    if settings.window_seconds == "whole" and (
        of := next((r.id for r in recordings if r.intervals is not None), None)
    ):
        fix = "give windows a length, or each interval a recording with start and end"
        message = f"window_seconds: whole makes one window of '{of}', which has intervals; {fix}"
        raise DatasetError("dataset.whole-intervals", message)
    if shares is None:
        return recordings
    if isinstance(shares, GroupSplit):
        return split_by_group(recordings, shares)
    listed_in_folds(recordings, settings)  # refuses too few groups
    return without_split(recordings)


def listing_notes(
    settings: DatasetConfig, data_folder: Path, recordings: Sequence[Recording]
) -> list[str]:
    """Sentences about what `list_recordings` ignored, or found and cannot decide, for the user to
    check before anything is trained. Raises DatasetError."""
    reader = open_dataset(settings, data_folder)
    own = reader.notes() if isinstance(reader, NotingReader) else []
    few = fold_notes(recordings) if fold_split(settings) else few_groups_notes(recordings)
    return [*own, *name_notes(recordings), *few]


def with_common_unit(
    settings: DatasetConfig, data_folder: Path, recordings: Sequence[Recording]
) -> tuple[list[Recording], list[str]]:
    """The recordings with the unit that only all of them together show, where the reader needs
    that; and notes of what it was found from. Raises ImuError."""
    reader = open_dataset(settings, data_folder)
    if not isinstance(reader, UnitReader):
        return list(recordings), []
    unit, note = reader.common_acc_unit(recordings)
    return [replace(recording, acc_unit=unit) for recording in recordings], [note]


def open_dataset(settings: DatasetConfig, data_folder: Path) -> Reader:
    """The reader for a data set's settings; `data_folder` is where simulated files are written."""
    if isinstance(settings, OwnDataset):
        return OwnReader(settings)
    reader: Any = READERS.get(settings.kind)
    if settings.kind == "simulated":
        return reader(settings, data_folder)
    return reader(settings)
