"""CPU time of a command and of everything that it starts, daemons included. Linux only.

Ray's processes are not waited for by those that start them, so what a parent is told of its
children (`RUSAGE_CHILDREN`) lacks most of them. Here the kernel counts: a clock of
`perf_event_open` that every process and thread below inherits, and that keeps what those had that
have ended. To show that nothing is missing, the processes are also looked at while they run: what
is seen of them can only be less, by what they did since the last look.

Knows nothing of what the command does.
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
    """CPU seconds, user and system, of a command that ended well."""

    total: float
    """Of all its processes, as the kernel counted them."""
    seen: dict[str, float]
    """What looking at the running processes showed of them, by their names; a lower bound."""
    wall: float


def cpu_time(command: list[str], output: Path) -> Spent:
    """Runs a command until it and all that it started have ended; what it prints goes to a file.

    The caller may have no other children meanwhile: it waits for them all.

    Raises:
        OSError: the kernel does not let this user count.
        RuntimeError: it failed, or more was seen of its processes than was counted.
    """
    clock = _clock_of_children()
    # Orphans below become this process's own children, so that their end can be waited for.
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("cannot become the parent of orphaned processes")
    # A cluster or a server of the user's would do work that is not counted here.
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
    """A file that tells the nanoseconds of CPU time of what this thread starts from here on."""
    flags = DISABLED | INHERIT | EXCLUDE_KERNEL | EXCLUDE_HV | ENABLE_ON_EXEC
    # Excluding the kernel is what users may ask for; of this clock it takes nothing off.
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
