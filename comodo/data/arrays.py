"""Windows and features as memory-mapped arrays that all trials of a node share.

The windows of a data set are packed once, and the features of each teacher in the same order of
rows. Each split is a sequence of safetensors shards. A trial maps them and copies only the batch
that it gathers, so a data set may be larger than memory. Knows neither Ray nor how windows and
features are computed.

Shapes: N windows, C = 6 channels, T samples, F numbers in a feature, B windows in a batch.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor

from comodo.config import CHANNELS
from comodo.core.errors import ComodoError
from comodo.core.store import Store, atomic, fetched, parts, read_parts
from comodo.data import records
from comodo.data.keys import packed_features_key, packed_windows_key, resized_key
from comodo.data.resize import resized

SHARD_WINDOWS = 16_384  # in each file
RESIZE_WINDOWS = 256  # in memory at a time
NO_LABEL = -1

PackedRow = dict[str, Any]
Stack = Callable[[list[PackedRow]], dict[str, np.ndarray]]


class ArraysError(ComodoError, ValueError):
    """Packed arrays cannot be read."""


class Shards:
    """Named arrays whose rows are spread over several mapped files."""

    def __init__(self, files: list[Path]) -> None:
        self._paths = files
        try:
            self._files = [load_file(file) for file in files]
        except SafetensorError as error:
            message = f"{files[0].parent}: damaged arrays ({error}); remove it to make it again"
            raise ArraysError("arrays.damaged", message) from None

    def column(self, name: str) -> Tensor:
        """All rows of an array, in memory."""
        return torch.cat([file[name] for file in self._files])

    def gather(self, name: str, index_B: Tensor) -> Tensor:
        """Some rows of an array, in the order of the indices."""
        # NumPy uses a single thread for it; torch would take threads from the training step.
        if len(self._files) == 1:
            return torch.from_numpy(self._files[0][name].numpy()[index_B.numpy()])
        first = self._files[0][name]
        out = torch.empty(len(index_B), *first.shape[1:], dtype=first.dtype)
        shard_B = index_B // SHARD_WINDOWS
        for number in shard_B.unique().tolist():
            here_B = shard_B == number
            rows = (index_B[here_B] - number * SHARD_WINDOWS).numpy()
            out.numpy()[here_B.numpy()] = self._files[number][name].numpy()[rows]
        return out

    def read_ahead(self, number: int) -> None:
        """Asks the system to read a whole file into its page cache, sequentially."""
        if hasattr(os, "posix_fadvise"):  # macOS lacks it and reads pages on demand
            with open(self._paths[number], "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


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

    def imu(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Windows for a student, `imu_BCT`, and how many of the last samples of each are not
        padding, `length_B` (None: all). As resized by `pack_resized`, or else as packed."""
        if self._resized is not None:
            return self._resized.gather("imu", index_B), None
        return self.packed(index_B)

    def read_ahead(self, shard: int) -> None:
        """Asks the system to read the part of a shard that `imu` needs."""
        (self._shards if self._resized is None else self._resized).read_ahead(shard)

    def packed(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `imu`, not resized: in g and deg/s, left-padded with zeros to the longest."""
        imu_BCT, length_B = self._shards.gather("imu", index_B), None
        if not self._uniform:
            length_B = self._shards.gather("length", index_B)
            imu_BCT = imu_BCT[..., imu_BCT.shape[-1] - int(length_B.max()) :]
        return imu_BCT, length_B


@dataclass(frozen=True)
class WindowArrays:
    """The packed windows of a data set, and the names of the classes and groups."""

    splits: dict[str, Split]
    classes: list[str]
    groups: list[str]

    @classmethod
    def load(cls, folder: Path, samples: int | None = None) -> "WindowArrays":
        """Maps the arrays; reads only labels and groups. `samples` is the student's input length:
        if `pack_resized` has written windows of that length, they are used."""
        meta = records.WindowArraysMeta.read(folder)
        resized_folder = folder / f"resized-{samples}"
        is_resized = records.ResizedMeta.find(resized_folder) is not None
        splits = {}
        for split, files in meta.files.items():
            packed = Shards([folder / f for f in files])
            small = Shards([resized_folder / f for f in files]) if is_resized else None
            splits[split] = Split(packed, meta.uniform, small)
        return cls(splits, meta.classes, meta.groups)


@dataclass(frozen=True)
class FeatureArrays:
    """A teacher's packed features, in the row order of the windows."""

    dim: int
    encoded: dict[str, Tensor]
    """Indices of the windows that have a feature, by split."""
    _shards: dict[str, Shards]

    @classmethod
    def load(cls, folder: Path) -> "FeatureArrays":
        """Maps the arrays; reads nothing but which windows have a feature."""
        meta = records.FeatureArraysMeta.read(folder)
        shards = {split: Shards([folder / f for f in files]) for split, files in meta.files.items()}
        encoded = {s: rows.column("encoded").nonzero().squeeze(1) for s, rows in shards.items()}
        return cls(meta.dim, encoded, shards)

    def gather(self, split: str, index_B: Tensor) -> Tensor:
        """`feature_BF` of windows that have a feature."""
        return self._shards[split].gather("feature", index_B)

    def read_ahead(self, split: str, shard: int) -> None:
        """Asks the system to read a shard's features."""
        self._shards[split].read_ahead(shard)


def pack_windows(store: Store, windows: str) -> str:
    """Packs a window set unless that is done; returns the arrays' key."""
    source = store.folder("windows", windows)
    window_meta = records.WindowsMeta.of(windows, store)
    assert window_meta is not None
    key = packed_windows_key(windows, window_meta.rejected)
    folder = store.folder("arrays", key)
    if store.meta("arrays", key) is None:
        columns = ["window", "recording", "label", "group", "rejected"]
        frame = read_parts(fetched(source), columns).to_pandas()
        frame = frame[frame.rejected.isna()]
        cut = window_meta.window_seconds != "whole"
        last = set(frame.drop_duplicates("recording", keep="last").window) if cut else set()
        classes, groups = sorted(frame.label.dropna().unique()), sorted(frame.group.unique())
        class_of = {name: index for index, name in enumerate(classes)}
        lengths = {len(row["imu"]) for row in _windows(source, ["imu"])}
        longest = max(lengths, default=0) // len(CHANNELS)

        def stack(rows: list[PackedRow]) -> dict[str, np.ndarray]:
            length_N = np.array([len(row["imu"]) // len(CHANNELS) for row in rows])
            imu_NCT = np.zeros((len(rows), len(CHANNELS), longest), np.float32)
            for imu_CT, row, length in zip(imu_NCT, rows, length_N, strict=True):
                imu_CT[:, longest - length :] = row["imu"].reshape(len(CHANNELS), length)
            return {
                "imu": imu_NCT,
                "length": length_N,
                "label": np.array([class_of.get(row["label"], NO_LABEL) for row in rows]),
                "group": np.array([groups.index(row["group"]) for row in rows]),
                "last": np.array([row["window"] in last for row in rows]),
            }

        rows = _windows(source, ["split", "window", "label", "group", "imu"])
        files = _write_shards(folder, rows, stack)
        records.WindowArraysMeta(
            windows=windows, classes=classes, groups=groups, files=files, uniform=len(lengths) == 1
        ).write(folder)
    return key


def pack_resized(store: Store, windows: str, samples: int) -> None:
    """Resizes packed windows to `samples`, the input length of some students, once and for all of
    them; otherwise each would compute the same values at every step. Does nothing if all windows
    have that length. `windows`: the arrays' key."""
    if store.meta("arrays", resized_key(windows, samples)) is not None:
        return
    folder, small = (store.folder("arrays", k) for k in (windows, resized_key(windows, samples)))
    splits, meta = WindowArrays.load(fetched(folder)).splits, records.WindowArraysMeta.read(folder)
    lengths = {part.packed(torch.arange(1))[0].shape[-1] for part in splits.values()}
    if meta.uniform and lengths == {samples}:
        return
    for split, files in meta.files.items():
        shards = torch.arange(len(splits[split])).split(SHARD_WINDOWS)
        for file, index_N in zip(files, shards, strict=True):
            chunks = []
            for index_B in index_N.split(RESIZE_WINDOWS):
                imu_BCT, length_B = splits[split].packed(index_B)
                lengths_B = None if length_B is None else length_B.tolist()
                chunks.append(resized(imu_BCT, lengths_B, samples))
            with atomic(small / file) as temporary:
                save_file({"imu": torch.cat(chunks).numpy()}, temporary)
    records.ResizedMeta(samples).write(small)


def pack_features(store: Store, windows: str, features: str) -> str:
    """Packs features in the order of their windows unless that is done; returns the arrays' key.
    A window without a feature keeps its row, marked."""
    of_windows = records.WindowsMeta.of(windows, store)
    of_features = records.FeaturesMeta.of(features, store)
    assert of_windows is not None and of_features is not None
    rejected = [*of_windows.rejected, *of_features.rejected]
    key = packed_features_key(windows, features, rejected)
    folder = store.folder("arrays", key)
    if store.meta("arrays", key) is None:
        table = read_parts(fetched(store.folder("features", features)), ["window", "feature"])
        vectors = table["feature"].to_numpy(zero_copy_only=False)
        feature_of = dict(zip(table["window"].to_pylist(), vectors, strict=True))
        dim = next((len(vector) for vector in vectors if vector is not None), 0)
        missing = np.zeros(dim, np.float32)

        def stack(rows: list[PackedRow]) -> dict[str, np.ndarray]:
            found = [feature_of.get(row["window"]) for row in rows]
            features_NF = np.stack([missing if vector is None else vector for vector in found])
            return {"feature": features_NF, "encoded": np.array([v is not None for v in found])}

        rows = _windows(fetched(store.folder("windows", windows)), ["split", "window"])
        files = _write_shards(folder, rows, stack)
        records.FeatureArraysMeta(features=features, dim=dim, files=files).write(folder)
    return key


def _write_shards(folder: Path, rows: Iterable[PackedRow], stack: Stack) -> dict[str, list[str]]:
    """Writes the rows of each split to shards; returns the names of the files by split."""
    files: dict[str, list[str]] = {}
    pending: dict[str, list[PackedRow]] = {}

    def flush(split: str) -> None:
        names = files.setdefault(split, [])
        names.append(f"{split}-{len(names):05d}.safetensors")
        with atomic(folder / names[-1]) as temporary:
            save_file(stack(pending.pop(split)), temporary)

    for row in rows:
        shard = pending.setdefault(row["split"], [])
        shard.append(row)
        if len(shard) == SHARD_WINDOWS:
            flush(row["split"])
    for split in sorted(pending):
        flush(split)
    return files


def _windows(folder: Path, columns: list[str]) -> Iterator[PackedRow]:
    """The windows of all parts, always in the same order; `imu` as an array `[6 * T]`."""
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(columns=[*columns, "rejected"]):
            frame = batch.filter(batch["rejected"].is_null()).select(columns).to_pandas()
            yield from frame.to_dict("records")
