"""Measures one network: parameters, FLOPs, size on disk, and latency, memory and energy for one
window on one CPU thread.

`profiling` runs it in a fresh process for each network, so that none adds to another's memory.
Knows neither trials nor the store.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from comodo.config import TeacherConfig
from comodo.core.memory import memory_held, settle
from comodo.core.store import write_json

WARM_UP = (2, 50, 1.0)  # minimum and maximum number of runs, seconds
REPEATS = (10, 300, 15.0)
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Network:
    """What to measure."""

    kind: Literal["teacher", "student", "onnx"]
    source: Any
    """A teacher's settings, a student's folder, or an ONNX file."""
    samples: int = 0
    """Of a window, for a student."""
    code: str | None = None
    """Of a custom student the SHA-256 of its code, if that may run."""


@dataclass(frozen=True)
class Footprint:
    """The resources that one network needs. None: cannot be measured here."""

    takes: str
    """The input: one window."""
    parameters: int | None
    flops: int | None
    """Two for each multiply-add of matrix products, convolutions and attention, no others."""
    disk: int
    """Bytes of the file; of a teacher, of its loaded weights."""
    runs: int
    latency: float
    """Seconds for one window, the median of the runs."""
    latency_p95: float
    memory: int | None
    """Bytes: peak while loading and running it, beyond the process with its libraries."""
    process: int | None
    """Bytes: peak of the whole process, including libraries."""
    joules: float | None
    """Of the whole processor for one window, including other work."""


@dataclass(frozen=True)
class _Loaded:
    takes: str
    disk: int
    run: Callable[[], Any]
    module: Any = None
    """The torch module, of which parameters and FLOPs can be counted."""


def measure_footprint(network: Network) -> Footprint:
    """Measures in this process, which should have done nothing else; raises ValueError, OSError or
    ImportError if the network cannot be loaded here."""
    load_network(network).run()  # libraries import and initialise; its memory is freed
    before = settle()
    loaded = load_network(network)
    repeat(loaded.run, *WARM_UP)
    counters = energy_counters()
    energy = read_energy(counters)
    seconds = repeat(loaded.run, *REPEATS)
    joules = joules_between(energy, read_energy(counters), counters)
    peak = memory_held("VmHWM")
    module, runs = loaded.module, len(seconds)
    return Footprint(
        takes=loaded.takes,
        parameters=sum(p.numel() for p in module.parameters()) if module else None,
        flops=count_flops(loaded.run) if module else None,
        disk=loaded.disk,
        runs=runs,
        latency=float(np.median(seconds)),
        latency_p95=float(np.quantile(seconds, 0.95)),
        memory=None if peak is None or before is None else max(0, peak - before),
        process=peak,
        joules=None if joules is None else joules / runs,
    )


def load_network(network: Network) -> _Loaded:
    """The network, ready to run one random window."""
    if network.kind == "onnx":
        return _onnx(Path(network.source))
    import torch

    torch.set_num_threads(1)
    if network.kind == "teacher":
        from comodo.models.teachers import build_teacher

        context = {"read_back": True}  # loading will show whether the weights exist
        teacher = build_teacher(TeacherConfig.model_validate(network.source, context=context))
        size = teacher.image_size
        frames_1FHW3 = torch.randint(0, 256, (1, teacher.frames, size, size, 3), dtype=torch.uint8)
        disk = sum(tensor.nbytes for tensor in teacher.state_dict().values())
        takes = f"{teacher.frames} decoded frames of {size} x {size} pixels"
        return _Loaded(takes, disk, lambda: teacher(frames_1FHW3), teacher)
    from comodo.models.students import load_student

    folder = Path(network.source)
    student = load_student(folder, network.code).eval()
    imu_1CT = torch.randn(1, len(student.channels), network.samples)
    run = torch.inference_mode()(partial(student, imu_1CT))
    disk = sum(file.stat().st_size for file in folder.iterdir())
    takes = f"{network.samples} samples of {len(student.channels)} channels"
    return _Loaded(takes, disk, run, student)


def _onnx(path: Path) -> _Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in taken.shape]  # any number of windows
    imu_1CR = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    takes = f"{shape[2]} samples of {shape[1]} channels"
    return _Loaded(takes, path.stat().st_size, lambda: session.run(None, {taken.name: imu_1CR}))


def repeat(run: Callable[[], Any], min_runs: int, max_runs: int, seconds: float) -> list[float]:
    """Seconds of each run: at least `min_runs`, then up to `max_runs` until `seconds` are over."""
    taken: list[float] = []
    while len(taken) < min_runs or (len(taken) < max_runs and sum(taken) < seconds):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return taken


def count_flops(run: Callable[[], Any]) -> int:
    """As in `Footprint.flops`, counted by torch.utils.flop_counter while it runs."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def energy_counters(root: Path = POWERCAP) -> list[Path]:
    """Folders of the counters of whole processors (Linux powercap, RAPL) that can be read."""
    # intel-rapl:0:1 and the like are parts of intel-rapl:0.
    folders = [folder for folder in root.glob("intel-rapl:*") if folder.name.count(":") == 1]
    return sorted(folder for folder in folders if os.access(folder / "energy_uj", os.R_OK))


def read_energy(counters: list[Path]) -> list[int]:
    """Microjoules on each counter."""
    return [int((folder / "energy_uj").read_text()) for folder in counters]


def joules_between(before: list[int], after: list[int], counters: list[Path]) -> float | None:
    """Energy over all counters, which wrap around at their maximum; None without counters."""
    if not counters:
        return None
    ends = [int((folder / "max_energy_range_uj").read_text()) for folder in counters]
    spent = [(b - a) % (end + 1) for a, b, end in zip(before, after, ends, strict=True)]
    return sum(spent) / 1e6


def main(network: str, answer: str) -> None:
    """Measures the network in a JSON text; writes its footprint, or an error, to a file."""
    try:
        found = asdict(measure_footprint(Network(**json.loads(network))))
    except (ValueError, OSError, ImportError) as error:
        found = {"error": str(error).strip() or type(error).__name__}
    write_json(Path(answer), found)


if __name__ == "__main__":
    main(*sys.argv[1:])
