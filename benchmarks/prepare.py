"""What preparing a large data set costs: windows per second, and memory of driver and workers.

    python -m benchmarks.prepare --windows 50000 100000

Every recording is 50 windows of 5 s at 50 Hz, resampled to 20 Hz: random .npy files, hard links to
one file, so that they need no disk space. One in `--video-every` has a video, also a link. Each
number of windows is prepared in a new process with a new Ray on all cores; connecting is not
timed. Peak memory is resident minus shared, sampled five times per second. Twice the windows
should take twice as long, in about the same memory.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import ray

from comodo.core.console import console
from comodo.core.parts import parts
from comodo.core.store import Store
from comodo.data.readers.folder import FolderDataset
from comodo.runtime.cluster import connect
from comodo.runtime.prepare import prepare_windows
from tests.conftest import write_video

PER_RECORDING = 50  # windows
SECONDS, RATE, COMMON_RATE = 5.0, 50.0, 20.0


def make_files(folder: Path, windows: int, video_every: int) -> FolderDataset:
    """Recordings as links to one IMU file and one video, and their manifest."""
    for name in ("imu", "videos"):
        (folder / name).mkdir(parents=True)
    length = PER_RECORDING * SECONDS
    imu_NC = np.random.default_rng(0).normal(size=(round(length * RATE), 6))
    np.save(folder / "one.npy", imu_NC.astype(np.float32))
    write_video(folder / "one.mp4", length, fps=2)
    lines = ["recording,imu,video,label,split,group,acc_unit,gyro_unit,imu_rate"]
    for number in range(windows // PER_RECORDING):
        imu, video = f"imu/{number:06d}.npy", ""
        os.link(folder / "one.npy", folder / imu)
        if number % video_every == 0:
            video = f"videos/{number:06d}.mp4"
            os.link(folder / "one.mp4", folder / video)
        split = "test" if number % 5 == 0 else "train"
        about = f"activity {number % 20},{split},subject {number % 100},g,deg/s,{RATE}"
        lines.append(f"{number:06d},{imu},{video},{about}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return FolderDataset(
        kind="folder",
        path=str(folder / "manifest.csv"),
        window_seconds=SECONDS,
        imu_rate=COMMON_RATE,
    )


class Watch(threading.Thread):
    """Peak memory in bytes of this process and of the largest Ray worker that it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.worker = 0
        self.begun = _private(psutil.Process())
        self._ended = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(0.2):
            self.driver = max(self.driver, _private(me))
            for process in me.children(recursive=True):
                try:
                    if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                        self.worker = max(self.worker, _private(process))
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue

    def end(self) -> None:
        self._ended.set()
        self.join()


def _private(process: psutil.Process) -> int:
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def measure(windows: int, video_every: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = make_files(Path(folder) / "data", windows, video_every)
        connect()
        console.quiet = True
        watch = Watch()
        watch.start()
        began = time.perf_counter()
        made = prepare_windows("many", settings, Store(Path(folder) / "store"))
        seconds = time.perf_counter() - began
        watch.end()
        count = sum(made.counts.values())
        print(
            f"{count:,} windows of {count // PER_RECORDING:,} recordings in "
            f"{len(parts(made.folder))} parts: {seconds:.0f} s, {count / seconds:,.0f} windows/s; "
            f"peak memory: driver {watch.driver / 2**20:,.0f} MiB "
            f"(with {watch.begun / 2**20:,.0f} at the start), "
            f"largest worker {watch.worker / 2**20:,.0f} MiB",
            flush=True,
        )
        ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--video-every", type=int, default=20)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    for windows in given.windows:
        arguments = (windows, given.video_every)
        process = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(process.exitcode)
