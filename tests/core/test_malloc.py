"""Freed memory is used again."""

import platform
import subprocess
import sys

import pytest

from tests.paths import ROOT

# The first rounds may still get memory from the kernel.
CODE = """
import resource
from threading import Thread
from comodo.core.malloc import keep_freed_memory
{call}
def allocate():
    for round in range(4):
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(100 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
thread = Thread(target=allocate)  # as in an actor of Ray Data
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library")
@pytest.mark.parametrize("call", ["", "keep_freed_memory()"])
def test_freed_memory_is_used_again_without_the_kernel(call: str) -> None:
    code = CODE.format(call=call)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    pages = (100 << 20) // 4096
    assert int(ran.stdout) < pages / 100 if call else int(ran.stdout) > 0
