"""How much memory this process uses."""

import ctypes
import gc
import os
import re
import resource
import sys
from pathlib import Path
from typing import Literal


def settle() -> int | None:
    """Returns freed memory to the system and resets the peak; returns the bytes in use."""
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc has it
        trim(0)
    reset = Path("/proc/self/clear_refs")
    if os.access(reset, os.W_OK):  # otherwise the peak is that since the process started
        reset.write_text("5")
    return memory_held("VmRSS")


def memory_held(what: Literal["VmRSS", "VmHWM"]) -> int | None:
    """Bytes in use now (VmRSS) or at the peak (VmHWM); None if the system does not report them.

    Not ru_maxrss, which a process inherits from its parent.
    """
    status = Path("/proc/self/status")
    found = re.search(rf"{what}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else None


def peak_memory() -> int:
    """The most bytes in use since `settle`, or since the process started where the system does not
    reset it."""
    unit = 1 if sys.platform == "darwin" else 1024  # `man getrusage`: bytes on macOS, else KiB
    return memory_held("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
