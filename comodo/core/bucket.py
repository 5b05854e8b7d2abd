"""A bucket, mirrored in a folder of this machine through fsspec (S3, Google, Azure ...).

The bucket is the truth: a file is uploaded before it appears in the folder, and what the bucket no
longer has is removed from the folder. Knows paths and versions, nothing of what the files mean.
"""

import errno
import fcntl
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs
from fsspec.utils import glob_translate

from comodo.core.errors import StoreError

RETRY_WAITS = (2.0, 10.0, 30.0)
"""Seconds before another try, each after some 10 s in which the libraries try by themselves."""
LARGE_FILE_BYTES = (
    32 * 2**20
)  # bytes of a file that is downloaded alone: its parts come side by side
PARALLEL_DOWNLOADS = 32  # small files
DOWNLOAD_SLOTS = 64  # for downloads, each for one process at a time
EXTRAS = {"s3": "pip install 'comodo[s3]'", "gs": "pip install gcsfs", "az": "pip install adlfs"}
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
MODIFIED_KEYS = ("LastModified", "last_modified", "mtime", "updated", "created")
"""When a file was, in the words of several services."""
_T = TypeVar("_T")


class Bucket:
    """What lies under a URL, and the folder that mirrors it.

    Raises:
        StoreError: of every method, when the bucket cannot be used. Before the first answer it is
            raised at once; later, for the network may come back, after some tries.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, root
        self._answered = False
        scheme = url.split(":", 1)[0]
        try:
            # Listings are never cached: other machines write too.
            self._fs, self._base = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            mend = EXTRAS.get(scheme, "name a folder, s3://BUCKET/PREFIX or another URL of fsspec")
            raise StoreError(f"{url}: {error}; {mend}") from None

    def put(self, source: Path, path: Path) -> None:
        """Uploads a file to be `path`, and gives it the time that its copies have everywhere."""

        def upload() -> dict[str, Any]:
            self._fs.put_file(str(source), self._name(path))
            return self._fs.info(self._name(path))

        os.utime(source, ns=(_stamp(self._try(upload)),) * 2)

    def put_tree(self, source: Path, folder: Path, last: str) -> None:
        """Uploads a folder to take the place of what the bucket has as `folder`. The file named
        `last` goes first and comes last: what has it is whole."""
        there, described = self.sizes(folder, "**/*"), source / last
        self.remove(folder / last)
        made = {folder / p.relative_to(source): p for p in source.rglob("*") if p.is_file()}
        for path in there.keys() - made.keys():
            self.remove(path)
        for path, file in sorted(made.items(), key=lambda one: one[1] == described):
            self.put(file, path)

    def create(self, path: Path, text: str) -> bool:
        """Makes a file if nobody has; of several who try one succeeds."""
        name = self._name(path)
        try:
            self._try(lambda: self._fs.pipe_file(name, text.encode(), mode="create"))
        except FileExistsError:
            return False
        return True

    def remove(self, path: Path) -> None:
        """Removes a file or a folder from the bucket, if it is there."""
        with suppress(FileNotFoundError):
            self._try(lambda: self._fs.rm(self._name(path), recursive=True), absent_ok=True)

    def open(self, path: Path) -> BinaryIO:
        """A file of the bucket for reading a little of it; raises FileNotFoundError."""
        return self._try(
            lambda: self._fs.open(self._name(path), "rb", cache_type="none"), absent_ok=True
        )

    def sizes(self, folder: Path, *patterns: str) -> dict[Path, int]:
        """Bytes of the bucket's files under a folder that match a pattern relative to it."""
        return {path: info["size"] for path, info in self._list(folder, patterns).items()}

    def fetch(self, path: Path, patterns: Collection[str], names: Collection[str] = ()) -> None:
        """Makes a file, or the files of a folder, what they are in the bucket.

        Args:
            patterns: of the files of a folder, relative to it; none: all files.
            names: folders in the folder, to which patterns are relative then; none: itself.
        """
        with self._place(path) as place:
            while True:
                # Looked at first: what another process adds meanwhile is not in this listing.
                here = {file: file.stat() for file in self._here(path, patterns, names)}
                there = self._list(path, patterns, names)
                for gone in here.keys() - there.keys():
                    gone.unlink(missing_ok=True)
                    with suppress(OSError):  # its folder may have other files
                        gone.parent.rmdir()
                stale = {
                    file: info
                    for file, info in there.items()
                    if file not in here
                    or (here[file].st_size, here[file].st_mtime_ns) != (info["size"], _stamp(info))
                }
                with suppress(FileNotFoundError):  # one was removed meanwhile: look again
                    return self._download(stale, place)

    def _download(self, files: dict[Path, dict[str, Any]], place: Path) -> None:
        """Raises FileNotFoundError when the bucket has lost one."""
        large = [[file] for file, info in files.items() if info["size"] > LARGE_FILE_BYTES]
        small = [file for file, info in files.items() if info["size"] <= LARGE_FILE_BYTES]
        for batch in [
            *large,
            *(small[i : i + PARALLEL_DOWNLOADS] for i in range(0, len(small), PARALLEL_DOWNLOADS)),
        ]:
            incoming = [place / str(number) for number in range(len(batch))]
            named = list(map(self._name, batch)), list(map(str, incoming))
            self._try(partial(self._fs.get, *named), absent_ok=True)
            for file, got in zip(batch, incoming, strict=True):
                if got.stat().st_size != files[file]["size"]:  # it was written anew meanwhile
                    raise FileNotFoundError(file)
                os.utime(got, ns=(_stamp(files[file]),) * 2)
                file.parent.mkdir(parents=True, exist_ok=True)
                os.replace(got, file)

    @contextmanager
    def _place(self, path: Path) -> Iterator[Path]:
        """A folder for downloads. Another process of this machine that wants the same path waits,
        and finds it there."""
        place = self.root / ".incoming" / str(zlib.crc32(str(path).encode()) % DOWNLOAD_SLOTS)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
                place.mkdir()
                yield place
                shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            if error.errno not in (*DISK_FULL_ERRORS, errno.EACCES, errno.EROFS):
                raise
            raise StoreError(
                f"{self.url}: its cache {self.root} cannot be written ({error.strerror}); make "
                "room, or name another folder in COMODO_CACHE (the cache can be deleted)"
            ) from None

    def _here(
        self, path: Path, patterns: Collection[str], names: Collection[str]
    ) -> Iterator[Path]:
        """What the folder has of the files that are fetched."""
        if path.is_file():
            yield path
        for folder in [path / name for name in names] or [path]:
            for pattern in patterns or ["**/*"]:
                for file in folder.glob(pattern):
                    below = file.relative_to(path).parts
                    if file.is_file() and not any(part.startswith(".") for part in below):
                        yield file

    def _list(
        self, folder: Path, patterns: Collection[str], names: Collection[str] = ()
    ) -> dict[Path, dict[str, Any]]:
        """The bucket's files, and what it tells of them."""
        base = self._name(folder)
        prefix = "".join(patterns).split("*", 1)[0] if len(patterns) == 1 and not names else ""
        found = self._try(lambda: self._fs.find(base, detail=True, prefix=prefix))
        listed = {}
        for name, info in found.items():
            below = name[len(base) :].lstrip("/")
            first, _, rest = below.partition("/") if names else ("", "", below)
            if (not names or first in names) and (not below or _matches(rest, patterns)):
                listed[folder / below if below else folder] = info
        return listed

    def _name(self, path: Path) -> str:
        below = path.relative_to(self.root).as_posix()
        return self._base if below == "." else f"{self._base.rstrip('/')}/{below}"

    def _try(self, call: Callable[[], _T], absent_ok: bool = False) -> _T:
        """Raises StoreError; FileExistsError; FileNotFoundError where a file may be absent; and
        OSError of a full disk."""
        for wait in [*(RETRY_WAITS if self._answered else ()), None]:
            try:
                found = call()
            except FileExistsError:
                raise
            except FileNotFoundError as error:
                if absent_ok:
                    raise
                raise StoreError(
                    f"{self.url}: {error}; make the bucket, or name another with --store or "
                    "COMODO_STORE"
                ) from None
            except Exception as error:  # of the libraries of many services
                if isinstance(error, OSError) and error.errno in DISK_FULL_ERRORS:
                    raise
                refused = isinstance(error, PermissionError) or "Credential" in type(error).__name__
                if wait is None or refused:
                    raise StoreError(self._told(error, refused)) from error
                time.sleep(wait)
            else:
                self._answered = True
                return found
        raise AssertionError  # the last wait is None

    def _told(self, error: Exception, refused: bool) -> str:
        reason = f"{self.url}: {type(error).__name__}: {error}; "
        if refused:
            return reason + (
                "give credentials that may read and write there: for S3 AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the machine's role"
            )
        return reason + (
            "the store cannot be reached; look at the network and, for an S3 that is not Amazon's, "
            "AWS_ENDPOINT_URL; then the same command goes on"
        )


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(glob_translate(pattern))


def _matches(name: str, patterns: Collection[str]) -> bool:
    return not patterns or any(_compiled(pattern).match(name) for pattern in patterns)


def _stamp(info: dict[str, Any]) -> int:
    """The time of a file's version in ns, the same on all machines: the second in which it was
    uploaded, and in place of its fraction, which services do not tell, a hash of the version."""
    found = next(info[key] for key in MODIFIED_KEYS if info.get(key) is not None)
    seconds = int(found.timestamp() if isinstance(found, datetime) else float(found))
    version = str(info.get("ETag") or info.get("etag") or found)
    return seconds * 10**9 + zlib.crc32(version.encode()) % 10**9
