"""What this process was given of its machine: CPUs by affinity and control group, memory by control
group. Batch systems, containers and `taskset` give less than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

UNLIMITED = 1 << 60  # bytes; version 1 of control groups writes a number near 2^63 for no limit


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use, at least 1; a part of one, as by a quota of 2.5, counts as
    none. `root`: where `proc` and `sys` are."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        cpus = os.cpu_count() or 1
    return max(1, int(min([float(cpus), *_quotas(root)])))


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use."""
    return min([psutil.virtual_memory().total, *_memory_limits(root)])


def _quotas(root: Path) -> Iterator[float]:
    for folder in _groups(root, ""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit():
            yield int(quota) / int(period)
    for folder in _groups(root, "cpu"):
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit():  # -1: no limit
            yield int(quota) / int(period)


def _memory_limits(root: Path) -> Iterator[int]:
    files = [folder / "memory.max" for folder in _groups(root, "")]
    files += [folder / "memory.limit_in_bytes" for folder in _groups(root, "memory")]
    for file in files:
        if (limit := _text(file)).isdigit() and int(limit) < UNLIMITED:
            yield int(limit)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from its own to the root; an empty
    controller: those of version 2, which has one tree for all (`man 7 cgroups`)."""
    top = root / "sys/fs/cgroup" / controller
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # no control groups, or not readable from a container
        return ""
