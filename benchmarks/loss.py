"""The comodo loss against the direct formulation: time and memory, forward and backward.

    python benchmarks/loss.py --queues 1024 4096 16384 65536 --repeats 7

Both start from the same queue of unit-length keys. Times are medians of interleaved repeats; memory
is the growth of the peak resident size of a process of its own over the inputs.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from comodo.losses import comodo_loss

BATCH, WIDTH = 128, 128
TEACHER_TEMPERATURE, STUDENT_TEMPERATURE = 0.1, 0.05
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


def seconds(loss: Loss, student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> float:
    student_BD.grad = None
    if student_BD.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    loss(student_BD, teacher_BD, queue_QD).backward()
    if student_BD.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peak_growth_mib(name: str, queue: int, device: str) -> float:
    """Peak memory over the inputs, in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--queues", str(queue)]
    command += ["--device", device]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(name: str, queue: int, device: str) -> float:
    student_BD, teacher_BD, queue_QD = inputs(queue, device)
    seconds(LOSSES[name], student_BD, teacher_BD, queue_QD[:16])  # what is loaded at first use
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        seconds(LOSSES[name], student_BD, teacher_BD, queue_QD)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    before = resident_kib("VmRSS")
    seconds(LOSSES[name], student_BD, teacher_BD, queue_QD)
    return (resident_kib("VmHWM") - before) / 2**10


def resident_kib(which: str) -> int:
    """The process's resident size now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, nargs="+", default=[1024, 4096, 16_384, 65_536])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--measure", choices=LOSSES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.measure:
        print(measure(arguments.measure, arguments.queues[0], arguments.device))
        return
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.machine()
    print(f"{where}, one thread, torch {torch.__version__}, batch {BATCH}, width {WIDTH}, float32")
    print("queue | direct ms | ours ms | direct/ours | direct MiB | ours MiB")
    for queue in arguments.queues:
        tensors = inputs(queue, arguments.device)
        times: dict[str, list[float]] = {name: [] for name in LOSSES}
        for repeat in range(arguments.repeats + 1):
            for name, loss in LOSSES.items():
                spent = seconds(loss, *tensors)
                if repeat:  # the first warms up
                    times[name].append(1000 * spent)
        middle = {name: statistics.median(values) for name, values in times.items()}
        memory = {name: peak_growth_mib(name, queue, arguments.device) for name in LOSSES}
        print(
            f"{queue:6} | {middle['direct']:9.2f} | {middle['ours']:7.2f} | "
            f"{middle['direct'] / middle['ours']:11.2f} | {memory['direct']:10.1f} | "
            f"{memory['ours']:8.1f}"
        )


if __name__ == "__main__":
    main()
