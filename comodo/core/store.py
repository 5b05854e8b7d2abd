"""The folder, or bucket, of all artifacts, and the hashes that name them.

    windows/<key>/     part-*.parquet, meta.json      paired windows, quality of the recordings
    features/<key>/    part-*, spans-*, meta.json     teacher features by window, spans of video
    simulated/<key>/   manifest.csv, videos, imu      recordings of a simulated data set
    arrays/<key>/      *.safetensors, meta.json       both, packed for training
    trials/<key>/      checkpoint, student, result    one trial, whichever sweep requested it
    videos/            <key>.mp4                      small copies of videos
    profiles/<key>/    profile.md, .json, figures     the cost of a trial's teacher and student
    quality/<name>/    quality.md, .parquet, figures  what `inspect` shows of one data set
    exports/<trial>/   programs, model card           what `export` writes of a trial
    sweeps/<name>/     settings, trials, report       one sweep
    mlflow/            database and artifacts         MLflow's records
    store.json         a random name                  tells stores on one MLflow server apart

A key is a hash of everything that the artifact depends on, so nothing is ever stale; `meta.json` is
written last, so an artifact that has one is complete. Knows nothing of what the artifacts mean.

A store is a folder, or a bucket (`s3://...`) that a folder of each machine mirrors: every file is
written by `atomic`, removed by `remove`, and `fetched` before it is read. In a store that is a
folder, `fetched` does nothing. MLflow's files stay on the machine, but not in that folder: `kept`.

What is written outlasts a loss of power, as far as the disk keeps its promises. A file that cannot
be read all the same (empty, cut off) is printed once and counts as absent: it is made again.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from comodo.core.console import console
from comodo.core.disk import disk_error, sync
from comodo.core.errors import StoreError
from comodo.core.paths import inside

if TYPE_CHECKING:  # pyarrow is slow to import
    from comodo.core.bucket import Bucket

DEFAULT_ROOT = ".comodo"
DEFAULT_CACHE = "~/.cache"
DEFAULT_DATA = "~/.local/share"
PORTABLE = "store:"  # prefix of paths in a store, which may be moved, or mirror a bucket
Fingerprint = dict[str, int | str]
_remotes: dict[Path, "Bucket"] = {}
"""The buckets of this process's stores, by the folder that mirrors each."""
_damaged = set[Path]()
"""Files that this process has reported as damaged."""


def key_of(content: Any) -> str:
    """First 16 hex digits of the SHA-256 of `content` as JSON with sorted keys. Raises TypeError or
    ValueError for content that JSON cannot hold."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(path: str | Path, by_content: bool = False) -> Fingerprint:
    """Identifies the version of an input file by its size and modification time, both 0 if there is
    none; that of a folder (of model weights), wherever it is, by the content of its files: a copy
    may keep the time of its source. Hidden files, as tools write next to weights, do not count.
    `by_content`: a file is identified like a folder, wherever it is."""
    path = Path(path)
    if path.is_dir():
        found = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
        seen = {n: file for n, file in found.items() if not any(p[0] == "." for p in n.parts)}
        return {"content": key_of({n.as_posix(): _content(f) for n, f in seen.items()})}
    if by_content and path.is_file():
        return {"content": _content(path)}
    if not path.is_file():
        return {"size": 0, "modified_ns": 0}
    stat = path.stat()
    return {"size": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _content(file: Path) -> str:
    """SHA-256 of a file, which is not read again while nothing is written to it."""
    stat = file.stat()  # `cp -p` sets back the modification time, but not that of the change
    return _hash(file, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _hash(file: Path, *_version: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _remote_of(path: Path) -> "Bucket | None":
    """The bucket that a file belongs to; None for other files and for temporary ones."""
    for root, remote in _remotes.items():
        if path.is_relative_to(root):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            return None if hidden else remote
    return None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`, renamed to it if the block succeeds and removed if not.

    The file is on the disk before its name, so that a loss of power leaves the old file or the new
    one. The upload comes before the renaming: the folder is never ahead of its bucket. Raises
    StoreError if the disk is full or not writable, or the bucket cannot be reached; nothing has
    changed.
    """
    with _temporary(path) as temporary:
        yield temporary
        sync(temporary)
        if (remote := _remote_of(path)) is not None:
            remote.put(temporary, path)
        os.replace(temporary, path)
        sync(path.parent)


def create(path: Path, text: str) -> bool:
    """Creates a file with all its content at once; False if it exists. Of several processes that
    try at the same time, on any machines, one succeeds. Raises StoreError as `atomic` does."""
    with _temporary(path) as temporary:
        temporary.write_text(text)
        sync(temporary)
        if (remote := _remote_of(path)) is not None:
            if is_new := remote.create(path, text):
                os.replace(temporary, path)  # a copy in the folder is older
            return is_new
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            try:  # a disk without links: others may see the file before its content
                with path.open("x") as file:
                    file.write(text)
            except FileExistsError:
                return False
        sync(path.parent)
    return True


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A path next to `path` that no other process uses, on any machine; removed afterwards."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        new = list(takewhile(lambda folder: not folder.exists(), path.parents))
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in new:
            sync(folder.parent)
        yield temporary
    except Exception as error:
        if (refused := disk_error(path, temporary, error)) is not None:
            raise refused from None
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists."""
    if (remote := _remote_of(path)) is not None:
        remote.remove(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def fetched(path: Path, *patterns: str) -> Path:
    """The same path, after downloading it from the store's bucket: a file, or the files of a folder
    that match a pattern relative to it (none: all). What the bucket does not have is removed."""
    if (remote := _remote_of(path)) is not None:
        remote.fetch(path, patterns)
    return path


def is_present(path: Path) -> bool:
    """Whether a file that never changes exists, after downloading it if necessary."""
    return path.exists() or fetched(path).exists()


def publish(source: Path, folder: Path, last: str) -> None:
    """Uploads `source`, which will be renamed to `folder`; `last`, uploaded last, completes it.
    Its files are on the disk afterwards."""
    for path in [*source.rglob("*"), source]:
        sync(path)
    if (remote := _remote_of(folder)) is not None:
        remote.put_tree(source, folder, last)


def write_json(path: Path, content: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def find_json(path: Path) -> Any | None:
    """The content of a JSON file; None if it is absent or damaged."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        report_damaged(path, error)
        return None


