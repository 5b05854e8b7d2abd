"""How this process allocates memory."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h (`man 3 mallopt`)
MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets this process use freed memory again, for loops that allocate and free large arrays; also
    in threads that it starts later.

    By default the GNU C library gives large blocks back to the kernel at once, which then clears
    the same pages again and again: half of the CPU time of EfficientNet-Lite0. The process stays as
    large as it was once. Other C libraries stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MOST)
        mallopt(M_ARENA_MAX, 1)  # other arenas, of threads, have no room for large blocks
