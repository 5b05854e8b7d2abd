"""What a disk promises and what it refuses. Knows nothing of stores."""

import errno
import os
import re
import shutil
from pathlib import Path

from comodo.core.errors import StoreError

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # as some network disks


def sync(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, would outlast a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(opened)


def disk_error(path: Path, temporary: Path, error: Exception) -> StoreError | None:
    """A StoreError if the disk is full or read-only, so that `path` cannot be written by way of
    `temporary`; None if the error has another cause."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):  # safetensors
        number = int(found[1])
    if number is None:  # torch gives no number: see whether more can be written
        try:
            with temporary.open("ab") as file:
                file.write(bytes(1 << 16))
        except OSError as refused:
            number = refused.errno
    if number not in CANNOT_WRITE:
        return None
    parent = next(folder for folder in path.parents if folder.exists())
    reason = f"{os.strerror(number)}; {shutil.disk_usage(parent).free:,} bytes are free there"
    fix = "free some space, or make it writable, and run this command again: finished work is kept"
    return StoreError("store.not-writable", f"{path} cannot be written: {reason}; {fix}")