def report_damaged(path: Path, reason: object) -> None:
    """Prints, once in a process, that a file cannot be read and therefore counts as absent."""
    if path not in _damaged:
        _damaged.add(path)
        console.print(
            f"{path} cannot be read ({reason}); it counts as absent", style="yellow", markup=False
        )


def cache_folder() -> Path:
    """The folder of what this machine keeps of buckets; it can be deleted at any time."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or DEFAULT_CACHE)
    return Path(os.environ.get("COMODO_CACHE") or caches / "comodo").expanduser().resolve()


def mirror_of(url: str, folder: Path) -> Path:
    """The folder in `folder` that mirrors a bucket."""
    return folder / f"{re.sub('[^0-9A-Za-z]+', '-', url)}-{key_of(url)[:6]}"


class Store:
    """The folder of all artifacts on this machine; unpickled on another machine, the folder there.

    `root` is a folder, or the fsspec URL of a bucket or of a prefix in one; by default
    $COMODO_STORE, else ./.comodo. A bucket is mirrored in a folder of $COMODO_CACHE, by default
    $XDG_CACHE_HOME/comodo or ~/.cache/comodo, which can be deleted at any time. Raises StoreError
    if no installed library knows the URL's protocol. Attributes: `root`, the folder; `url`, of the
    bucket, or None; `kept`, the folder of what is on this machine only: not in the cache, but in
    $XDG_DATA_HOME/comodo, by default ~/.local/share/comodo.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        given = str(root or os.environ.get("COMODO_STORE") or DEFAULT_ROOT)
        self.url = given.rstrip("/") if "://" in given else None
        if self.url is None:
            self.root = self.kept = Path(given).resolve()
            return
        self.root = mirror_of(self.url, cache_folder())
        data = Path(os.environ.get("XDG_DATA_HOME") or DEFAULT_DATA).expanduser().resolve()
        self.kept = data / "comodo" / self.root.name
        if self.root not in _remotes:
            # A store that is a folder needs none of its libraries.
            from comodo.core.bucket import Bucket

            _remotes[self.root] = Bucket(self.url, self.root)

    def __str__(self) -> str:
        return self.url or str(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (str(self),)

    def folder(self, kind: str, key: str) -> Path:
        """The folder of one artifact; it may not exist yet, or not be `fetched`. Raises StoreError
        for a key that leads elsewhere."""
        return self._inside(self.root / kind, key)

    def _inside(self, folder: Path, name: str) -> Path:
        try:
            return inside(folder, name)
        except ValueError as error:
            raise StoreError("store.bad-name", f"{self}: {error}") from None

    def fetch(self, kind: str, keys: Collection[str], *patterns: str) -> None:
        """Downloads several artifacts at once, as `fetched`; patterns are relative to each."""
        if (remote := _remotes.get(self.root)) is None or not keys:
            return
        if len(keys) == 1:
            remote.fetch(self.folder(kind, next(iter(keys))), patterns)
        else:
            remote.fetch(self.root / kind, patterns, frozenset(keys))

    def files(self, kind: str, pattern: str) -> dict[Path, int]:
        """The files of all artifacts of a kind that match a pattern, with their sizes in bytes."""
        if (remote := _remotes.get(self.root)) is not None:
            return remote.sizes(self.root / kind, pattern)
        found = sorted((self.root / kind).glob(pattern))
        return {path: path.stat().st_size for path in found if path.is_file()}

    def open(self, path: Path) -> BinaryIO:
        """Opens a file to read a part of it, in the bucket if it is not downloaded."""
        remote = _remotes.get(self.root)
        return path.open("rb") if remote is None or path.exists() else remote.open(path)

    def portable(self, path: str) -> str:
        """A name for a file, in the store or not, by which `local` finds it on other machines, and
        after the store was moved."""
        if not Path(path).is_relative_to(self.root):
            return path
        return f"{PORTABLE}{Path(path).relative_to(self.root).as_posix()}"

    def local(self, name: str) -> str:
        """The path on this machine for a name that `portable` gave; it may not exist. Raises
        StoreError for a name that leads out of the store."""
        below = name.removeprefix(PORTABLE)
        return name if below == name else str(self._inside(self.root, below))

    @property
    def videos(self) -> Path:
        """Folder of the small copies of videos."""
        return self.root / "videos"

    def meta(self, kind: str, key: str) -> Any | None:
        """The artifact's meta.json; None while the artifact is incomplete."""
        return find_json(fetched(self.folder(kind, key), "meta.json") / "meta.json")


def existing_store(root: str | Path | None) -> Store:
    """The store of a command that only reads one. Raises StoreError for a folder that is not there:
    a wrong name is not an empty store."""
    place = Store(root)
    if place.url is None and not place.root.is_dir():
        fix = "name another with --store or $COMODO_STORE, or run a sweep, which makes it"
        raise StoreError("store.not-found", f"{place}: no such store; {fix}")
    return place
