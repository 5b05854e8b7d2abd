"""Trials that share a GPU: how much faster several at once are than one after the other.

    python -m benchmarks.shares --student mantis --precision bf16 --at-once 1 2 4

Each trial is a process of its own, as in a sweep, which trains a student for some steps on random
windows; all begin together once each has warmed up. `resources.gpus_per_worker: auto` gives each
trial a half or a quarter of a GPU where the memory allows it: that pays if the rate of two or four
at once is above that of one alone. On a CPU each has one thread, and the cores are what they share.

Knows neither Ray nor MLflow.
"""

import argparse
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from benchmarks.common import Row, machine, show
from benchmarks.lockstep import STUDENTS, OneByOne, inputs, students

WARM_UP = 3  # steps


def train(args: argparse.Namespace, begin: Barrier, results: Any) -> None:
    """Puts the seconds of the steps, and the GPU memory that they needed, into `results`."""
    torch.set_num_threads(1)
    data = inputs(args.batch, args.device, torch.float32)
    trial = OneByOne(
        students(args.student, 1, args.device, torch.float32), args.device, args.precision == "bf16"
    )
    trial.capture(data[0])
    for _ in range(WARM_UP):
        trial.step(data)
    begin.wait()
    began = time.perf_counter()
    for _ in range(args.steps):
        trial.step(data)
    if args.device == "cuda":
        torch.cuda.synchronize()
    memory = torch.cuda.max_memory_reserved() if args.device == "cuda" else 0
    results.put((time.perf_counter() - began, memory))


def steps_per_second(args: argparse.Namespace, count: int) -> tuple[float, int]:
    """Of `count` trials at once, all together, and the largest memory of one."""
    context = get_context("spawn")
    begin, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=train, args=(args, begin, results), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=args.limit) for _ in processes]
    for process in processes:
        process.join()
    return count * args.steps / max(took for took, _ in found), max(memory for _, memory in found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", choices=STUDENTS, default="mantis")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each number")
    args = parser.parse_args()
    print(machine(args.device, "mantis-tsfm"))
    alone, memory = steps_per_second(args, 1)
    print(f"one alone: {alone:.2f} steps/s, {memory / 2**20:,.0f} MiB of GPU memory")
    for count in (count for count in args.at_once if count > 1):
        together, memory = steps_per_second(args, count)
        show(
            Row(
                f"{count} trials at once on one {args.device}, {args.student}, batch {args.batch}, "
                f"{args.precision}",
                f"one alone: {alone:.2f} steps/s",
                f"{together:.2f} steps/s together, {memory / 2**20:,.0f} MiB each",
                f"{together / alone:.2f}x",
                "over 1x, or sharing does not pay",
            )
        )


if __name__ == "__main__":
    main()
