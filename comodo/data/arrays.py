"""Windows and features as memory-mapped arrays that all trials of a node share.

The windows of a data set are packed once, and the features of each teacher in the same order of
rows. Each split is a sequence of safetensors shards. A trial maps them and copies only the batch
that it gathers, so a data set may be larger than memory. Knows neither Ray nor how windows and
features are computed.

A shard has the windows as `imu` `[N, C, T]` if all of the set have the same length. Otherwise `imu`
has their values one after the other, and `end` `[N]` the place where those of each window end.

Shapes: N windows, C = 6 channels, T samples, F numbers in a feature, B windows in a batch.
"""

from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from comodo.config import CHANNELS
from comodo.core.console import track
from comodo.core.parts import read_parts
from comodo.core.store import Store, fetched, report_damaged
from comodo.data import records
from comodo.data.folds import Fold
from comodo.data.keys import packed_features_key, packed_windows_key, resized_key
from comodo.data.recordings import IN_FOLDS, SPLIT_NAMES
from comodo.data.resize import resized
from comodo.data.shards import SHARD_WINDOWS, ArraysError, Shards
from comodo.data.streaming import described_windows, streamed, window_values
from comodo.data.window_sets import read_quality

RESIZE_WINDOWS = 256  # of one length, in memory at a time
NO_LABEL = -1


