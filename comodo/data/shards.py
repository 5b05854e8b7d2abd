"""Arrays whose rows are spread over several safetensors files, mapped into memory.

Knows what a window's values look like in them, and nothing of splits or how the files are made.
Shapes: B windows in a batch, N rows, C channels, T samples.
"""

import os
from copy import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from comodo.core.errors import ComodoError
from comodo.core.paths import inside

SHARD_WINDOWS = 16_384  # in each file


class ArraysError(ComodoError, ValueError):
    """Packed arrays cannot be read."""


class Shards:
    """Named arrays whose rows are spread over several mapped files; of a fold's split some of the
    rows, which are then the only ones that indices count."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._row_N: Tensor | None = None
        try:
            self._paths = [inside(folder, name) for name in names]
            self._files = [load_file(path) for path in self._paths]
        except (SafetensorError, ValueError) as error:
            message = f"{folder}: damaged arrays ({error}); remove it to make it again"
            raise ArraysError("arrays.damaged", message) from None

    def select(self, row_N: Tensor) -> "Shards":
        """The same files with these rows alone."""
        selected = copy(self)
        selected._row_N = row_N
        return selected

    def stored(self, index_B: Tensor) -> Tensor:
        """The rows of the files that these indices mean."""
        return index_B if self._row_N is None else self._row_N[index_B]

    def column(self, name: str) -> Tensor:
        """All rows of an array, in memory."""
        column_N = torch.cat([file[name] for file in self._files])
        return column_N if self._row_N is None else column_N[self._row_N]

    def gather(self, name: str, index_B: Tensor) -> Tensor:
        """Some rows of an array, in the order of the indices."""
        index_B = self.stored(index_B)
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

    def gather_ragged(self, index_B: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Windows of so many channels and of unequal lengths, left-padded with zeros to the longest
        of these, `imu_BCT`, and their lengths."""
        length_B, end_B = self.gather("length", index_B), self.gather("end", index_B)
        longest = int(length_B.max()) if len(index_B) else 0
        imu_BCT = torch.zeros(len(index_B), channels, longest)
        stored_B = self.stored(index_B)
        rows = zip(stored_B.tolist(), length_B.tolist(), end_B.tolist(), strict=True)
        for imu_CT, (index, length, end) in zip(imu_BCT.numpy(), rows, strict=True):
            flat = self._files[index // SHARD_WINDOWS]["imu"].numpy()
            window = flat[end - channels * length : end]
            imu_CT[:, longest - length :] = window.reshape(channels, length)
        return imu_BCT, length_B

    def read_ahead(self, number: int) -> None:
        """Asks the system to read a whole file into its page cache, sequentially."""
        if hasattr(os, "posix_fadvise"):  # macOS lacks it and reads pages on demand
            with open(self._paths[number], "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
