"""Encoding without Ray: processes decode while this one runs the teacher; windows per second.

    python -m benchmarks.encode_alone --device cuda --precision bf16

For machines with a GPU but without Ray; with Ray, `benchmarks.encode` measures the stage itself.
The windows are 5 s of H.264 videos of 256 x 256 pixels at 30 frames per second, the teacher is
VideoMAE-base with random weights. Two sides take turns: the loop decodes a batch of 16 windows,
then encodes it; ours decodes in `--decoders` processes and keeps two batches ready for each of
them, as the stage's queue does. "Busy" is the share of the time in which the teacher computes.
From the time that one core takes to decode a window follows how many cores the teacher needs. The
features of both sides are compared.
"""

import argparse
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.common import Row, in_turns, machine, show
from benchmarks.teacher import DTYPES, save_videomae, videomae
from comodo.data.video import decode_frames
from comodo.models.teachers import Teacher, build_teacher

SECONDS, FPS, SIZE = 5.0, 30, 256
BATCH = 16  # windows
READY = 2  # decoded batches for each process


def write_video(path: Path, windows: int) -> None:
    """A video as long as so many windows, with a picture that moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        noise_HW3 = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        for number in range(round(windows * SECONDS * FPS)):
            picture = np.roll(noise_HW3, number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def decoded(video: str, starts: list[float], frames: int, size: int) -> tuple[np.ndarray, float]:
    """Frames `[B, F, H, W, 3]` of a batch of windows, and the seconds that it took."""
    began = time.perf_counter()
    windows = [decode_frames(video, at, at + SECONDS, frames, size) for at in starts]
    return np.stack(windows), time.perf_counter() - began


Batches = Iterable[tuple[np.ndarray, float]]


def in_parallel(
    pool: ProcessPoolExecutor, ready: int, tasks: Iterable[tuple[object, ...]]
) -> Batches:
    """The decoded batches in their order, with `ready` of them in the making."""
    waiting: deque[Future[tuple[np.ndarray, float]]] = deque()
    left: Iterator[tuple[object, ...]] = iter(tasks)
    waiting.extend(pool.submit(decoded, *task) for task in islice(left, ready))  # type: ignore[arg-type]
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(decoded, *task) for task in islice(left, 1))  # type: ignore[arg-type]


class Encoder:
    """Runs the teacher over batches; has the features, times and shares of its last run."""

    def __init__(self, teacher: Teacher, device: str) -> None:
        self.teacher, self.device = teacher.to(device), device

    def run(self, batches: Batches) -> float:
        """Windows per second."""
        features, self.busy, self.decoding = [], 0.0, 0.0
        began = time.perf_counter()
        for frames_BFHW3, seconds in batches:
            self.decoding += seconds
            start = time.perf_counter()
            frames = torch.from_numpy(frames_BFHW3).to(self.device)
            features.append(self.teacher(frames).cpu().numpy())
            self.busy += time.perf_counter() - start
        took = time.perf_counter() - began
        self.feature_ND = np.concatenate(features)
        self.busy /= took
        self.decoding /= len(self.feature_ND)
        return len(self.feature_ND) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--decoders", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(machine(args.device, "transformers", "av"))
    with tempfile.TemporaryDirectory() as name:
        save_videomae(Path(name, "weights"))
        teacher = build_teacher(videomae(Path(name, "weights"), args.precision))
        video = str(Path(name, "video.mp4"))
        write_video(Path(video), BATCH)
        starts = [SECONDS * i for i in range(BATCH)]
        tasks = [(video, starts, teacher.frames, teacher.image_size)] * (args.windows // BATCH)
        ours, loop = Encoder(teacher, args.device), Encoder(teacher, args.device)
        spawn = get_context("spawn")  # a process that has CUDA must not be forked
        with ProcessPoolExecutor(args.decoders, mp_context=spawn) as pool:
            rates = in_turns(
                args.repeats,
                {
                    "loop": lambda: loop.run(decoded(*task) for task in tasks),
                    "ours": lambda: ours.run(in_parallel(pool, READY * args.decoders, tasks)),
                },
            )
    for side, encoder in {"loop": loop, "ours": ours}.items():
        print(
            f"{side}: {rates[side]:.2f} windows/s; teacher busy {encoder.busy:.0%}; "
            f"decoding {1000 * encoder.decoding:.1f} ms a window and core"
        )
    alone = rates["ours"] / ours.busy
    print(f"teacher alone: {alone:.2f} windows/s, for {alone * loop.decoding:.1f} decoding cores")
    difference = float(abs(ours.feature_ND - loop.feature_ND).max())
    print(f"largest difference of a feature {difference:.2g}")
    show(
        Row(
            f"encode without Ray, VideoMAE-base, {args.precision}, {args.device}, "
            f"{args.decoders} processes decode",
            f"{rates['loop']:.2f} windows/s (plain loop)",
            f"{rates['ours']:.2f} windows/s, teacher busy {ours.busy:.0%}",
            f"{rates['ours'] / rates['loop']:.2f}x",
            "teacher busy 90 %",
        )
    )


if __name__ == "__main__":
    main()
