"""The comodo loss against the direct formulation: time and memory, forward and backward.

    python -m benchmarks.loss
    python -m benchmarks.loss --threads 1 --queues 256 1024 4096

Both sides start from the same queue of unit-length keys and take turns. Memory is the growth of the
peak over the inputs, in a separate process. Knows nothing about how training uses the loss.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common import Row, in_turns, machine, matrix_ceiling, seconds, show
from comodo.losses import cross_entropy
from comodo.losses.comodo import comodo_loss

BATCH, WIDTH = 128, 128
TEACHER_TEMPERATURE, STUDENT_TEMPERATURE = 0.1, 0.05
GOALS = {16_384: "no slower", 65_536: "2.5x", 262_144: "2.5x"}
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def direct(student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> Tensor:
    """The formula as it is written."""
    student_BD = functional.normalize(student_BD, dim=1)
    teacher_BD = functional.normalize(teacher_BD, dim=1)
    key_KD = torch.cat([queue_QD, teacher_BD])
    teacher_BK = (teacher_BD @ key_KD.T / TEACHER_TEMPERATURE).softmax(dim=1)
    student_BK = (student_BD @ key_KD.T / STUDENT_TEMPERATURE).log_softmax(dim=1)
    return -(teacher_BK * student_BK).sum(dim=1).mean()


def ours(student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> Tensor:
    return comodo_loss(student_BD, teacher_BD, queue_QD, TEACHER_TEMPERATURE, STUDENT_TEMPERATURE)


LOSSES: dict[str, Loss] = {"direct": direct, "ours": ours}


def inputs(queue: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    student_BD = torch.randn(BATCH, WIDTH, device=device, requires_grad=True)
    teacher_BD = torch.randn(BATCH, WIDTH, device=device)
    queue_QD = functional.normalize(torch.randn(queue, WIDTH, device=device), dim=1)
    return student_BD, teacher_BD, queue_QD


def step(loss: Loss, student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> None:
    student_BD.grad = None
    loss(student_BD, teacher_BD, queue_QD).backward()


def flop(queue: int) -> int:
    """FLOPs of our matrix products: one product fewer if few keys are compared at once."""
    products = 3 if queue <= cross_entropy._MAX_KEYS_UNCHUNKED else 4
    return products * 2 * BATCH * WIDTH * (queue + BATCH)


def milliseconds(queue: int, device: str, repeats: int) -> dict[str, float]:
    tensors = inputs(queue, device)
    sides: dict[str, Callable[[], float]] = {
        name: partial(seconds, partial(step, loss, *tensors), device)
        for name, loss in LOSSES.items()
    }
    return {name: 1000 * value for name, value in in_turns(repeats, sides).items()}


def peak_growth_mib(name: str, queue: int, device: str) -> float:
    """Peak memory over the inputs, in a separate process."""
    command = [sys.executable, "-m", "benchmarks.loss", "--memory-of", name]
    command += ["--queues", str(queue), "--device", device]
    command += ["--threads", str(torch.get_num_threads())]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def own_peak_growth_mib(name: str, queue: int, device: str) -> float:
    student_BD, teacher_BD, queue_QD = inputs(queue, device)
    step(LOSSES[name], student_BD, teacher_BD, queue_QD[:16])  # what is loaded at first use
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(LOSSES[name], student_BD, teacher_BD, queue_QD)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the peak
    before = resident_kib("VmRSS")
    step(LOSSES[name], student_BD, teacher_BD, queue_QD)
    return (resident_kib("VmHWM") - before) / 2**10


def resident_kib(which: str) -> int:
    """The process's resident size now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


def compare(queues: list[int], device: str, repeats: int, mib: dict[int, dict[str, float]]) -> None:
    """Print a line per queue size, with the rows of docs/performance.md among them."""
    threads = torch.get_num_threads()
    where = "on the GPU" if device == "cuda" else f"threads: {threads}"
    ceiling = matrix_ceiling(device) / 1e9
    print(f"{where}; a large matrix product reaches {ceiling:,.0f} GFLOP/s")
    print("  queue | direct ms | ours ms | direct/ours | ours GFLOP/s | direct MiB | ours MiB")
    for queue in queues:
        ms, memory = milliseconds(queue, device, repeats), mib[queue]
        speedup, rate = ms["direct"] / ms["ours"], flop(queue) / ms["ours"] / 1e6
        print(
            f"{queue:7} | {ms['direct']:9.2f} | {ms['ours']:7.2f} | {speedup:11.2f} | "
            f"{rate:12,.0f} | {memory['direct']:10.1f} | {memory['ours']:8.1f}"
        )
        if queue in GOALS:
            show(
                Row(
                    f"comodo loss, queue {queue:,}, batch and width {BATCH}, forward and backward, "
                    f"{where}",
                    f"direct formulation: {ms['direct']:,.1f} ms, {memory['direct']:,.1f} MiB",
                    f"{ms['ours']:,.1f} ms, {memory['ours']:,.1f} MiB",
                    f"{speedup:.2f}x, {memory['ours'] / memory['direct']:.2f} of the memory",
                    f"{GOALS[queue]}, a third of the memory; its products run at "
                    f"{rate / ceiling:.0%} of a large one's speed",
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, nargs="+", default=list(GOALS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", choices=LOSSES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(own_peak_growth_mib(args.memory_of, args.queues[0], args.device))
        return
    print(machine(args.device))
    print(f"batch {BATCH}, width {WIDTH}, float32; medians of {args.repeats} steps in turns")
    mib = {
        queue: {name: peak_growth_mib(name, queue, args.device) for name in LOSSES}
        for queue in args.queues
    }
    compare(args.queues, args.device, args.repeats, mib)


if __name__ == "__main__":
    main()
