"""A recording as every reader lists it, and the interface of a reader. Knows no data set."""

import codecs
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from comodo.core import paths
from comodo.core.errors import ComodoError
from comodo.data.imu import ImuStream

SPLIT_NAMES = ("train", "val", "test")
IN_FOLDS = "all"
"""In place of the split, of all recordings of a data set with folds: a trial's fold decides."""


class DatasetError(ComodoError, ValueError):
    """The recordings of a data set cannot be listed."""


@dataclass(frozen=True)
class Recording:
    """One video file with one IMU stream. The names of its fields are part of window keys."""

    id: str
    video: str
    """Empty for an IMU stream without video, on which students can be measured."""
    imu: str
    split: str
    group: str  # subject, capture or day: should not be in two splits
    label: str | None = None
    acc_unit: str = ""
    gyro_unit: str = ""
    imu_rate: float | None = None  # Hz; only for IMU files without times
    imu_offset: float | Literal["estimate"] = 0.0
    """Seconds to add to the IMU's clock to get the video's; `estimate`: found from the
    camera's motion."""
    beside: tuple[str, ...] = ()  # other files that it is read from


def plain_name(name: str) -> str:
    """A name that becomes part of a path. Raises DatasetError if it would lead elsewhere."""
    try:
        return paths.plain_name(name)
    except ValueError as error:
        raise DatasetError("dataset.bad-name", str(error)) from None


class Reader(Protocol):
    """Lists the recordings of a data set without opening them, and reads the IMU stream of one."""

    def recordings(self) -> list[Recording]:
        """All recordings in the data set's own splits. Raises DatasetError."""

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """The whole stream of each of its sensors, on the video's clock; channels that the settings
        do not list need not be in them. Raises ImuError."""


@runtime_checkable
class NotingReader(Reader, Protocol):
    """A reader whose listing has something that the user should check."""

    def notes(self) -> list[str]:
        """Sentences about what was ignored or is in doubt. Raises DatasetError."""


@runtime_checkable
class UnitReader(Reader, Protocol):
    """A reader of recordings that have one unit, which only all of them together show."""

    def common_acc_unit(self, recordings: Sequence[Recording]) -> tuple[str, str]:
        """The `acc_unit` of the recordings, and a note of what it was found from. Raises
        ImuError."""


def utf8_text(file: Path) -> str:
    """The text of a file in UTF-8 or, with its byte order mark, UTF-16. Raises OSError, or
    ValueError with the line that is not text."""
    content = file.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not {error.encoding}; save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"line {line} has a zero byte; save the file as UTF-8 text")
    return text


def file_identity(path: str) -> tuple[int, int] | str:
    """The same for all names of one file, also through links; the path if there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def require_library(module: str, folder: str) -> None:
    """Raises DatasetError if the library that reads a folder's files is not installed."""
    if find_spec(module) is None:
        library = module.replace("_", "-")
        message = f"{folder}: its files need {library}: pip install comodo[cameras]"
        raise DatasetError("dataset.missing-library", message)


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches a pattern in a folder, without what is hidden, as macOS' `._a.mp4` are: parts of
    its path below the folder start with a dot."""
    found = folder.glob(pattern)
    return [p for p in found if not any(part[0] == "." for part in p.relative_to(folder).parts)]


def camera_recordings(folder: Path, suffix: str, library: str) -> list[Recording]:
    """Recordings of a camera that writes video and IMU to one file, which `library` reads; each
    file is its own group. Raises DatasetError if no file at any depth has that suffix."""
    require_library(library, str(folder))
    files = [path for path in visible(folder, "**/*") if path.suffix.lower() == suffix]
    if not files:
        message = f"{folder}: no {suffix} files; path is the folder that has them"
        raise DatasetError("dataset.no-files", message)
    ids = {path: str(path.relative_to(folder)) for path in files}
    return [Recording(ids[p], str(p), str(p), "train", group=ids[p]) for p in files]
