"""The encode stage against a plain loop: from videos to features, in windows per second.

    python -m benchmarks.encode --windows 144

The windows are 5 s of H.264 videos of 256 x 256 pixels at 30 frames per second, links to one file.
The teacher is VideoMAE-base with random weights. Two sides, each in a new process, take turns:

- ours: `comodo.runtime.encode` through Ray Data, which decodes in parallel with the teacher;
- loop: for each batch of 16 windows decode, then encode, in one process, with all cores as
  PyTorch's threads and the GPU if there is one.

Reported are windows per second of the whole stage, and once started. The whole stage includes
starting Ray's workers and loading the weights, but not connecting to Ray or importing modules.
"Once started" is from the first batch in the teacher (for the loop, its decoding) to the end of
the last. Both sides have the same cores, so ratios are per core. "Busy" is the share of that time
in which each device (core or GPU) runs the teacher; `benchmarks.teacher` shows how close that is
to what the device can do. The features of both sides are compared.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import ray
import torch

import comodo.runtime.encode
from benchmarks.common import Row, in_fresh_process, machine, show
from benchmarks.teacher import DTYPES, save_videomae, videomae
from comodo.config import TeacherConfig
from comodo.core.console import console
from comodo.core.parts import read_parts
from comodo.core.store import Store, read_json, write_json
from comodo.data.readers.folder import FolderDataset
from comodo.data.video import decode_frames
from comodo.data.window_sets import FileFingerprints
from comodo.models.teachers import build_teacher
from comodo.runtime.actor_pool import TEACHER_BATCH
from comodo.runtime.cluster import connect
from comodo.runtime.prepare import prepare_windows
from tests.conftest import write_video

SECONDS, PER_RECORDING = 5.0, 4
FPS, SIZE = 30, 256
IMU_RATE = 50.0


class Encoded(NamedTuple):
    """The result of one side; times in seconds."""

    whole: float
    started: float
    """The part from the first batch to the last."""
    busy: float
    features: dict[str, np.ndarray]


class TimedActor(comodo.runtime.encode.TeacherActor):
    """The stage's own encoder, which also records when the teacher is busy."""

    def __init__(
        self, settings: TeacherConfig, store: Store, known: FileFingerprints, threads: int
    ) -> None:
        super().__init__(settings, store, known, threads)
        self.store = store

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        began = time.time()
        made = super().__call__(batch)
        call = {"began": began, "ended": time.time(), "pid": os.getpid()}
        write_json(self.store.folder("calls", f"{uuid4().hex}.json"), call)
        return made


