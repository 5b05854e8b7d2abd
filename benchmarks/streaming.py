"""Reading the batches of an epoch from a data set larger than memory.

    python -m benchmarks.streaming --gigabytes 6

Windows of a Mantis student's input length, with features, are packed in shards and read in batches
by each side in turn, with a cold cache:

- any order: a permutation of all windows, as a loader with `shuffle=True` has it;
- ours: `comodo.training.loader`, which mixes a few shards at a time and prefetches them.

The result means something only if memory is smaller than the data: limit it with a container, or
on Linux with a control group (`systemd-run --scope -p MemoryMax=2G ...`). Nothing is trained, so
the figures are for reading alone. Knows neither Ray nor MLflow.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import Row, copy_ceiling, in_turns, machine, show
from benchmarks.packed import write_arrays
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.shards import SHARD_WINDOWS
from comodo.training.distributed import WorkerGroup
from comodo.training.loader import BatchLoader, epoch_order

BATCH, SAMPLES, FEATURE = 128, 512, 768
BYTES = 4 * (6 * SAMPLES + FEATURE)  # of a window


def forget(folder: Path) -> None:
    """Takes the files out of the system's cache."""
    for path in folder.rglob("*.safetensors"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(
    folder: Path, most: float, read: Callable[[WindowArrays, FeatureArrays], Iterator[Tensor]]
) -> float:
    """Windows a second, of an epoch or of as much of it as is read in `most` seconds."""
    forget(folder)
    windows, features = (
        WindowArrays.load(folder / "windows"),
        FeatureArrays.load(folder / "features"),
    )
    began, count = time.perf_counter(), 0
    for imu_BCT in read(windows, features):
        count += len(imu_BCT)
        if time.perf_counter() - began > most:
            break
    return count / (time.perf_counter() - began)


def any_order(windows: WindowArrays, features: FeatureArrays) -> Iterator[Tensor]:
    split = windows.splits["train"]
    for row_B in torch.randperm(len(split)).split(BATCH):
        features.gather("train", row_B)
        yield split.imu(row_B)[0]


def ours(windows: WindowArrays, features: FeatureArrays) -> Iterator[Tensor]:
    row_N = features.encoded["train"]
    order_N = row_N[epoch_order(row_N, seed=0)]
    reader = BatchLoader(windows.splits["train"], features, WorkerGroup(), "cpu")
    for batch in reader.read(order_N, BATCH, len(order_N)):
        yield batch.imu_bCT


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each side at most")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    args = parser.parse_args()
    shards = max(1, round(args.gigabytes * 1e9 / (BYTES * SHARD_WINDOWS)))
    print(machine())
    print(f"copy in memory: {copy_ceiling('cpu') / 1e9:.1f} GB/s")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        write_arrays(folder, {"train": shards * SHARD_WINDOWS}, SAMPLES, FEATURE)
        size = f"{shards * SHARD_WINDOWS:,} windows, {shards * SHARD_WINDOWS * BYTES / 1e9:.1f} GB"
        print(f"{size} in {shards} shards; median of {args.repeats} after one to warm up")
        sides = {"any order": any_order, "ours": ours}
        found = in_turns(
            args.repeats,
            {side: partial(rate, folder, args.seconds, read) for side, read in sides.items()},
        )
    for side, per_second in found.items():
        print(f"{side:10} {per_second:8,.0f} windows/s, {per_second * BYTES / 1e9:.2f} GB/s")
    show(
        Row(
            f"Batches of a dataset larger than memory, {size}",
            f"any order: {found['any order']:,.0f} windows/s",
            f"{found['ours']:,.0f} windows/s",
            f"{found['ours'] / found['any order']:.1f} times",
            "the disk streams",
        )
    )


if __name__ == "__main__":
    main()
