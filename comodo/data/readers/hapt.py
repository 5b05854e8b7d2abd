"""UCI HAPT (Reyes-Ortiz, Anguita, Oneto, Parra, 2015): activities and postural transitions of 30
people with a phone at the waist. No video: students are only measured on it.

Layout, from the README of version 2.1, whose raw signals are used:

    RawData/acc_exp01_user01.txt, gyro_exp01_user01.txt   rows of x, y, z at 50 Hz; g and rad/s
    RawData/labels.txt                                    experiment, user, activity, start, end
    activity_labels.txt                                   number and name of an activity
    Train/subject_id_train.txt, Test/subject_id_test.txt  the users of the authors' own splits

Start and end are sample numbers; this reader takes them to count from 1 and end to be included.
Each such stretch is a recording, with an id such as exp01_user01_00250-01232; unlabelled samples
are not used. The user is the group.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.dataset_base import BaseDataset
from comodo.data.imu import GYRO_UNITS, ImuError, ImuStream, checked_stream
from comodo.data.readers.split_lists import numbered_lines
from comodo.data.recordings import DatasetError, Recording

HAPT_RATE_HZ = 50.0


class HaptDataset(BaseDataset):
    """UCI HAPT: a phone's IMU at the waist, without video."""

    kind: Literal["hapt"]
    """UCI HAPT in its own layout."""
    path: ExistingPath
    """Folder with RawData/, Train/ and Test/."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.56
    """Length of a window; `whole` takes each labelled interval as one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the phone has 50."""


class HaptReader:
    SETTINGS = HaptDataset

    def __init__(self, settings: HaptDataset) -> None:
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        activities, splits = self._activities(), self._splits()
        file = self.folder / "RawData" / "labels.txt"
        rows: dict[str, Recording] = {}
        for number, line in _lines(file):
            try:
                row = self._recording(line, activities, splits)
                if row.id in rows:
                    raise ValueError("the same stretch occurs twice")
            except ValueError as error:
                raise DatasetError("dataset.bad-line", f"{file}, line {number}: {error}") from None
            rows[row.id] = row
        if not any(Path(row.imu).is_file() for row in rows.values()):
            message = f"{file.parent}: has none of the signals that labels.txt names"
            raise DatasetError("dataset.no-files", message)
        return list(rows.values())

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Only the stretch; its first sample is at 0 s."""
        match = re.fullmatch(r"(exp\d+_user\d+)_(\d+)-(\d+)", recording.id)
        assert match is not None
        start, end = int(match[2]) - 1, int(match[3])
        parts = []
        for sensor, factor in (("acc", 1.0), ("gyro", GYRO_UNITS["rad/s"])):
            path = Path(recording.imu).with_name(f"{sensor}_{match[1]}.txt")
            try:
                signal_N3 = np.loadtxt(path, ndmin=2)
            except (OSError, ValueError) as error:
                message = f"{path}: cannot be read as rows of x, y, z: {error}"
                raise ImuError("imu.unreadable", message) from None
            if signal_N3.shape[1] != 3 or len(signal_N3) < end:
                fix = f"labels.txt needs three columns and {end} samples; copy the file again"
                raise ImuError("imu.incomplete", f"{path}: shape {signal_N3.shape}; {fix}")
            parts.append(signal_N3[start:end] * factor)
        time_N = np.arange(end - start) / HAPT_RATE_HZ
        return (checked_stream(time_N, np.concatenate(parts, axis=1), recording.imu),)

    def _recording(self, line: str, names: dict[int, str], splits: dict[int, str]) -> Recording:
        """The recording of a line of labels.txt. Raises ValueError with what is wrong."""
        try:
            experiment, user, activity, start, end = map(int, line.split())
        except ValueError:
            raise ValueError(f"'{line}'; expected five whole numbers") from None
        if activity not in names:
            raise ValueError(f"activity {activity} is not in activity_labels.txt")
        if user not in splits:
            raise ValueError(f"user {user} is in neither subject_id_train.txt nor _test.txt")
        if not 1 <= start < end:
            raise ValueError(f"{start} to {end} is not a range of samples")
        name, folder = f"exp{experiment:02d}_user{user:02d}", self.folder / "RawData"
        return Recording(
            f"{name}_{start:05d}-{end:05d}",
            video="",
            imu=str(folder / f"acc_{name}.txt"),
            split=splits[user],
            group=f"user {user:02d}",
            label=names[activity],
            beside=(str(folder / f"gyro_{name}.txt"),),
        )

    def _activities(self) -> dict[int, str]:
        file = self.folder / "activity_labels.txt"
        lines = _lines(file)
        try:
            return {int(number): name for number, name in (line.split() for _, line in lines)}
        except ValueError:
            message = f"{file}: expected lines of a number and a name"
            raise DatasetError("dataset.bad-line", message) from None

    def _splits(self) -> dict[int, str]:
        """The split of each user."""
        splits: dict[int, str] = {}
        for split in ("train", "test"):
            file = self.folder / split.capitalize() / f"subject_id_{split}.txt"
            for line in dict.fromkeys(line for _, line in _lines(file)):  # a user has many lines
                if not line.isdecimal():
                    message = f"{file}: '{line}'; expected the number of a user"
                    raise DatasetError("dataset.bad-line", message)
                if splits.setdefault(int(line), split) != split:
                    message = f"{file}: user {line} is also in the train split"
                    raise DatasetError("dataset.bad-line", message)
        return splits


def _lines(file: Path) -> list[tuple[int, str]]:
    return numbered_lines(file, "path is the folder with RawData, Train and Test")
