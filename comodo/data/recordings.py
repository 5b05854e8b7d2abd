"""A recording as every reader lists it, and what a reader is. Knows no data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from comodo.core.errors import ComodoError
from comodo.data.imu import ImuStream

SPLIT_NAMES = ("train", "val", "test")


class DatasetError(ComodoError, ValueError):
    """A dataset that cannot be listed; the text names the file, the place and the mend."""


@dataclass(frozen=True)
class Recording:
    """One video file with one IMU stream."""

    id: str
    video: str
    """Empty for a recording of the IMU alone, which students can be measured on."""
    imu: str
    split: str
    group: str
    """Subject, capture or day: what must not stand in two splits."""
    label: str | None = None
    acc_unit: str = ""
    gyro_unit: str = ""
    imu_rate: float | None = None
    """Hz; only for IMU files without a clock of their own."""
    imu_offset: float | Literal["estimate"] = 0.0
    """Seconds to add to the IMU's clock to get the video's; `estimate` finds them from the camera's
    own motion."""
    beside: tuple[str, ...] = ()
    """Other files that it is read from."""


def plain_name(name: str) -> str:
    """A name that becomes part of a path. Raises DatasetError where it would lead elsewhere."""
    if Path(name).name != name or name == ".." or "\0" in name:
        raise DatasetError(f"'{name}' is no plain name; no / and no .. may stand in it")
    return name


class Reader(Protocol):
    def recordings(self) -> list[Recording]:
        """All recordings in the data set's own splits, sorted by id; raises DatasetError."""

    def read_imu(self, recording: Recording) -> ImuStream:
        """The whole stream, on the video's clock; raises ImuError."""


def camera_recordings(folder: Path, suffix: str) -> list[Recording]:
    """A recording and group for each file below a folder that has video and IMU in one.

    Raises:
        DatasetError: no file with that suffix.
    """
    files = [path for path in folder.rglob("*") if path.suffix.lower() == suffix]
    if not files:
        raise DatasetError(f"{folder}: no {suffix} files")
    ids = {str(path.relative_to(folder)): str(path) for path in files}
    return [Recording(id, ids[id], ids[id], "train", group=id) for id in sorted(ids)]
