"""Where artifacts live, and the hashes that name them.

    windows/<key>/     part-*.parquet, meta.json      paired windows and their recordings' quality
    features/<key>/    part-*.parquet, meta.json      teacher features by window
    simulated/<key>/   manifest.csv, videos, imu      recordings of a simulated dataset
    arrays/<key>/      *.safetensors, meta.json       both, packed for training
    trials/<key>/      checkpoint, student, result    one trial, whichever sweep asked for it
    videos/            <key>.mp4                      small copies of videos
    profiles/<key>/    profile.md, .json, figures     what a trial's teacher and student take
    quality/<name>/    quality.md, .parquet, figures  what `inspect` shows of one dataset
    exports/<trial>/   programs, model card          what `export` makes of a trial
    sweeps/<name>/     settings, asked trials, report one sweep
    mlflow/            database and artifacts         the records

A key is a hash of everything that the artifact depends on, so nothing is ever stale; `meta.json` is
written last, so what has one is whole. Knows nothing of what the artifacts mean.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import DatasetConfig

DEFAULT_ROOT = ".comodo"


def key_of(content: Any) -> str:
    """First 16 hex digits of the SHA-256 of `content` as canonical JSON.

    The order of mapping keys does not matter. Raises TypeError or ValueError for what JSON cannot
    hold.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(path: str | Path) -> dict[str, int]:
    """Size and modification time: what tells one version of an input file from the next.

    A missing file has the empty fingerprint. A folder (of model weights) counts as its files.
    """
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = [file.stat() for file in files if file.exists()]
    return {
        "size": sum(stat.st_size for stat in stats),
        "modified_ns": max((stat.st_mtime_ns for stat in stats), default=0),
    }


class StoreError(RuntimeError):
    """The store takes nothing more: it is full, or may not be written."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block succeeds and removed if not.

    Raises:
        StoreError: the disk is full or may not be written; nothing has changed.
    """
    with _temporary(path) as temporary:
        yield temporary
        os.replace(temporary, path)


def create(path: Path, text: str) -> bool:
    """Writes a file that is not there yet, whole at once; False if there is one, which stays.

    Of several who try at the same time, on any machines, one succeeds.

    Raises:
        StoreError: as `atomic`.
    """
    with _temporary(path) as temporary:
        try:
            temporary.write_text(text)
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            try:  # a disk without links: others may see the file before its text
                with path.open("x") as file:
                    file.write(text)
            except FileExistsError:
                return False
    return True


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A path beside `path` that no other process has, on this machine or another; gone after."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except Exception as error:
        if (trouble := _trouble(path, temporary, error)) is not None:
            raise trouble from None
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def _trouble(path: Path, temporary: Path, error: Exception) -> StoreError | None:
    """What is wrong with the disk, if that is why a file could not be written."""
    if not isinstance(error, OSError) or error.errno is None:
        # Libraries say it in ways of their own; then more of the same meets the same end.
        try:
            with temporary.open("ab") as file:
                file.write(bytes(1 << 16))
            return None
        except OSError as found:
            error = found
    if error.errno not in CANNOT_WRITE:
        return None
    there = next(folder for folder in path.parents if folder.exists())
    return StoreError(
        f"{path} cannot be written: {os.strerror(error.errno)}; {shutil.disk_usage(there).free:,} "
        "bytes are free there. Make room, or make it writable, and run the same command again: "
        "what is done is kept"
    )


def write_json(path: Path, content: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_table(path: Path, table: pa.Table) -> None:
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def parts(folder: Path) -> list[Path]:
    """The Parquet parts of an artifact, in their lasting order."""
    return sorted(folder.glob("part-*.parquet"))


def read_parts(folder: Path, columns: list[str]) -> pa.Table:
    """All parts of an artifact, only the named columns, in the parts' order."""
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in parts(folder)])


def forget_rejected(folder: Path) -> None:
    """Removes the parts of an artifact that hold rejected rows, so that they are made anew."""
    (folder / "meta.json").unlink(missing_ok=True)
    for path in parts(folder):
        if pq.read_table(path, columns=["rejected"])["rejected"].drop_null():
            path.unlink()


class Store:
    """The folder under which every artifact lies."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("COMODO_STORE") or DEFAULT_ROOT).resolve()

    def folder(self, kind: str, key: str) -> Path:
        """The folder of one artifact; it need not exist yet."""
        return self.root / kind / key

    def simulated(self, settings: DatasetConfig) -> Path:
        """Where the files of a simulated dataset lie; other kinds have theirs elsewhere."""
        read_by = {"window_seconds", "imu_rate", "max_rejected", "split_by_group", "videos"}
        made_by = settings.model_dump(mode="json", exclude=read_by)
        return self.folder("simulated", key_of(made_by))

    @property
    def videos(self) -> Path:
        """Where small copies of videos lie."""
        return self.root / "videos"

    def meta(self, kind: str, key: str) -> Any | None:
        """The artifact's meta.json, or None while the artifact is not whole."""
        path = self.folder(kind, key) / "meta.json"
        return read_json(path) if path.exists() else None