def make_videos(folder: Path, windows: int) -> FolderDataset:
    """Recordings as links to one video and one IMU file, and their manifest."""
    for name in ("imu", "videos"):
        (folder / name).mkdir(parents=True)
    length = PER_RECORDING * SECONDS
    write_video(folder / "one.mp4", length, FPS, SIZE)
    imu_NC = np.random.default_rng(0).normal(size=(round(length * IMU_RATE), 6))
    np.save(folder / "one.npy", imu_NC.astype(np.float32))
    lines = ["recording,imu,video,label,split,group,acc_unit,gyro_unit,imu_rate"]
    for number in range(windows // PER_RECORDING):
        imu, video = f"imu/{number:06d}.npy", f"videos/{number:06d}.mp4"
        os.link(folder / "one.npy", folder / imu)
        os.link(folder / "one.mp4", folder / video)
        lines.append(f"{number:06d},{imu},{video},activity,train,subject,g,deg/s,{IMU_RATE}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return FolderDataset(
        kind="folder",
        path=str(folder / "manifest.csv"),
        window_seconds=SECONDS,
        imu_rate=IMU_RATE,
    )


def cut(settings: FolderDataset, store: Store) -> list[dict[str, Any]]:
    """Prepares the windows; returns each with its video and its span."""
    console.quiet = True
    connect()
    windows = prepare_windows("videos", settings, store)
    ray.shutdown()
    rows: list[dict[str, Any]] = read_parts(
        windows.folder, ["window", "video", "start", "end"]
    ).to_pylist()
    return [{**row, "video": store.local(row["video"])} for row in rows]


def ours(settings: FolderDataset, teacher: TeacherConfig, store: Store) -> Encoded:
    console.quiet = True
    comodo.runtime.encode.TeacherActor = TimedActor  # type: ignore[misc]
    connect()
    windows = prepare_windows("videos", settings, store)  # which are there
    began = time.perf_counter()
    made = comodo.runtime.encode.encode_windows("videos", teacher, windows, store, 0)
    whole = time.perf_counter() - began
    ray.shutdown()
    calls = [json.loads(path.read_text()) for path in store.files("calls", "*.json")]
    started = max(call["ended"] for call in calls) - min(call["began"] for call in calls)
    busy = sum(call["ended"] - call["began"] for call in calls)
    devices = len({call["pid"] for call in calls})
    table = read_parts(made.folder, ["window", "feature"]).to_pylist()
    features = {row["window"]: np.array(row["feature"]) for row in table}
    print(f"  meta.json says {read_json(made.folder / 'meta.json')['speed']:.3f} windows/s")
    for kind in ("calls", "features"):  # for the next time
        shutil.rmtree(store.root / kind)
    return Encoded(whole, started, busy / devices / started, features)


def loop(spans: list[dict[str, Any]], settings: TeacherConfig) -> Encoded:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count() or 1)
    began = time.perf_counter()
    teacher = build_teacher(settings).to(device)
    loaded = time.perf_counter()
    busy, features = 0.0, dict[str, np.ndarray]()
    for start in range(0, len(spans), TEACHER_BATCH):
        batch = spans[start : start + TEACHER_BATCH]
        frames_BFHW3 = np.stack(
            [
                decode_frames(
                    one["video"], one["start"], one["end"], teacher.frames, teacher.image_size
                )
                for one in batch
            ]
        )
        decoded = time.perf_counter()
        feature_BD = teacher(torch.from_numpy(frames_BFHW3).to(device)).cpu().numpy()
        busy += time.perf_counter() - decoded
        features |= {one["window"]: row for one, row in zip(batch, feature_BD, strict=True)}
    ended = time.perf_counter()
    return Encoded(ended - began, ended - loaded, busy / (ended - loaded), features)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=144)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(machine(device, "ray", "transformers", "av"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_videomae(folder / "weights")
        teacher = videomae(folder / "weights", args.precision)
        store = Store(folder / "store")
        settings = make_videos(folder / "data", args.windows)
        spans = in_fresh_process(cut, settings, store)
        count = len(spans)
        print(
            f"VideoMAE-base, {args.precision}; {count} windows of {SECONDS:g} s, {SIZE} x {SIZE} "
            f"pixels, {FPS} frames/s; each side {args.repeats} times, no round to warm up",
            flush=True,
        )
        found: dict[str, list[Encoded]] = {"ours": [], "loop": []}
        for _ in range(args.repeats):
            found["loop"].append(in_fresh_process(loop, spans, teacher))
            found["ours"].append(in_fresh_process(ours, settings, teacher, store))
    rates: dict[str, tuple[float, float]] = {}
    for side, times in found.items():
        whole = count / statistics.median(one.whole for one in times)
        started = count / statistics.median(one.started for one in times)
        busy = statistics.median(one.busy for one in times)
        rates[side] = whole, started
        print(
            f"{side}: {whole:.3f} windows/s, {started:.3f} once started; "
            f"busy with the teacher {busy:.0%}"
        )
    largest = max(
        float(abs(mine.features[window] - feature).max())
        for mine, theirs in itertools.product(found["ours"], found["loop"])
        for window, feature in theirs.features.items()
    )
    size = max(float(abs(feature).max()) for feature in found["loop"][0].features.values())
    print(f"largest difference of a feature {largest:.2g}, of values up to {size:.2g}")
    whole, started = (mine / theirs for mine, theirs in zip(*rates.values(), strict=True))
    show(
        Row(
            f"encode, VideoMAE-base, {args.precision}, {count} windows, {os.cpu_count()} cores, "
            f"{device}",
            f"{rates['loop'][0]:.3f} windows/s; {rates['loop'][1]:.3f} once started (plain loop)",
            f"{rates['ours'][0]:.3f} windows/s; {rates['ours'][1]:.3f} once started",
            f"{whole:.2f}x; {started:.2f}x once started",
            "0.9x per core on CPU",
        )
    )


if __name__ == "__main__":
    # By its name, so that Ray's workers find the actor in it.
    from benchmarks.encode import main as run

    run()
