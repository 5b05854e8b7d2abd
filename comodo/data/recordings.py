"""A recording as every reader lists it, and the interface of a reader. Knows no data set."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from comodo.core.errors import ComodoError
from comodo.data.imu import ImuStream

SPLIT_NAMES = ("train", "val", "test")


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
    if Path(name).name != name or name == ".." or "\0" in name:
        message = f"'{name}' cannot be part of a path; use a name without / that is not .."
        raise DatasetError("dataset.bad-name", message)
    return name


class Reader(Protocol):
    """Lists the recordings of a data set without opening them, and reads the IMU stream of one."""

    def recordings(self) -> list[Recording]:
        """All recordings in the data set's own splits. Raises DatasetError."""

    def read_imu(self, recording: Recording) -> ImuStream:
        """The whole stream, on the video's clock. Raises ImuError."""


def require_library(module: str, folder: str) -> None:
    """Raises DatasetError if the library that reads a folder's files is not installed."""
    if find_spec(module) is None:
        library = module.replace("_", "-")
        message = f"{folder}: its files need {library}: pip install comodo[cameras]"
        raise DatasetError("dataset.missing-library", message)


def camera_recordings(folder: Path, suffix: str, library: str) -> list[Recording]:
    """Recordings of a camera that writes video and IMU to one file, which `library` reads; each
    file is its own group. Raises DatasetError if no file at any depth has that suffix."""
    require_library(library, str(folder))
    files = [path for path in folder.rglob("*") if path.suffix.lower() == suffix]
    if not files:
        message = f"{folder}: no {suffix} files; path is the folder that has them"
        raise DatasetError("dataset.no-files", message)
    ids = {path: str(path.relative_to(folder)) for path in files}
    return [Recording(ids[p], str(p), str(p), "train", group=ids[p]) for p in files]
