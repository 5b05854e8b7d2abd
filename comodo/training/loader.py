"""Which windows the steps of an epoch take, and reading them while the step before is at work.

Windows come in random order, but out of few files at a time, which are read ahead: the disk then
streams whole files, also of a dataset larger than memory. Knows devices, and nothing of students,
methods or losses.

Shape letters: N training windows, B windows of a batch, b this worker's share of them, C channels,
T samples, F numbers of a teacher's feature.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from comodo.data.arrays import SHARD_WINDOWS, FeatureArrays, Split
from comodo.training.distributed import WorkerGroup

MAX_SHARDS_PER_POOL = (
    4  # shards whose windows are mixed; up to so many, the order is any of all orders
)
BATCHES_AHEAD = 2  # batches that are ready or being read while one is used


def epoch_order(row_N: Tensor, seed: int) -> Tensor:
    """A random order `[N]` of windows that lie in these rows of their split.

    Shards are dealt into pools of `POOL` at random, one pool comes after the other, and within a
    pool windows are in any order: of a larger dataset the rows of few files are wanted at a time.
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
    """A step's windows, on the device."""

    size: int
    label_B: Tensor
    """Index of the class, or NO_LABEL."""
    feature_BF: Tensor | None
    """Of the teacher; None where it is not asked."""
    imu_bCT: Tensor
    length_b: Tensor | None
    """As `Split.imu` gives it, on the CPU."""
    copied: torch.cuda.Event | None
    """Until when a GPU is still copying them."""

    def await_copy(self) -> None:
        """Has what the device does from here on wait for the copies, which another stream makes."""
        if self.copied is None:
            return
        stream = torch.cuda.current_stream()
        stream.wait_event(self.copied)
        for tensor in (self.label_B, self.feature_BF, self.imu_bCT):
            if tensor is not None:
                tensor.record_stream(stream)  # or its memory could be given away while it is read


class BatchLoader:
    """Reads batches of a split in a thread of its own."""

    def __init__(
        self, split: Split, features: FeatureArrays | None, workers: WorkerGroup, device: str
    ) -> None:
        self._split, self._features, self._workers = split, features, workers
        self._device = device
        self._stream = torch.cuda.Stream() if device == "cuda" else None

    def read(self, row_N: Tensor, batch_size: int, steps: int) -> Iterator[Batch]:
        """The first `steps` batches of these rows, each while its predecessors are used."""
        soon, waiting = self._first_uses(row_N), deque[Future[Batch]]()
        batches, files = ThreadPoolExecutor(1, "batches"), ThreadPoolExecutor(1, "files")
        try:
            for step, row_B in enumerate(islice(row_N.split(batch_size), steps)):
                while soon and soon[-1][0] <= step * batch_size + SHARD_WINDOWS:
                    files.submit(self._read_ahead, soon.pop()[1])
                waiting.append(batches.submit(self._batch, row_B))
                if len(waiting) > BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for threads in (batches, files):
                threads.shutdown(cancel_futures=True)

    def _first_uses(self, row_N: Tensor) -> list[tuple[int, int]]:
        """Where in these rows each shard is wanted first, the last one first."""
        shard_N = row_N // SHARD_WINDOWS
        shards = shard_N.unique().tolist()
        return sorted(((int((shard_N == s).int().argmax()), s) for s in shards), reverse=True)

    def _read_ahead(self, shard: int) -> None:
        self._split.read_ahead(shard)
        if self._features is not None:
            self._features.read_ahead("train", shard)

    def _batch(self, row_B: Tensor) -> Batch:
        label_B = self._split.label_N[row_B]
        row_b = self._workers.share(row_B)
        imu_bCT, length_b = self._split.imu(row_b) if len(row_b) else (torch.zeros(0, 0, 0), None)
        feature_BF = None if self._features is None else self._features.gather("train", row_B)
        copied = None
        if self._stream is not None:
            with torch.cuda.stream(self._stream):
                label_B, imu_bCT = self._copy(label_B), self._copy(imu_bCT)
                feature_BF = None if feature_BF is None else self._copy(feature_BF)
                copied = self._stream.record_event()
        return Batch(len(row_B), label_B, feature_BF, imu_bCT, length_b, copied)

    def _copy(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True)
