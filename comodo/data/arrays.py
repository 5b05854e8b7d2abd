"""Windows and features as memory-mapped arrays that all trials of a node share.

`packing` packs the windows of a data set once, and the features of each teacher in the same order
of rows. Each split is a sequence of safetensors shards. A trial maps them and copies only the batch
that it gathers, so a data set may be larger than memory. Knows neither Ray nor how windows and
features are computed.

A shard has the windows as `imu` `[N, C, T]` if all of the set have the same length. Otherwise `imu`
has their values one after the other, and `end` `[N]` the place where those of each window end.

Shapes: N windows, C channels, T samples, F numbers in a feature, B windows in a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from comodo.config.channels import CHANNELS
from comodo.core.labels import NO_LABEL
from comodo.data import records
from comodo.data.folds import Fold
from comodo.data.recordings import IN_FOLDS, SPLIT_NAMES
from comodo.data.shards import ArraysError, Shards

Change = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""Changed windows `imu_BCT` from windows, their lengths and their indices in the split."""


class Split:
    """The windows of one split.

    `stored`: the channels of the shards. `seen`: those of the windows that it gives, in their
    order; by default the stored ones. One that is not stored is 0 in all windows.
    """

    def __init__(
        self,
        shards: Shards,
        uniform: bool,
        resized: Shards | None = None,
        stored: Sequence[str] = CHANNELS,
        seen: Sequence[str] | None = None,
    ) -> None:
        self._shards, self._uniform, self._resized = shards, uniform, resized
        self.stored_channels = tuple(stored)
        self._picked_C: Tensor | None = None
        if seen is not None and [*seen] != [*stored]:
            places = [stored.index(name) if name in stored else len(stored) for name in seen]
            self._picked_C = torch.tensor(places)
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

    def imu(self, index_B: Tensor, change: Change | None = None) -> tuple[Tensor, Tensor | None]:
        """Windows for a student, `imu_BCT`, and how many of the last samples of each are not
        padding, `length_B` (None: all). As resized by `pack_resized`, or else as packed; with a
        `change` of all stored channels."""
        if self._resized is not None:
            return self._seen(self._resized.gather("imu", index_B), None, index_B, change)
        return self.packed(index_B, change)

    def longest(self, index_B: Tensor) -> int | None:
        """Samples of the longest of these windows; None if `imu` gives all the same length."""
        if self._resized is not None or self._uniform:
            return None
        return int(self._shards.gather("length", index_B).max())

    def read_ahead(self, shard: int) -> None:
        """Asks the system to read the part of a shard that `imu` needs."""
        (self._shards if self._resized is None else self._resized).read_ahead(shard)

    def packed(self, index_B: Tensor, change: Change | None = None) -> tuple[Tensor, Tensor | None]:
        """As `imu`, not resized: in g and deg/s, left-padded with zeros to the longest of these."""
        if self._uniform:
            return self._seen(self._shards.gather("imu", index_B), None, index_B, change)
        imu_BCT, length_B = self._shards.gather_ragged(index_B, len(self.stored_channels))
        return self._seen(imu_BCT, length_B, index_B, change)

    def _seen(
        self, imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor, change: Change | None
    ) -> tuple[Tensor, Tensor | None]:
        if change is not None:
            imu_BCT = change(imu_BCT, length_B, index_B)
        if self._picked_C is not None:
            if int(self._picked_C.max()) == imu_BCT.shape[1]:  # zeros follow the stored channels
                imu_BCT = functional.pad(imu_BCT, (0, 0, 0, 1))
            imu_BCT = imu_BCT.index_select(1, self._picked_C)
        return imu_BCT, length_B


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
        cls,
        folder: Path,
        samples: int | None = None,
        fold: Fold | None = None,
        channels: Sequence[str] | None = None,
    ) -> "WindowArrays":
        """Maps the arrays; reads only labels and groups.

        Args:
            samples: the student's input length: if `pack_resized` has written windows of that
                length, they are used.
            fold: of a data set with folds, the one whose splits these are.
            channels: those that the student sees; by default all.

        Raises ArraysError, `arrays.missing-channel`, for one that the data set has not, unless it
        says that those are zero.
        """
        meta = records.WindowArraysMeta.read(folder)
        lacking = sorted({*(channels or ())}.difference(meta.channels))
        if lacking and not meta.fills:
            known = ", ".join(meta.channels)
            message = f"{folder}: windows have no {', '.join(lacking)}, only {known}"
            raise ArraysError("arrays.missing-channel", message)
        resized_folder = folder / f"resized-{samples}"
        is_resized = records.ResizedMeta.find(resized_folder) is not None
        splits, rows = {}, None
        for split, files in meta.files.items():
            packed = Shards(folder, files)
            small = Shards(resized_folder, files) if is_resized else None
            if fold is None:
                splits[split] = Split(packed, meta.uniform, small, meta.channels, channels)
                continue
            rows = fold_rows(fold, meta.groups, packed.column("group"))
            for name, row_N in rows.items():
                resized_N = None if small is None else small.select(row_N)
                splits[name] = Split(
                    packed.select(row_N), meta.uniform, resized_N, meta.channels, channels
                )
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
