"""The teacher alone: windows per second, compared with the machine's matrix product speed.

    python -m benchmarks.teacher --device cuda --precision bf16

VideoMAE-base with random weights takes batches of decoded frames. Each batch is copied to the
device and its features are copied back, as in the encode stage. The ceiling is a large square
matrix product in the same precision; PyTorch counts the teacher's own FLOPs. PyTorch's profiler
then shows where the time goes, for one batch.

It uses neither videos nor Ray, and needs only torch and transformers.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Row, in_turns, machine, matrix_ceiling, seconds, show
from comodo.config import TeacherConfig
from comodo.models.teachers import Teacher, build_teacher

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def save_videomae(folder: Path) -> None:
    """VideoMAE-base with random weights, as transformers keeps one."""
    from transformers import VideoMAEConfig, VideoMAEModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    VideoMAEModel(VideoMAEConfig()).save_pretrained(folder)


def videomae(folder: Path, precision: str) -> TeacherConfig:
    return TeacherConfig.model_validate(
        {"name": "videomae", "weights": str(folder), "precision": precision}
    )


def flops(teacher: Teacher, frames_BFHW3: Tensor) -> float:
    """Of one batch: of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        teacher(frames_BFHW3)
    return float(counter.get_total_flops())


def busiest(teacher: Teacher, frames_BFHW3: Tensor, device: str) -> str:
    """The operations that take most of a batch's time, with their shares."""
    kinds = [ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]
    with profile(activities=kinds) as profiled:
        teacher(frames_BFHW3)
    spent = {
        event.key: event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    most = sorted(spent, key=lambda key: -spent[key])[:6]
    return ", ".join(f"{key[:60]} {spent[key] / sum(spent.values()):.0%}" for key in most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(machine(args.device, "transformers"))
    with tempfile.TemporaryDirectory() as name:
        save_videomae(Path(name))
        teacher = build_teacher(videomae(Path(name), args.precision)).to(args.device)
    shape = (args.batch, teacher.frames, teacher.image_size, teacher.image_size, 3)
    frames_BFHW3 = torch.randint(256, shape, dtype=torch.uint8)
    there_BFHW3 = frames_BFHW3.to(args.device)
    of_window = flops(teacher, there_BFHW3[:1])
    print(f"VideoMAE-base, {args.precision}, batches of {args.batch}: {list(shape[1:])} a window")
    print(f"{of_window / 1e9:.0f} GFLOP a window")

    spent = in_turns(
        args.repeats,
        {
            "as in the stage": lambda: seconds(
                lambda: teacher(frames_BFHW3.to(args.device)).cpu(), args.device
            ),
            "frames on device": lambda: seconds(lambda: teacher(there_BFHW3), args.device),
        }
        if args.device == "cuda"
        else {"as in the stage": lambda: seconds(lambda: teacher(frames_BFHW3))},
    )
    ceiling = matrix_ceiling(args.device, DTYPES[args.precision])
    print(f"matrix product: {ceiling / 1e12:.3f} TFLOP/s")
    for text, took in spent.items():
        rate = args.batch * of_window / took
        print(
            f"{text:16}: {args.batch / took:,.2f} windows/s, {rate / 1e12:.3f} TFLOP/s, "
            f"{rate / ceiling:.0%} of that"
        )
    print(f"most time: {busiest(teacher, there_BFHW3, args.device)}")
    took = spent["as in the stage"]
    rate = args.batch * of_window / took
    show(
        Row(
            f"teacher alone, VideoMAE-base, {args.precision}, {args.device}",
            f"{ceiling / 1e12:.3f} TFLOP/s (matrix product)",
            f"{rate / 1e12:.3f} TFLOP/s, {args.batch / took:,.2f} windows/s",
            f"{rate / ceiling:.2f}x",
            "0.7x on a GPU in bf16",
        )
    )


if __name__ == "__main__":
    main()
