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
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs
from fsspec.utils import glob_translate

from comodo.core.errors import StoreError
from comodo.core.paths import inside

RETRY_WAITS = (2.0, 10.0, 30.0)  # seconds; each try of the libraries takes about 10 s
LARGE_FILE_BYTES = 32 * 2**20  # a larger file is downloaded alone, its parts in parallel
PARALLEL_DOWNLOADS = 32  # small files at once
DOWNLOAD_SLOTS = 64  # folders for incoming files, each used by one process at a time
EXTRAS = {"s3": "pip install s3fs", "gs": "pip install gcsfs", "az": "pip install adlfs"}
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
MODIFIED_KEYS = ("LastModified", "last_modified", "mtime", "updated", "created")  # by service
_T = TypeVar("_T")


class Bucket:
    """The files under a URL, and the folder that mirrors them. Every method raises StoreError when
    the bucket cannot be used: at once if it has never answered, later only after retries."""

    OF = "store"  # begins the codes of errors
    RIGHTS = "read and write"
    OTHER = "create the bucket, or choose another with --store or COMODO_STORE"

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, root
        self._answered = False
        scheme = url.split(":", 1)[0]
        try:
            # Listings are never cached: other machines write too.
            self._fs, self._base = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            fix = EXTRAS.get(scheme, "use a folder, s3://BUCKET/PREFIX or another fsspec URL")
            raise StoreError(f"{self.OF}.unknown-protocol", f"{url}: {error}; {fix}") from None

    def put(self, source: Path, path: Path) -> None:
        """Uploads a file as `path` and sets the modification time that all copies of it have."""
        self._try(lambda: self._fs.put_file(str(source), self._name(path)))
        info = self._try(lambda: self._fs.info(self._name(path)))
        os.utime(source, ns=(_stamp(info),) * 2)

    def put_tree(self, source: Path, folder: Path, last: str) -> None:
        """Uploads a folder in place of `folder`. The file named `last` is removed first and
        uploaded last: a folder that has it is complete."""
        uploaded, marker = self.sizes(folder, "**/*"), source / last
        self.remove(folder / last)
        new = {folder / p.relative_to(source): p for p in source.rglob("*") if p.is_file()}
        for path in uploaded.keys() - new.keys():
            self.remove(path)
        for path, file in sorted(new.items(), key=lambda pair: pair[1] == marker):
            self.put(file, path)

    def create(self, path: Path, text: str) -> bool:
        """Creates a file unless it exists; of several processes that try, one succeeds."""
        try:
            self._try(lambda: self._fs.pipe_file(self._name(path), text.encode(), mode="create"))
        except FileExistsError:
            return False
        return True

    def remove(self, path: Path) -> None:
        """Removes a file or a folder from the bucket, if it exists."""
        with suppress(FileNotFoundError):
            self._try(lambda: self._fs.rm(self._name(path), recursive=True), absent_ok=True)

    def open(self, path: Path) -> BinaryIO:
        """Opens a file of the bucket to read a part of it; raises FileNotFoundError."""
        name = self._name(path)
        return self._try(lambda: self._fs.open(name, "rb", cache_type="none"), absent_ok=True)

    def sizes(self, folder: Path, *patterns: str) -> dict[Path, int]:
        """Sizes in bytes of the files in a folder that match a pattern relative to it."""
        return {path: info["size"] for path, info in self._list(folder, patterns).items()}

    def versions(self, folder: Path) -> dict[Path, tuple[int, int]]:
        """Sizes in bytes and modification times in ns, as all copies have them, of the files that
        are directly in a folder."""
        with suppress(FileNotFoundError):
            name = self._name(folder)
            found = self._try(lambda: self._fs.ls(name, detail=True), absent_ok=True)
            files = [info for info in found if info["type"] == "file"]
            return {folder / Path(f["name"]).name: (f["size"], _stamp(f)) for f in files}
        return {}

    def fetch(self, path: Path, patterns: Collection[str], names: Collection[str] = ()) -> None:
        """Makes a file, or the files of a folder, the same as in the bucket: downloads those that
        differ and removes those that the bucket does not have. `patterns` select files (none: all)
        of the folder or, if `names` are given, of its subfolders with these names."""
        with self._download_slot(path) as slot:
            while True:
                # Local files first: what another process adds meanwhile must not look removed.
                local = {file: file.stat() for file in self._local(path, patterns, names)}
                remote = self._list(path, patterns, names)
                for gone in local.keys() - remote.keys():
                    gone.unlink(missing_ok=True)
                    with suppress(OSError):  # its folder may have other files
                        gone.parent.rmdir()
                known = {file: (stat.st_size, stat.st_mtime_ns) for file, stat in local.items()}
                stale = {
                    file: info
                    for file, info in remote.items()
                    if known.get(file) != (info["size"], _stamp(info))
                }
                with suppress(FileNotFoundError):  # one was removed meanwhile: list again
                    return self._download(stale, slot)

    def _download(self, files: dict[Path, dict[str, Any]], slot: Path) -> None:
        """Raises FileNotFoundError when the bucket no longer has one of the files."""
        large = [[file] for file, info in files.items() if info["size"] > LARGE_FILE_BYTES]
        small = [file for file, info in files.items() if info["size"] <= LARGE_FILE_BYTES]
        starts = range(0, len(small), PARALLEL_DOWNLOADS)
        for batch in large + [small[i : i + PARALLEL_DOWNLOADS] for i in starts]:
            incoming = [slot / str(number) for number in range(len(batch))]
            pairs = list(map(self._name, batch)), list(map(str, incoming))
            self._try(partial(self._fs.get, *pairs), absent_ok=True)
            for file, got in zip(batch, incoming, strict=True):
                if got.stat().st_size != files[file]["size"]:  # it was replaced meanwhile
                    raise FileNotFoundError(file)
                os.utime(got, ns=(_stamp(files[file]),) * 2)
                file.parent.mkdir(parents=True, exist_ok=True)
                os.replace(got, file)

    @contextmanager
    def _download_slot(self, path: Path) -> Iterator[Path]:
        """A folder for incoming files. Another process of this machine that wants the same path
        waits, and then finds it downloaded."""
        slot = self.root / ".incoming" / str(zlib.crc32(str(path).encode()) % DOWNLOAD_SLOTS)
        try:
            slot.parent.mkdir(parents=True, exist_ok=True)
            with slot.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(slot, ignore_errors=True)  # left by a process that was killed
                slot.mkdir()
                yield slot
                shutil.rmtree(slot, ignore_errors=True)
        except OSError as error:
            if error.errno not in (*DISK_FULL_ERRORS, errno.EACCES, errno.EROFS):
                raise
            fix = "free some space (the cache can be deleted), or set COMODO_CACHE"
            message = f"{self.url}: its cache {self.root} cannot be written ({error.strerror})"
            raise StoreError(f"{self.OF}.cache-not-writable", f"{message}; {fix}") from None

    def _local(
        self, path: Path, patterns: Collection[str], names: Collection[str]
    ) -> Iterator[Path]:
        """The files of the mirror that `fetch` compares with the bucket's."""
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
        """The bucket's files with their details as the service gives them. Raises StoreError for a
        name that leads out of the folder: others may write to the bucket."""
        base = self._name(folder)
        prefix = "".join(patterns).split("*", 1)[0] if len(patterns) == 1 and not names else ""
        found = self._try(lambda: self._fs.find(base, detail=True, prefix=prefix))
        matching = re.compile("|".join(map(glob_translate, patterns)))  # none: matches every name
        listed = {}
        for name, info in found.items():
            below = name[len(base) :].removeprefix("/")
            first, _, rest = below.partition("/") if names else ("", "", below)
            if name.endswith("/"):  # of a folder that somebody created in a console
                continue
            if (not names or first in names) and (not below or matching.match(rest)):
                try:
                    listed[inside(folder, below) if below else folder] = info
                except ValueError as error:
                    message = f"{self.url}: {error}; remove the object {name}"
                    raise StoreError(f"{self.OF}.bad-name", message) from None
        return listed

    def _name(self, path: Path) -> str:
        below = path.relative_to(self.root).as_posix()
        return self._base if below == "." else f"{self._base.rstrip('/')}/{below}"

    def _try(self, call: Callable[[], _T], absent_ok: bool = False) -> _T:
        """The call's result, after retries. Raises StoreError; passes on FileExistsError,
        FileNotFoundError if `absent_ok`, and the OSError of a full disk."""
        for wait in [*(RETRY_WAITS if self._answered else ()), None]:
            try:
                found = call()
            except FileExistsError:
                raise
            except FileNotFoundError as error:
                if absent_ok:
                    raise
                code, message = f"{self.OF}.no-such-bucket", f"{self.url}: {error}; {self.OTHER}"
                raise StoreError(code, message) from None
            except Exception as error:  # each service's library has its own
                if isinstance(error, OSError) and error.errno in DISK_FULL_ERRORS:
                    raise
                refused = isinstance(error, PermissionError) or "Credential" in type(error).__name__
                if wait is None or refused:
                    raise self._unusable(error, refused) from error
                time.sleep(wait)
            else:
                self._answered = True
                return found
        raise AssertionError  # the last wait is None

    def _unusable(self, error: Exception, refused: bool) -> StoreError:
        if refused:
            code = f"{self.OF}.access-denied"
            fix = (
                f"give credentials that may {self.RIGHTS} there: for S3 AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the machine's role"
            )
        else:
            code = f"{self.OF}.unreachable"
            fix = (
                "the bucket cannot be reached; check the network and, for an S3 service other "
                "than Amazon's, AWS_ENDPOINT_URL; then the same command continues"
            )
        return StoreError(code, f"{self.url}: {type(error).__name__}: {error}; {fix}")


class InputBucket(Bucket):
    """A bucket of the user's own files, which are only read."""

    OF, RIGHTS, OTHER = "recordings", "read", "correct the path"


def _stamp(info: dict[str, Any]) -> int:
    """A modification time in ns that identifies a file's version on all machines: the second of its
    upload, with a hash of the version as the fraction, which services do not give."""
    found = next(info[key] for key in MODIFIED_KEYS if info.get(key) is not None)
    seconds = int(found.timestamp() if isinstance(found, datetime) else float(found))
    version = str(info.get("ETag") or info.get("etag") or found)
    return seconds * 10**9 + zlib.crc32(version.encode()) % 10**9
