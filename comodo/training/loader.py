"""The order of an epoch's windows, and a loader that reads batches ahead of the training.

The order is random, but from a few shards at a time, which the loader reads ahead. So a data set
larger than memory is streamed from the disk. This module knows no students, methods or losses.

Shape letters: N training windows, B batch, b this worker's part of it, C channels, T samples,
F width of the teacher's features.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from comodo.data.arrays import FeatureArrays, Split
from comodo.data.shards import SHARD_WINDOWS
from comodo.training.distributed import WorkerGroup

# Shards whose windows are shuffled together. A split with no more shards is shuffled completely.
MAX_SHARDS_PER_POOL = 4
BATCHES_AHEAD = 2  # batches that are ready or being read while one is used
Change = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""Takes windows `imu_bCT`, their lengths and their rows of the split; returns changed windows."""


def epoch_order(row_N: Tensor, seed: int) -> Tensor:
    """A random order `[N]` of the windows in these rows of their shards.

    Random pools of `MAX_SHARDS_PER_POOL` shards follow each other, and the windows of a pool are
    shuffled, so only a few files are needed at any time.
    """
    generator = torch.Generator().manual_seed(seed)
    order_N = torch.randperm(len(row_N), generator=generator)
    shards = int(row_N.max()) // SHARD_WINDOWS + 1 if len(row_N) else 0
    if shards > MAX_SHARDS_PER_POOL:
        pool_of_shard = torch.randperm(shards, generator=generator) // MAX_SHARDS_PER_POOL
        order_N = order_N[pool_of_shard[row_N[order_N] // SHARD_WINDOWS].argsort(stable=True)]
    return order_N


@dataclass(frozen=True)
class Batch:
    """The windows of one step, on the device."""

    size: int
    label_B: Tensor  # class indices, or NO_LABEL
    feature_BF: Tensor | None  # of the teacher; None for methods without one
    imu_bCT: Tensor
    length_b: Tensor | None  # real samples of each window, on the CPU; None if all have T
    copied: torch.cuda.Event | None  # recorded when the copy to the GPU is complete
    view_bCT: Tensor | None = None  # the windows in another random change, if it is needed

    def await_copy(self) -> None:
        """Makes the current stream wait for the copy, which runs in a stream of its own."""
        if self.copied is None:
            return
        stream = torch.cuda.current_stream()
        stream.wait_event(self.copied)
        for tensor in (self.label_B, self.feature_BF, self.imu_bCT, self.view_bCT):
            if tensor is not None:
                tensor.record_stream(stream)  # or its memory could be reused while it is read


class BatchLoader:
    """Reads the batches of a split in a background thread."""

    def __init__(
        self, split: Split, features: FeatureArrays | None, workers: WorkerGroup, device: str
    ) -> None:
        self._split, self._features = split, features
        self._workers, self._device = workers, device
        self._stream = torch.cuda.Stream() if device == "cuda" else None

    def read(
        self, row_N: Tensor, batch_size: int, steps: int, *changes: Change | None
    ) -> Iterator[Batch]:
        """The first `steps` batches of these rows, with their windows changed; the next ones are
        read while one is used. With a second change they have a second view."""
        first_uses, pending = self._first_uses(row_N), deque[Future[Batch]]()
        batches, files = ThreadPoolExecutor(1, "batches"), ThreadPoolExecutor(1, "files")
        try:
            for step, row_B in enumerate(islice(row_N.split(batch_size), steps)):
                while first_uses and first_uses[-1][0] <= step * batch_size + SHARD_WINDOWS:
                    files.submit(self._read_ahead, first_uses.pop()[1])
                pending.append(batches.submit(self._batch, row_B, *changes))
                if len(pending) > BATCHES_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for threads in (batches, files):
                threads.shutdown(cancel_futures=True)

    def _first_uses(self, row_N: Tensor) -> list[tuple[int, int]]:
        """For each shard, its first position in these rows and its number; last position first."""
        shard_N = self._split.stored(row_N) // SHARD_WINDOWS
        shards = shard_N.unique().tolist()
        return sorted(((int((shard_N == s).int().argmax()), s) for s in shards), reverse=True)

    def _read_ahead(self, shard: int) -> None:
        self._split.read_ahead(shard)
        if self._features is not None:
            self._features.read_ahead("train", shard)

    def _batch(
        self, row_B: Tensor, change: Change | None = None, other: Change | None = None
    ) -> Batch:
        label_B = self._split.label_N[row_B]
        row_b = self._workers.share(row_B)
        none = torch.zeros(0, 0, 0), None
        imu_bCT, length_b = self._split.imu(row_b, change) if len(row_b) else none
        view_bCT = None
        if other is not None:
            view_bCT = self._split.imu(row_b, other)[0] if len(row_b) else imu_bCT
        if len(row_b) < len(row_B) and len(row_b) and (longest := self._split.longest(row_B)):
            # As wide as with a single worker, because a student may pad to the batch's longest.
            wider = longest - imu_bCT.shape[-1], 0
            imu_bCT = F.pad(imu_bCT, wider)
            view_bCT = None if view_bCT is None else F.pad(view_bCT, wider)
        feature_BF = None if self._features is None else self._features.gather("train", row_B)
        copied = None
        if self._stream is not None:
            with torch.cuda.stream(self._stream):
                label_B, imu_bCT = self._copy(label_B), self._copy(imu_bCT)
                feature_BF = None if feature_BF is None else self._copy(feature_BF)
                view_bCT = None if view_bCT is None else self._copy(view_bCT)
                copied = self._stream.record_event()
        return Batch(len(row_B), label_B, feature_BF, imu_bCT, length_b, copied, view_bCT)

    def _copy(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True)
