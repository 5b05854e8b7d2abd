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
    group: str
    """Subject, capture or day: should not be in two splits."""
    label: str | None = None
    acc_unit: str = ""
    gyro_unit: str = ""
    imu_rate: float | None = None
    """Hz; only for IMU files without times."""
    imu_offset: float | Literal["estimate"] = 0.0
    """Seconds to add to the IMU's clock to get the video's; `estimate`: from the camera's motion.
    """
    beside: tuple[str, ...] = ()
    """Other files that it is read from."""


def plain_name(name: str) -> str:
    """A name that becomes part of a path. Raises DatasetError if it would lead elsewhere."""
    if Path(name).name != name or name == ".." or "\0" in name:
        raise DatasetError(
            "dataset.bad-name",
            f"'{name}' cannot be part of a path; use a name without / that is not ..",
        )
    return name


class Reader(Protocol):
    """Lists the recordings of a data set without opening them, and reads the IMU stream of one."""

    def recordings(self) -> list[Recording]:
        """All recordings in the data set's own splits, sorted by id. Raises DatasetError."""

    def read_imu(self, recording: Recording) -> ImuStream:
        """The whole stream, on the video's clock. Raises ImuError."""


def require_library(module: str, folder: str) -> None:
    """Raises DatasetError if the library that reads a folder's files is not installed."""
    if find_spec(module) is None:
        library = module.replace("_", "-")
        raise DatasetError(
            "dataset.missing-library",
            f"{folder}: its files need {library}: pip install comodo[cameras]",
        )


def camera_recordings(folder: Path, suffix: str) -> list[Recording]:
    """Recordings of a camera that writes video and IMU to one file; each file is its own group.

    Raises:
        DatasetError: no file with that suffix in the folder or below it.
    """
    files = [path for path in folder.rglob("*") if path.suffix.lower() == suffix]
    if not files:
        raise DatasetError(
            "dataset.no-files", f"{folder}: no {suffix} files; path is the folder that has them"
        )
    paths = {str(path.relative_to(folder)): str(path) for path in files}
    return [Recording(id, paths[id], paths[id], "train", group=id) for id in sorted(paths)]
