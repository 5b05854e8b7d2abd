"""CPUs and memory that this process was given."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from comodo.core.machine import usable_cpus, usable_memory
from tests.paths import ROOT

HAS_AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only on Linux")
GIB = 1 << 30


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    """`/proc/self/cgroup` and files of control groups, as Linux has them."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@HAS_AFFINITY
def test_cpus_are_those_of_the_affinity() -> None:
    code = "from comodo.core.machine import usable_cpus; print(usable_cpus())"
    first = str(min(os.sched_getaffinity(0)))
    one = subprocess.run(
        ["taskset", "-c", first, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert one.stdout.strip() == "1"


@HAS_AFFINITY
@pytest.mark.parametrize(
    ("quota", "cpus"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_quota_of_this_group_or_one_above_limits_the_cpus(
    tmp_path: Path, quota: str, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    above, own = "sys/fs/cgroup/job/cpu.max", "sys/fs/cgroup/job/step/cpu.max"
    for limited, other in ((above, own), (own, above)):
        files = {limited: quota, other: "max 100000"}
        assert usable_cpus(tree(tmp_path, "0::/job/step\n", files)) == cpus
    elsewhere = {"sys/fs/cgroup/other/cpu.max": "100000 100000"}
    assert usable_cpus(tree(tmp_path / "b", "0::/job/step\n", elsewhere)) == 8


@HAS_AFFINITY
def test_the_first_version_of_control_groups_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    groups = "5:memory:/job\n4:cpu,cpuacct:/job\n0::/\n"
    files = {
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    root = tree(tmp_path, groups, files)
    assert usable_cpus(root) == 3
    assert usable_memory(root) == GIB


def test_memory_is_the_smallest_limit_or_all(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    files = {
        "sys/fs/cgroup/job/memory.max": str(2 * GIB),
        "sys/fs/cgroup/job/step/memory.max": "max",
    }
    assert usable_memory(tree(tmp_path, "0::/job/step\n", files)) == 2 * GIB
    assert usable_memory(tree(tmp_path / "b", "0::/\n", {})) == total
    assert usable_memory(tmp_path / "nowhere") == total
