"""What a corrected manifest costs, next to making everything again: after one label of 48 was
changed, one recording was added, and with another seed of the splits.

    python -m benchmarks.corrected

48 recordings of 30 s, of 12 people: video of 320 x 320 pixels at 15 frames per second, IMU at
100 Hz; windows of 5 s, EfficientNet-Lite0 on 8 frames. Ray runs throughout, and connecting is not
timed. Each row says how many recordings were read and windows encoded, and the wall seconds of
prepare and encode.
"""

import os
import tempfile
import time
from pathlib import Path

import ray

from benchmarks.common import machine
from comodo.config import TeacherConfig
from comodo.config.dataset_base import GroupSplit
from comodo.core.console import console
from comodo.core.store import Store
from comodo.data.feature_sets import count_left
from comodo.data.known_slices import known_slices, slices_key
from comodo.data.readers import list_recordings
from comodo.data.readers.folder import FolderDataset
from comodo.data.window_sets import fingerprints_of, read_window_set, window_key
from comodo.runtime.cluster import connect
from comodo.runtime.encode import encode_windows
from comodo.runtime.prepare import prepare_windows
from tests.conftest import write_imu, write_video

RECORDINGS, SECONDS, PEOPLE = 48, 30.0, 12
TEACHER = TeacherConfig(name="efficientnet-lite0", frames=8)
HEADER = "recording,video,imu,label,group"


def line(number: int, label: str) -> str:
    return (
        f"r{number:03d},videos/r{number:03d}.mp4,imu/r{number:03d}.csv,{label},p{number % PEOPLE}"
    )


def make_file(folder: Path, number: int) -> None:
    write_video(folder / f"videos/r{number:03d}.mp4", SECONDS, fps=15, size=320, shade=4 * number)
    write_imu(folder / f"imu/r{number:03d}.csv", SECONDS, rate=100, pitch=1 + number / 20)


def settings(folder: Path, lines: list[str], seed: int = 0) -> FolderDataset:
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join([HEADER, *lines]) + "\n")
    return FolderDataset(
        kind="folder", path=str(manifest), split_by_group=GroupSplit(seed=seed), window_seconds=5.0
    )


def measure(what: str, data: FolderDataset, store: Store) -> None:
    recordings = list_recordings(data, Path(data.path).parent)
    files = fingerprints_of(data, recordings)
    key = window_key(data, recordings, files)
    keys = {r.id: slices_key(data, r, files, store) for r in recordings}
    read = len(recordings) - len(known_slices("mine", keys, store))
    assert read_window_set(key, store) is None
    began = time.perf_counter()
    windows = prepare_windows("mine", data, store)
    prepared = time.perf_counter()
    encoded = count_left(TEACHER, windows, store)
    counted = time.perf_counter()
    encode_windows("mine", TEACHER, windows, store, max_rejected=0.0)
    ended = time.perf_counter()
    print(
        f"{what}: {read} of {len(recordings)} recordings read, {encoded} of "
        f"{sum(windows.counts.values())} windows encoded, prepare {prepared - began:.1f} s, encode "
        f"{ended - counted:.1f} s",
        flush=True,
    )


def main() -> None:
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        for number in range(RECORDINGS):
            make_file(folder, number)
        connect()
        console.quiet = True
        labels = [("walking", "running")[number % 2] for number in range(RECORDINGS)]
        lines = [line(number, label) for number, label in enumerate(labels)]
        corrected = [line(0, "climbing"), *lines[1:]]
        make_file(folder, RECORDINGS)
        added = [*corrected, line(RECORDINGS, "walking")]
        store = Store(Path(name) / "store")
        measure("at first", settings(folder, lines), store)
        measure("one label corrected", settings(folder, corrected), store)
        measure("one recording added", settings(folder, added), store)
        measure("another seed of the splits", settings(folder, added, seed=1), store)
        measure("all of it anew", settings(folder, added, seed=1), Store(Path(name) / "another"))
        ray.shutdown()


if __name__ == "__main__":
    main()
