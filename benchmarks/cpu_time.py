"""CPU time of a command and of everything that it starts, daemons included. Linux only.

Ray's parent processes do not wait for their children, so the parent's `RUSAGE_CHILDREN` misses most
of them. Here the kernel counts: a `perf_event_open` clock is inherited by every process and thread
below, and keeps the time of those that have ended. As a check that nothing is missing, the running
processes are also sampled: the sampled time can only be less, by what they did after the last
sample.

Knows nothing about what the command does.
"""

import ctypes
import os
import platform
import struct
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import psutil

LOOK_EVERY = 0.5  # seconds
# Of <linux/prctl.h>, <asm/unistd.h> and <linux/perf_event.h>.
PR_SET_CHILD_SUBREAPER = 36
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
SOFTWARE, TASK_CLOCK, CLOSE_ON_EXEC = 1, 1, 8
DISABLED, INHERIT, EXCLUDE_KERNEL, EXCLUDE_HV, ENABLE_ON_EXEC = (1 << b for b in (0, 1, 5, 6, 12))


class Spent(NamedTuple):
    """CPU seconds, user and system, of a command that succeeded."""

    total: float
    """All its processes, as counted by the kernel."""
    seen: dict[str, float]
    """By process name, from samples of the running processes; a lower bound."""
    wall: float


def cpu_time(command: list[str], output: Path) -> Spent:
    """Runs a command until it and everything that it started have ended; its output goes to a file.

    The caller must have no other children at the same time: it waits for all of them.

    Raises:
        OSError: the kernel does not let this user count.
        RuntimeError: it failed, or more was seen of its processes than was counted.
    """
    clock = _clock_of_children()
    # Orphaned processes become children of this process, so that it can wait for them.
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("cannot become the parent of orphaned processes")
    # Work on the user's own cluster or server would not be counted.
    elsewhere = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    began, looked, code = time.perf_counter(), 0.0, -1
    seen: dict[tuple[int, float], tuple[str, float]] = {}
    with output.open("w") as file:
        started = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # nobody is left
            break
        if pid == started.pid:
            started.returncode = code = os.waitstatus_to_exitcode(status)
        elif not pid:
            if time.perf_counter() - looked > LOOK_EVERY:
                seen |= _look()
                looked = time.perf_counter()
            time.sleep(0.05)
    wall = time.perf_counter() - began
    total = int.from_bytes(os.read(clock, 8), "little") / 1e9
    os.close(clock)
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{output.read_text()[-4000:]}")
    by_name: dict[str, float] = {}
    for name, seconds in seen.values():
        by_name[name] = by_name.get(name, 0.0) + seconds
    if total < 0.99 * sum(by_name.values()):  # /proc counts in hundredths of a second
        raise RuntimeError(f"{total:.1f} CPU s were counted, {sum(by_name.values()):.1f} were seen")
    return Spent(total, by_name, wall)


def _clock_of_children() -> int:
    """A file to read the CPU time, in ns, of everything that this thread starts from now on."""
    flags = DISABLED | INHERIT | EXCLUDE_KERNEL | EXCLUDE_HV | ENABLE_ON_EXEC
    # Unprivileged users must exclude the kernel; for this clock that subtracts nothing.
    attributes = struct.pack("IIQQQQQIIQ", SOFTWARE, 64, TASK_CLOCK, 0, 0, 0, flags, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    call = PERF_EVENT_OPEN[platform.machine()]
    clock: int = libc.syscall(call, attributes, 0, -1, -1, CLOSE_ON_EXEC)
    if clock < 0:
        reason = os.strerror(ctypes.get_errno())
        raise OSError(f"perf_event_open: {reason}; needs kernel.perf_event_paranoid of at most 2")
    return clock


def _look() -> dict[tuple[int, float], tuple[str, float]]:
    """Name and CPU seconds so far of each process below this one, by its id and its start."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
            key = process.pid, process.create_time()
            found[key] = process.name(), times.user + times.system
        except psutil.Error:  # it ended meanwhile
            continue
    return found
