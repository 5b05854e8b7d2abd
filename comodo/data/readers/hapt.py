"""UCI HAPT (Reyes-Ortiz, Anguita, Oneto, Parra, 2015): activities and postural transitions of 30
people with a phone at the waist. No video: students are measured on it.

Layout, from the README of version 2.1, of which the raw signals are used:

    RawData/acc_exp01_user01.txt, gyro_exp01_user01.txt   a row of x, y, z each 1/50 s; g and rad/s
    RawData/labels.txt                                    experiment, user, activity, start, end
    activity_labels.txt                                   number and name of an activity
    Train/subject_id_train.txt, Test/subject_id_test.txt  the users of the authors' own splits

Start and end count samples; taken to begin with 1 and to be included. Each such stretch is a
recording, named exp01_user01_00250-01232; what is not labelled is not used. The user is the group.
"""

import re
from pathlib import Path

import numpy as np

from comodo.config import HaptDataset
from comodo.data.imu import GYRO_UNITS, ImuError, ImuStream, checked_stream
from comodo.data.recordings import DatasetError, Recording

HAPT_RATE_HZ = 50.0  # Hz


class HaptReader:
    def __init__(self, settings: HaptDataset) -> None:
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        activities = self._activities()
        splits = self._splits()
        file = self.folder / "RawData" / "labels.txt"
        rows: dict[str, Recording] = {}
        for number, line in enumerate(_lines(file), start=1):
            where = f"{file}, line {number}"
            try:
                experiment, user, activity, start, end = map(int, line.split())
            except ValueError:
                raise DatasetError(f"{where}: '{line}'; wanted five whole numbers") from None
            if activity not in activities:
                raise DatasetError(f"{where}: activity {activity} is not in activity_labels.txt")
            if user not in splits:
                raise DatasetError(
                    f"{where}: user {user} is neither in Train/subject_id_train.txt nor in "
                    "Test/subject_id_test.txt"
                )
            name = f"exp{experiment:02d}_user{user:02d}"
            id = f"{name}_{start:05d}-{end:05d}"
            if not 1 <= start < end:
                raise DatasetError(f"{where}: {start} to {end} is no stretch of samples")
            if id in rows:
                raise DatasetError(f"{where}: the stretch stands twice")
            rows[id] = Recording(
                id=id,
                video="",
                imu=str(self.folder / "RawData" / f"acc_{name}.txt"),
                beside=(str(self.folder / "RawData" / f"gyro_{name}.txt"),),
                split=splits[user],
                group=f"user {user:02d}",
                label=activities[activity],
            )
        if not any(Path(row.imu).is_file() for row in rows.values()):
            raise DatasetError(
                f"{self.folder / 'RawData'}: none of the signals that labels.txt names"
            )
        return [rows[id] for id in sorted(rows)]

    def read_imu(self, recording: Recording) -> ImuStream:
        """The stretch alone; its first sample is at 0 s."""
        match = re.fullmatch(r"(exp\d+_user\d+)_(\d+)-(\d+)", recording.id)
        assert match is not None
        start, end = int(match[2]) - 1, int(match[3])
        parts = []
        for sensor, factor in (("acc", 1.0), ("gyro", GYRO_UNITS["rad/s"])):
            path = Path(recording.imu).with_name(f"{sensor}_{match[1]}.txt")
            try:
                signal_N3 = np.loadtxt(path, ndmin=2)
            except (OSError, ValueError) as error:
                raise ImuError(f"{path}: cannot be read as rows of x, y, z: {error}") from None
            if signal_N3.shape[1] != 3 or len(signal_N3) < end:
                raise ImuError(
                    f"{path}: shape {signal_N3.shape}; labels.txt wants three columns and "
                    f"{end} samples; the file is not whole"
                )
            parts.append(signal_N3[start:end] * factor)
        return checked_stream(
            np.arange(end - start) / HAPT_RATE_HZ, np.concatenate(parts, axis=1), recording.imu
        )

    def _activities(self) -> dict[int, str]:
        file = self.folder / "activity_labels.txt"
        pairs = [line.split() for line in _lines(file)]
        try:
            return {int(number): name for number, name in pairs}
        except ValueError:
            raise DatasetError(f"{file}: wanted lines of a number and a name") from None

    def _splits(self) -> dict[int, str]:
        """The split of each user."""
        splits: dict[int, str] = {}
        for split in ("train", "test"):
            file = self.folder / split.capitalize() / f"subject_id_{split}.txt"
            for line in dict.fromkeys(_lines(file)):  # one for each window of the features
                if not line.isdecimal():
                    raise DatasetError(f"{file}: '{line}'; wanted the number of a user")
                if splits.setdefault(int(line), split) != split:
                    raise DatasetError(f"{file}: user {line} stands in the train split too")
        return splits


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: cannot be read: {error}; path is the folder with RawData, Train and Test"
        ) from None
