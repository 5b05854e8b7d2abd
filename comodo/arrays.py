"""pack: windows and features to memory-mapped arrays that all trials of a node share.

Each split is a row of safetensors shards. A trial maps them and copies only the batch that it
gathers, so a dataset larger than memory works. Knows neither Ray nor the origin of the windows.

Shapes: N windows, C = 6 channels, T samples, F numbers in a feature, B windows in a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor

from comodo.config import CHANNELS
from comodo.store import Store, atomic, key_of, parts, read_json, read_parts, write_json

VERSION = 1  # of the layout; raise it when it changes
SHARD = 16_384  # windows in a file
NO_LABEL = -1


@dataclass(frozen=True)
class Batch:
    """Some windows: `imu_BCT` left-padded with zeros to T, of which the last `length_B` samples
    are real (None: all of them)."""

    imu_BCT: Tensor
    length_B: Tensor | None
    feature_BF: Tensor


class Split:
    """The windows of one split, mapped from files."""

    def __init__(self, files: Sequence[Path], uniform: bool) -> None:
        self._shards = [load_file(file) for file in files]
        self._uniform = uniform
        self.label_N = torch.cat([shard["label"] for shard in self._shards])
        """Index of the class, or NO_LABEL."""
        self.group_N = torch.cat([shard["group"] for shard in self._shards])

    def __len__(self) -> int:
        return len(self.label_N)

    @property
    def labelled_N(self) -> Tensor:
        """Indices of the windows that carry a label."""
        return torch.nonzero(self.label_N != NO_LABEL).squeeze(1)

    def batch(self, index_B: Tensor) -> Batch:
        """The windows with these indices, in this order."""
        length_B = self._gather("length", index_B)
        imu_BCT = self._gather("imu", index_B)
        longest = int(length_B.max())
        return Batch(
            imu_BCT[..., imu_BCT.shape[-1] - longest :],
            None if self._uniform else length_B,
            self._gather("feature", index_B),
        )

    def batches(self, index_N: Tensor, size: int) -> Iterator[Batch]:
        for index_B in index_N.split(size):
            yield self.batch(index_B)

    def _gather(self, name: str, index_B: Tensor) -> Tensor:
        if len(self._shards) == 1:
            return self._shards[0][name][index_B]
        first = self._shards[0][name]
        out = torch.empty(len(index_B), *first.shape[1:], dtype=first.dtype)
        for number, shard in enumerate(self._shards):
            here = index_B // SHARD == number
            out[here] = shard[name][index_B[here] - number * SHARD]
        return out


@dataclass(frozen=True)
class Arrays:
    """A packed dataset: its splits, and the names behind the class and group indices."""

    splits: dict[str, Split]
    classes: list[str]
    groups: list[str]
    feature_dim: int

    @classmethod
    def load(cls, folder: Path) -> "Arrays":
        """Maps the arrays; reads nothing but labels and lengths."""
        meta = read_json(folder / "meta.json")
        splits = {
            name: Split([folder / file for file in files], meta["uniform"])
            for name, files in meta["files"].items()
        }
        return cls(splits, meta["classes"], meta["groups"], meta["feature_dim"])


def pack(store: Store, windows: str, features: str) -> Path:
    """The folder of arrays for a window set and its features (by their keys), made if missing.

    Windows without a feature are left out, for every method alike. Rows keep the order of the
    windows' parts, so equal keys mean equal arrays.
    """
    key = key_of([VERSION, windows, features])
    folder = store.folder("arrays", key)
    if store.meta("arrays", key) is not None:
        return folder
    feature_of = _features(store.folder("features", features))
    window_folder = store.folder("windows", windows)
    table = read_parts(window_folder, ["window", "label", "group"]).to_pandas()
    table = table[table.window.isin(feature_of)]
    classes = sorted(table.label.dropna().unique())
    groups = sorted(table.group.unique())
    lengths = {len(row["imu"]) for row in _rows(window_folder) if row["window"] in feature_of}
    longest = max(lengths) // len(CHANNELS)
    files: dict[str, list[str]] = {}
    pending: dict[str, list[dict[str, Any]]] = {}

    def flush(split: str) -> None:
        name = f"{split}-{len(files.setdefault(split, [])):05d}.safetensors"
        with atomic(folder / name) as temporary:
            save_file(_stack(pending.pop(split), longest), temporary)
        files[split].append(name)

    for row in _rows(window_folder):
        if row["window"] not in feature_of:
            continue
        split = row["split"]
        row["feature"] = feature_of[row["window"]]
        row["class"] = NO_LABEL if row["label"] is None else classes.index(row["label"])
        row["group"] = groups.index(row["group"])
        pending.setdefault(split, []).append(row)
        if len(pending[split]) == SHARD:
            flush(split)
    for split in sorted(pending):
        flush(split)
    feature_dim = len(next(iter(feature_of.values())))
    write_json(
        folder / "meta.json",
        {
            "windows": windows,
            "features": features,
            "classes": classes,
            "groups": groups,
            "feature_dim": feature_dim,
            "uniform": len(lengths) == 1,
            "files": files,
        },
    )
    return folder


def _features(folder: Path) -> dict[str, np.ndarray]:
    table = read_parts(folder, ["window", "feature"])
    return {
        window: np.asarray(feature, np.float32)
        for batch in table.to_batches()
        for window, feature in zip(
            batch["window"].to_pylist(),
            batch["feature"].to_numpy(zero_copy_only=False),
            strict=True,
        )
        if feature is not None
    }


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The windows of all parts, in order; `imu` as a numpy array `[6 * T]`."""
    columns = ["window", "split", "group", "label", "imu"]
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(columns=columns):
            imu = batch["imu"].to_numpy(zero_copy_only=False)
            for row, samples in zip(batch.drop_columns(["imu"]).to_pylist(), imu, strict=True):
                if samples is not None:
                    yield {**row, "imu": samples}


def _stack(rows: list[dict[str, Any]], longest: int) -> dict[str, np.ndarray]:
    imu_NCT = np.zeros((len(rows), len(CHANNELS), longest), np.float32)
    length_N = np.zeros(len(rows), np.int64)
    for n, row in enumerate(rows):
        imu_CT = row["imu"].reshape(len(CHANNELS), -1)
        imu_NCT[n, :, longest - imu_CT.shape[1] :] = imu_CT
        length_N[n] = imu_CT.shape[1]
    return {
        "imu": imu_NCT,
        "length": length_N,
        "feature": np.stack([row["feature"] for row in rows]),
        "label": np.array([row["class"] for row in rows], np.int64),
        "group": np.array([row["group"] for row in rows], np.int64),
    }
