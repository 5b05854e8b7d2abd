"""A recording as every reader lists it, and the interface of a reader. Knows no data set."""

import codecs
import csv
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from comodo.core import paths
from comodo.core.errors import ComodoError
from comodo.core.inputs import local_copy, urls_below
from comodo.core.store import Fingerprint
from comodo.data.imu import ImuStream

SPLIT_NAMES = ("train", "val", "test")
IN_FOLDS = "all"
"""In place of the split, of all recordings of a data set with folds: a trial's fold decides."""

ADDED_LATER = {"added later": True}
"""Marks a field of recordings that stores which exist have been made without."""


class DatasetError(ComodoError, ValueError):
    """The recordings of a data set cannot be listed."""


Interval = tuple[float, float, str]
"""Start and end in seconds of the video's clock, and the label between them, or `LEFT_OUT`."""
LEFT_OUT = ""
"""In place of a label: there are no windows."""


@dataclass(frozen=True)
class Recording:
    """One video file with its IMU streams, or a part of it. The names of its fields are part of
    window keys."""

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
    imu_offset: float | str = 0.0
    """Seconds to add to the IMU's clock to get the video's; `estimate`: found from the
    camera's motion; of several sensors `head=0;left_wrist=1.2`."""
    beside: tuple[str, ...] = ()  # other files that it is read from
    sensors: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    """What `imu` and the first of `beside` have, if there are several: `left_wrist`, or a part of
    a sensor, `left_wrist.acc` or `acc`."""
    time_unit: str = field(default="", metadata=ADDED_LATER)
    start: float | None = field(default=None, metadata=ADDED_LATER)
    """Seconds of the video's clock at which it begins; None: with its files. Of several recordings
    of one file with a start or an end, `Reader.read_imu` gives the same whole streams."""
    end: float | None = field(default=None, metadata=ADDED_LATER)
    """Seconds of the video's clock before which it ends; None: with its files."""
    intervals: tuple[Interval, ...] | None = field(default=None, metadata=ADDED_LATER)
    """Of `intervals.checked`: the labels of its parts, in place of `label`; the rest has none."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `vars`, also when that went through JSON."""
        intervals = content["intervals"]
        made = None if intervals is None else tuple((s, e, label) for s, e, label in intervals)
        tuples = {name: tuple(content[name]) for name in ("beside", "sensors")}
        return cls(**{**content, **tuples, "intervals": made})

    def for_key(self) -> dict[str, Any]:
        """Its fields as window keys have them: those that were added later only if they are set."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.metadata != ADDED_LATER or getattr(self, f.name) != f.default
        }

    @property
    def files(self) -> list[str]:
        """Paths, or URLs in a bucket, of what it is read from."""
        return [file for file in (self.video, self.imu, *self.beside) if file]

    def moved(self, to: Callable[[str], str]) -> "Recording":
        """The recording with other paths of its files."""
        video, imu, *beside = map(to, (self.video, self.imu, *self.beside))
        return replace(self, video=video, imu=imu, beside=tuple(beside))

    @property
    def is_part(self) -> bool:
        """Whether it is a part of its files, others of which may be other recordings."""
        return self.start is not None or self.end is not None

    @property
    def span(self) -> tuple[float, float]:
        """Where it begins and ends, as far as it says so."""
        return (
            -math.inf if self.start is None else self.start,
            math.inf if self.end is None else self.end,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes, sorted: none if it has no label."""
        if self.intervals is None:
            return () if self.label is None else (self.label,)
        begin, stop = self.span
        inside = (label for s, e, label in self.intervals if s < stop and begin < e)
        return tuple(sorted({*inside} - {LEFT_OUT}))


@contextmanager
def on_this_machine(
    recording: Recording, versions: Mapping[str, Fingerprint]
) -> Iterator[Recording]:
    """The recording with the paths by which its files are read within the block: of those in a
    bucket their copies, which have the given versions. Raises as `local_copy`."""
    with ExitStack() as copies:
        yield recording.moved(
            lambda file: copies.enter_context(local_copy(file, versions.get(file)))
        )


SEPARATORS = ",;\t"


def separator(text: str, is_known: Callable[[str], bool]) -> str:
    """The separator of a CSV file that gives its first line the most known names of columns."""
    line = next((line for line in text.splitlines() if line.strip()), "")

    def known(mark: str) -> int:
        names = next(csv.reader([line], delimiter=mark), [])
        return sum(map(is_known, {name.strip().casefold() for name in names}))

    return max(SEPARATORS, key=known)


def finite_number(column: str, text: str) -> float:
    """A cell's number. Raises ValueError unless it is finite."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        fix = "expected a finite number, with a point for decimals"
        raise ValueError(f"could not convert {column} '{text}'; {fix}")
    return number


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
        message = f"{folder}: its files need {library}: pip install {library}"
        raise DatasetError("dataset.missing-library", message)


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches a pattern in a folder, without what is hidden, as macOS' `._a.mp4` are: parts of
    its path below the folder start with a dot."""
    found = folder.glob(pattern)
    return [p for p in found if not any(part[0] == "." for part in p.relative_to(folder).parts)]


def camera_recordings(folder: str, suffix: str, library: str) -> list[Recording]:
    """Recordings of a camera that writes video and IMU to one file, which `library` reads; each
    file is its own group. Raises DatasetError if no file at any depth has that suffix."""
    require_library(library, folder)
    if paths.is_url(folder):
        files = urls_below(folder, suffix)
    else:
        found = visible(Path(folder), "**/*")
        files = [str(path) for path in found if path.suffix.lower() == suffix]
    if not files:
        message = f"{folder}: no {suffix} files; path is the folder that has them"
        raise DatasetError("dataset.no-files", message)
    ids = {file: file[len(folder) :].lstrip("/") for file in files}
    return [Recording(ids[f], f, f, "train", group=ids[f]) for f in files]
