"""The user's files in buckets, such as `s3://bucket/recordings/a.mp4`: their versions, and copies
on this machine.

Versions come from listings, without a download. A copy is downloaded when it is read, and stays in
the cache. All copies together take no more than they leave free on the disk: those that were read
longest ago are removed, but none that is being read. Nothing is ever written to these buckets.
Knows nothing of what the files mean.
"""

import errno
import fcntl
import os
import posixpath
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from comodo.core.errors import ChangedError, ComodoError, StoreError
from comodo.core.paths import inside, is_url
from comodo.core.store import Fingerprint, cache_folder, fingerprint, mirror_of

if TYPE_CHECKING:  # its libraries are slow to import, and needed for buckets alone
    from comodo.core.bucket import Bucket

ABSENT: Fingerprint = {"size": 0, "modified_ns": 0}  # as of a file that is not there
FOLDER = "recordings"  # in the cache


class InputError(ComodoError, RuntimeError):
    """A bucket has no object of this name."""


def changed(file: str) -> ChangedError:
    """The error of a file that has another version than the one in the key."""
    fix = "run the same command again to make windows and features from the new file"
    message = f"{file} was replaced while the sweep runs; {fix}"
    return ChangedError("dataset.file-changed", message)


def versions(paths: Iterable[str]) -> dict[str, Fingerprint]:
    """The `fingerprint` of each file, on this machine or in a bucket, of which each folder that has
    one is listed once. Raises StoreError."""
    found: dict[str, Fingerprint] = {}
    listed: dict[Path, dict[Path, tuple[int, int]]] = {}
    for path in paths:
        if not is_url(path):
            found[path] = fingerprint(path)
            continue
        bucket, copy = _place_of(path)
        if copy.parent not in listed:
            listed[copy.parent] = bucket.versions(copy.parent)
        size, modified_ns = listed[copy.parent].get(copy, (0, 0))
        found[path] = {"size": size, "modified_ns": modified_ns}
    return found


def urls_below(folder: str, suffix: str) -> list[str]:
    """URLs of the files at any depth of a bucket's folder whose names end so, in any case, without
    what is hidden. Raises StoreError."""
    bucket, top = _place_of(folder)
    names = [path.relative_to(top) for path in bucket.sizes(top)]
    return [
        f"{folder}/{name.as_posix()}"
        for name in names
        if name.suffix.lower() == suffix and not any(part[0] == "." for part in name.parts)
    ]


def joined(folder: str, written: str) -> str:
    """The URL that a path relative to a URL's folder, or a URL, names: without `.` and `..`."""
    scheme, _, rest = (written if is_url(written) else f"{folder}/{written}").partition("://")
    return f"{scheme}://{posixpath.normpath(rest)}"


@contextmanager
def local_copy(path: str, known: Fingerprint | None = None) -> Iterator[str]:
    """The path by which a file is read within the block: its own or, of a file in a bucket, that of
    its copy. `known`: the version that a file in a bucket has to have.

    Raises InputError if there is no such object, ChangedError if it has another version or is
    replaced during the block, and StoreError if the bucket or the cache cannot be used.
    """
    if not is_url(path):
        yield path
        return
    bucket, copy = _place_of(path)
    with _opened(path, bucket, copy, known) as file:
        version = os.fstat(file.fileno()).st_mtime_ns
        if known is not None and known != fingerprint(copy):
            raise changed(path)
        try:
            yield str(copy)
        finally:  # what fails after that is not the file's fault
            if not copy.exists() or copy.stat().st_mtime_ns != version:
                raise changed(path)


def _absent(url: str) -> InputError:
    message = f"{url}: the bucket has no such object; upload it, or correct the path"
    error = InputError("recordings.no-such-object", message)
    error.__cause__ = FileNotFoundError(errno.ENOENT, "no such object", url)  # it may be uploaded
    return error


def _opened(url: str, bucket: "Bucket", copy: Path, known: Fingerprint | None) -> BinaryIO:
    """The copy, downloaded unless it has the known version, with a lock by which nobody removes it
    while it is open."""
    while True:
        if known == ABSENT:
            raise _absent(url)
        if known is None or fingerprint(copy) != known:
            _make_room(int(known["size"]) if known else 0)
            bucket.fetch(copy, ())
            if not copy.exists() and copy not in bucket.versions(copy.parent):
                raise _absent(url)
        with suppress(FileNotFoundError):  # removed by a process that needed room
            file = copy.open("rb")
            fcntl.flock(file, fcntl.LOCK_SH)
            stat = os.fstat(file.fileno())
            if copy.exists() and copy.stat().st_ino == stat.st_ino:
                os.utime(file.fileno(), ns=(time.time_ns(), stat.st_mtime_ns))
                return file
            file.close()


def _make_room(needed: int) -> None:
    """Removes copies until all of them, with `needed` bytes more, take no more than is left."""
    folder = cache_folder() / FOLDER
    if not folder.exists():
        return
    free = shutil.disk_usage(folder).free - needed
    by_age = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process makes room too
            if ".incoming" not in path.parts and path.is_file():
                by_age.append((path.stat().st_atime_ns, path.stat().st_size, path))
    by_age.sort()
    taken = needed + sum(size for _, size, _ in by_age)
    for _, size, path in by_age:
        if taken <= free:
            return
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # somebody reads it
            path.unlink()
            taken, free = taken - size, free + size


def _place_of(url: str) -> tuple["Bucket", Path]:
    """The bucket of a URL, and where its copy is."""
    scheme, _, rest = url.partition("://")
    name, _, key = rest.partition("/")
    bucket = _bucket(f"{scheme}://{name}", cache_folder() / FOLDER)
    try:
        return bucket, inside(bucket.root, key)
    except ValueError:
        fix = "write BUCKET/FOLDER/NAME after ://"
        raise StoreError("recordings.bad-name", f"{url}: is no name of an object; {fix}") from None


@cache
def _bucket(url: str, folder: Path) -> "Bucket":
    from comodo.core.bucket import InputBucket

    return InputBucket(url, mirror_of(url, folder))
