"""How much private memory a trial needs for data that all trials of a node read.

    python -m benchmarks.sharing --megabytes 1000 --trials 3

Packed windows are written as `pack` writes them, in several files, at their original rate and
resized to a student's input length; --megabytes is the size of the resized ones, which are the
ones that trials read. A teacher's features are stored with them. Several Ray processes then read
every window and every feature once, at the same time and in random batches, in one of two ways:

- ours: the arrays are mapped, as `comodo.runtime.worker` does;
- private copies: the columns that a trial reads are loaded into memory.

When all have finished reading, each reports how much its private memory (USS) has grown. Pages of
a mapped file count as nobody's while two processes have them, so all are measured together. Both
sides must have read the same numbers.

It uses neither students nor training; see `benchmarks.scaling` for those.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.common import Row, machine, show
from benchmarks.packed import write_arrays
from comodo.config import CHANNELS
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.data.keys import resized_key
from comodo.runtime.cluster import connect

SAMPLES, RESIZED, DIM = 100, 512, 768  # 5 s at 20 Hz, what Mantis takes, VideoMAE-base's features
BATCH = 128
TRAIN_SHARE = 0.8  # the rest is for testing


class Mapped:
    """The data as `comodo.trial` has them."""

    def __init__(self, folder: Path) -> None:
        self.windows = WindowArrays.load(folder / "windows", RESIZED)
        self.features = FeatureArrays.load(folder / "features")

    def counts(self) -> dict[str, int]:
        return {split: len(part) for split, part in self.windows.splits.items()}

    def batch(self, split: str, index_B: Tensor) -> tuple[Tensor, Tensor]:
        imu_BCT, _ = self.windows.splits[split].imu(index_B)
        return imu_BCT, self.features.gather(split, index_B)


class Copied:
    """The columns that a trial reads of them, in memory."""

    def __init__(self, folder: Path) -> None:
        of_windows, resized = folder / "windows", folder / resized_key("windows", RESIZED)
        self.imu_NCT = self._load(resized, "imu")
        self.feature_NF = self._load(folder / "features", "feature")
        self.about = [self._load(of_windows, name) for name in ("label", "group", "last")]

    @staticmethod
    def _load(folder: Path, name: str) -> dict[str, Tensor]:
        return {
            split: torch.cat([load_file(file)[name] for file in sorted(folder.glob(f"{split}-*"))])
            for split in ("train", "test")
        }

    def counts(self) -> dict[str, int]:
        return {split: len(rows) for split, rows in self.imu_NCT.items()}

    def batch(self, split: str, index_B: Tensor) -> tuple[Tensor, Tensor]:
        return self.imu_NCT[split][index_B], self.feature_NF[split][index_B]


Side = type[Mapped] | type[Copied]
SIDES: dict[str, Side] = {"mapped": Mapped, "private copies": Copied}


class Trial:
    """A Ray process that reads data as a trial does, and holds them."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.ones(BATCH, 6, RESIZED)[torch.randperm(BATCH)].sum()  # what is loaded at first use
        self.before = self._private()

    def read(self, side: Side, folder: Path) -> float:
        """Reads everything once; returns the sum of all."""
        self.data = side(folder)
        total = 0.0
        for split, count in self.data.counts().items():
            for index_B in torch.randperm(count).split(BATCH):
                imu_BCT, feature_BF = self.data.batch(split, index_B)
                total += float(imu_BCT.double().sum() + feature_BF.double().sum())
        return total

    def grown(self) -> float:
        """MB of private memory more than before."""
        return (self._private() - self.before) / 1e6

    @staticmethod
    def _private() -> int:
        return int(psutil.Process().memory_full_info().uss)


def measure(side: Side, folder: Path, trials: int) -> tuple[list[float], float]:
    """Growth of each of several processes at once, and the sum of all that one has read."""
    actor: Any = ray.remote(num_cpus=0)(Trial)
    processes = [actor.remote() for _ in range(trials)]
    sums = ray.get([process.read.remote(side, folder) for process in processes])
    grown = ray.get([process.grown.remote() for process in processes])
    for process in processes:
        ray.kill(process)
    return grown, statistics.median(sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=3)
    args = parser.parse_args()
    print(machine("cpu", "ray"))
    count = args.megabytes * 10**6 // (len(CHANNELS) * RESIZED * 4)
    train = round(TRAIN_SHARE * count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_arrays(folder, {"train": train, "test": count - train}, SAMPLES, DIM, RESIZED)
        on_disk = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        files = len(list((folder / "windows").glob("*.safetensors")))
        print(
            f"{count:,} windows of {SAMPLES} samples in {files} files, resized to {RESIZED} "
            f"({args.megabytes:,} MB); {DIM} features of each ({count * DIM * 4 / 1e6:,.0f} MB); "
            f"{on_disk:,.0f} MB on disk; {args.trials} processes at once"
        )
        connect()
        found = {}
        for text, side in SIDES.items():
            found[text], total = measure(side, folder, args.trials)
            each = ", ".join(f"{grown:.1f}" for grown in found[text])
            print(f"{text:14}: private memory of each {each} MB (sum of what was read {total:.6g})")
        ray.shutdown()
    ours, theirs = (statistics.median(found[text]) for text in SIDES)
    show(
        Row(
            f"private memory for the data, {args.trials} trials at once, {args.megabytes:,} MB of "
            "windows and their features",
            f"{theirs:,.0f} MB each (private copies)",
            f"{ours:.1f} MB each",
            f"{ours / theirs:.3f}x",
            "one copy for all; under 50 MB each",
        )
    )


if __name__ == "__main__":
    main()
