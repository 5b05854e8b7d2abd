"""What the benchmarks share: timing in turns, the machine and its ceilings, rows of the table.

Knows nothing about what is measured, and neither Ray nor MLflow.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")

ROW = "row "  # starts the lines that the table of docs/performance.md is made from


class Row(NamedTuple):
    """A row of docs/performance.md: what was measured at which size, the baseline, the outcome."""

    what: str
    baseline: str
    ours: str
    ratio: str
    goal: str
    """What was aimed at, and the bound where one is reached."""


def show(row: Row) -> None:
    print(f"{ROW}| {' | '.join(row)} |", flush=True)


def in_turns(repeats: int, sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of what each side returns. The sides take turns; the first round is a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, measure in sides.items():
            value = measure()
            if repeat:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(call: Callable[[], object], device: str = "cpu") -> float:
    """Wall-clock time of a call, including the work that it queued on the device."""
    _synchronise(device)
    began = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def in_fresh_process(call: Callable[..., Value], *arguments: object) -> Value:
    """The result of a module's function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def machine(device: str = "cpu", *packages: str) -> str:
    """One line: processor or GPU, cores, load, versions of Python, torch and other packages."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        name = f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", *packages))
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{name}, {load}; Python {platform.python_version()}, {versions}"


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def matrix_ceiling(device: str, dtype: torch.dtype = torch.float32, size: int = 2048) -> float:
    """FLOP/s of a large square matrix product, the best of five."""
    if device == "cuda":
        size *= 4
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _best(lambda: a @ b, device)


def copy_ceiling(device: str, megabytes: int = 512) -> float:
    """Bytes/s read and written by a copy of a large array, the best of five."""
    source: Tensor = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device)


def _best(call: Callable[[], object], device: str) -> float:
    call()
    return min(seconds(call, device) for _ in range(5))