class Split:
    """The windows of one split."""

    def __init__(self, shards: Shards, uniform: bool, resized: Shards | None = None) -> None:
        self._shards, self._uniform, self._resized = shards, uniform, resized
        self.label_N = shards.column("label")  # index of the class, or NO_LABEL
        self.group_N = shards.column("group")
        self.last_N = shards.column("last")
        """Whether a window is the last one of its recording; False for whole recordings."""

    def __len__(self) -> int:
        return len(self.label_N)

    @property
    def labelled_N(self) -> Tensor:
        """Indices of the windows with a label."""
        return torch.nonzero(self.label_N != NO_LABEL).squeeze(1)

    def stored(self, index_B: Tensor) -> Tensor:
        """The rows of the shards that these windows have, by which they are read."""
        return self._shards.stored(index_B)

    def imu(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Windows for a student, `imu_BCT`, and how many of the last samples of each are not
        padding, `length_B` (None: all). As resized by `pack_resized`, or else as packed."""
        if self._resized is not None:
            return self._resized.gather("imu", index_B), None
        return self.packed(index_B)

    def longest(self, index_B: Tensor) -> int | None:
        """Samples of the longest of these windows; None if `imu` gives all the same length."""
        if self._resized is not None or self._uniform:
            return None
        return int(self._shards.gather("length", index_B).max())

    def read_ahead(self, shard: int) -> None:
        """Asks the system to read the part of a shard that `imu` needs."""
        (self._shards if self._resized is None else self._resized).read_ahead(shard)

    def packed(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `imu`, not resized: in g and deg/s, left-padded with zeros to the longest of these."""
        if not self._uniform:
            return self._shards.gather_ragged(index_B)
        return self._shards.gather("imu", index_B), None


@dataclass(frozen=True)
class WindowArrays:
    """The packed windows of a data set, and the names of the classes and groups."""

    splits: dict[str, Split]
    classes: list[str]
    groups: list[str]
    rows: dict[str, Tensor] | None = None
    """Of a fold's splits, the rows of the packed windows; None: splits were packed apart."""

    @classmethod
    def load(
        cls, folder: Path, samples: int | None = None, fold: Fold | None = None
    ) -> "WindowArrays":
        """Maps the arrays; reads only labels and groups. `samples` is the student's input length:
        if `pack_resized` has written windows of that length, they are used. `fold`: of a data set
        with folds, the one whose splits these are."""
        meta = records.WindowArraysMeta.read(folder)
        resized_folder = folder / f"resized-{samples}"
        is_resized = records.ResizedMeta.find(resized_folder) is not None
        splits, rows = {}, None
        for split, files in meta.files.items():
            packed = Shards(folder, files)
            small = Shards(resized_folder, files) if is_resized else None
            if fold is None:
                splits[split] = Split(packed, meta.uniform, small)
                continue
            rows = fold_rows(fold, meta.groups, packed.column("group"))
            for name, row_N in rows.items():
                resized_N = None if small is None else small.select(row_N)
                splits[name] = Split(packed.select(row_N), meta.uniform, resized_N)
        return cls(splits, meta.classes, meta.groups, rows)


def fold_rows(fold: Fold, groups: list[str], group_N: Tensor) -> dict[str, Tensor]:
    """The rows of each split of a fold, of windows whose groups have these places in `groups`; a
    split without windows is missing."""
    split_of = [fold.split_of(name) for name in groups]
    found = {}
    for split in SPLIT_NAMES:
        codes = torch.tensor([i for i, of in enumerate(split_of) if of == split], dtype=torch.long)
        if len(row_N := torch.isin(group_N, codes).nonzero().squeeze(1)):
            found[split] = row_N
    return found


@dataclass(frozen=True)
class FeatureArrays:
    """A teacher's packed features, in the row order of the windows."""

    dim: int
    encoded: dict[str, Tensor]
    """Indices of the windows that have a feature, by split."""
    _shards: dict[str, Shards]

    @classmethod
    def load(cls, folder: Path, rows: dict[str, Tensor] | None = None) -> "FeatureArrays":
        """Maps the arrays; reads nothing but which windows have a feature. `rows`: as in the
        `WindowArrays`."""
        meta = records.FeatureArraysMeta.read(folder)
        shards = {split: Shards(folder, files) for split, files in meta.files.items()}
        if rows is not None:
            shards = {split: shards[IN_FOLDS].select(row_N) for split, row_N in rows.items()}
        encoded = {s: rows.column("encoded").nonzero().squeeze(1) for s, rows in shards.items()}
        return cls(meta.dim, encoded, shards)

    def gather(self, split: str, index_B: Tensor) -> Tensor:
        """`feature_BF` of windows that have a feature."""
        return self._shards[split].gather("feature", index_B)

    def read_ahead(self, split: str, shard: int) -> None:
        """Asks the system to read a shard's features."""
        self._shards[split].read_ahead(shard)


def pack_windows(store: Store, windows: str) -> str:
    """Packs a window set unless that is done; returns the arrays' key. Raises ArraysError."""
    source = store.folder("windows", windows)
    window_meta = records.WindowsMeta.of(windows, store)
    assert window_meta is not None
    key = packed_windows_key(windows, window_meta.rejected)
    folder = store.folder("arrays", key)
    if not _is_packed(store, key):
        frame = described_windows(fetched(source))
        classes, groups = sorted(frame.label.dropna().unique()), sorted(frame.group.unique())
        class_of, group_of = ({name: i for i, name in enumerate(n)} for n in (classes, groups))
        is_last = ~frame.recording.duplicated(keep="last") & ~frame.recording.isin(_drawn(source))
        columns = {
            "length": frame.length.to_numpy(np.int64),
            "label": frame.label.map(class_of).fillna(NO_LABEL).to_numpy(np.int64),
            "group": frame.group.map(group_of).to_numpy(np.int64),
            "last": is_last.to_numpy(bool) & (window_meta.window_seconds != "whole"),
        }
        uniform = frame.length.nunique() == 1
        longest = int(frame.length.max()) if len(frame) else 0
        shape = (len(CHANNELS), longest) if uniform else None
        splits = frame.split.to_list()
        values = _finite(source, frame.window, window_values(source))
        rows = track(((row, 1) for row in values), len(frame), "pack windows")
        files = _write_shards(folder, splits, columns, "imu", shape, rows)
        records.WindowArraysMeta(
            windows=windows, classes=classes, groups=groups, files=files, uniform=uniform,
            longest=longest,
        ).write(folder)  # fmt: skip
    return key


def pack_resized(store: Store, windows: str, samples: int) -> None:
    """Resizes packed windows to `samples`, the input length of some students, once and for all of
    them; otherwise each would compute the same values at every step. Does nothing if all windows
    have that length. `windows`: the arrays' key."""
    if _is_packed(store, resized_key(windows, samples)):
        return
    folder, small = (store.folder("arrays", k) for k in (windows, resized_key(windows, samples)))
    splits, meta = WindowArrays.load(fetched(folder)).splits, records.WindowArraysMeta.read(folder)
    lengths = {part.packed(torch.arange(1))[0].shape[-1] for part in splits.values()}
    if meta.uniform and lengths == {samples}:
        return
    at_once = RESIZE_WINDOWS if meta.uniform else 1  # so that none is padded to another's length
    for split, files in meta.files.items():
        shards = torch.arange(len(splits[split])).split(SHARD_WINDOWS)
        for file, index_N in zip(files, shards, strict=True):
            shape = (len(index_N), len(CHANNELS), samples)
            with streamed(small / file, {}, "imu", shape) as write:
                parts = ((index_B, len(index_B)) for index_B in index_N.split(at_once))
                for index_B in track(parts, len(index_N), f"resize {file} to {samples}"):
                    imu_BCT, length_B = splits[split].packed(index_B)
                    lengths_B = None if length_B is None else length_B.tolist()
                    write(resized(imu_BCT, lengths_B, samples).contiguous().numpy())
    records.ResizedMeta(samples).write(small)


def pack_features(store: Store, windows: str, features: str, unread: Collection[str] = ()) -> str:
    """Packs features in the order of their windows unless that is done; returns the arrays' key, in
    which val and test do not count: `unread` splits may follow later. A window without a feature
    keeps its row, marked."""
    of_windows = records.WindowsMeta.of(windows, store)
    of_features = records.FeaturesMeta.of(features, store)
    assert of_windows is not None and of_features is not None
    rejected = [*of_windows.rejected, *(lost := of_features.lacking(records.MEASURED_ONLY))]
    key = packed_features_key(windows, features, rejected)
    lacking = sorted(set(of_features.rejected).difference(lost))
    folder, packed = store.folder("arrays", key), _packed_splits(store, key, lacking)
    if missing := [s for s, n in of_windows.windows.items() if n and s not in {*packed, *unread}]:
        table = read_parts(fetched(store.folder("features", features)), ["window", "feature"])
        vectors = table["feature"].to_numpy(zero_copy_only=False)
        feature_of = dict(zip(table["window"].to_pylist(), vectors, strict=True))
        dim = next((len(vector) for vector in vectors if vector is not None), 0)
        names = ["split", "window", "rejected"]
        listed = read_parts(fetched(store.folder("windows", windows)), names)
        listed = listed.filter(listed["rejected"].is_null())
        listed = listed.filter(np.isin(listed["split"].to_numpy(), missing))
        found = [feature_of.get(window) for window in listed["window"].to_pylist()]
        columns = {"encoded": np.array([vector is not None for vector in found])}
        zeros = np.zeros(dim, np.float32)
        values = ((zeros if vector is None else vector, 1) for vector in found)
        rows = track(values, len(found), "pack features")
        files = _write_shards(folder, listed["split"].to_pylist(), columns, "feature", (dim,), rows)
        files = _packed_splits(store, key, lacking) | files  # with those of another driver
        meta = records.FeatureArraysMeta(features=features, dim=dim, files=files, lacking=lacking)
        meta.write(folder)
    return key


def _packed_splits(store: Store, key: str, lacking: list[str]) -> dict[str, list[str]]:
    """Files of the splits whose features are packed; val and test lack those of `lacking`."""
    if not _is_packed(store, key):
        return {}
    meta = records.FeatureArraysMeta.read(store.folder("arrays", key))
    outdated = () if meta.lacking == lacking else records.MEASURED_ONLY
    return {split: files for split, files in meta.files.items() if split not in outdated}


def _is_packed(store: Store, key: str) -> bool:
    """Whether arrays are complete, and no shard that is on this machine is damaged."""
    for path in store.folder("arrays", key).glob("*.safetensors"):
        try:
            load_file(path)
        except SafetensorError:
            report_damaged(path, "cut off")
            return False
    return store.meta("arrays", key) is not None


def _drawn(source: Path) -> set[str]:
    """Recordings whose last window was left out by a draw."""
    rows = (row for table in read_quality(source) for row in table.to_pylist())
    return {row["recording"] for row in rows if row["drawn_from"] is not None}


def _finite(
    source: Path, windows: Iterable[str], rows: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """The values of the windows; ArraysError, `arrays.not-finite`, for NaN or an infinite value."""
    for window, row in zip(windows, rows, strict=True):
        if not np.isfinite(row).all():
            raise ArraysError(
                "arrays.not-finite",
                f"{source}: window {window} has values that are not finite; remove the folder to "
                "prepare it again",
            )
        yield row


def _write_shards(
    folder: Path,
    splits: list[str],
    columns: dict[str, np.ndarray],
    name: str,
    shape: tuple[int, ...] | None,
    rows: Iterable[np.ndarray],
) -> dict[str, list[str]]:
    """Writes the rows of each split to shards; returns the names of the files by split.

    `splits`, `columns` and `rows` have one entry for each row. `rows` are the float32 values of the
    array `name`, written as they arrive; None as their shape: windows of unequal lengths.
    """
    files: dict[str, list[str]] = {}
    split_N = np.array(splits)
    with ExitStack() as stack:
        writers = {}
        for split in sorted(set(splits)):
            index_N = np.flatnonzero(split_N == split)
            starts = range(0, len(index_N), SHARD_WINDOWS)
            files[split] = [f"{split}-{i:05d}.safetensors" for i in range(len(starts))]
            shards = {}
            for file, start in zip(files[split], starts, strict=True):
                index_n = index_N[start : start + SHARD_WINDOWS]
                shards[folder / file] = {key: column[index_n] for key, column in columns.items()}
            writers[split] = stack.enter_context(closing(_write_split(shards, name, shape)))
            next(writers[split])
        for split, row in zip(splits, rows, strict=True):
            writers[split].send(row)
    return files


def _write_split(
    shards: dict[Path, dict[str, np.ndarray]], name: str, shape: tuple[int, ...] | None
) -> Generator[None, np.ndarray]:
    """Writes the shards of a split, one after the other, from the rows that it is sent."""
    for path, columns in shards.items():
        count = len(next(iter(columns.values())))
        whole = (count, *(shape or ()))
        if shape is None:
            end_N = np.cumsum(len(CHANNELS) * columns["length"])
            columns, whole = columns | {"end": end_N}, (int(end_N[-1]),)
        with streamed(path, columns, name, whole) as write:
            for _ in range(count):
                write((yield))
    yield
