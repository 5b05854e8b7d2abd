"""UESTC-MMEA-CL (Xu et al., IEEE TMM 2024): 32 daily activities, filmed from glasses with an IMU.

Layout, from the data set's repository and from public code that reads its sensor files:
`video/<class>/<clip>.mp4` and `sensor/<class>/<clip>.csv`, comma-separated, without a header, six
integers in a row and no times: acceleration x, y, z, then angular velocity x, y, z, at 25 Hz. A
header and columns after the sixth are ignored.

Units: angular velocity in 1/16.4 deg/s. For acceleration the COMODO paper says 1/16384 g, while
public code for continual learning on the set divides by 8192; gravity in all clips together
decides. The published code of COMODO takes the first row of each file for a header.

Clips are named <class>_<year>_<month>_<day>_<hour>_<minute>_<second>; the day is the group. A line
of a list is `yourdataset_path/data/<class>/<clip> <frames> <IMU samples> <class index>`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.dataset_base import BaseDataset
from comodo.core.settings import ADDED_LATER
from comodo.data import imu
from comodo.data.imu import ImuError
from comodo.data.imu_tables import read_table
from comodo.data.readers.common_unit import common_unit
from comodo.data.readers.split_lists import read_lists, refuse_wrong_folder
from comodo.data.recordings import Recording
from comodo.data.video import video_seconds

MMEA_ACC_UNITS = {"1/16384 g": 1 / 16384, "1/8192 g": 1 / 8192}
MMEA_GYRO_UNIT = 1 / 16.4  # deg/s
MMEA_RATE_HZ = 25.0
CLIP_NAME = re.compile(r"((\d+)_(\w+?))/\1_(\d{4}_\d{2}_\d{2})_\d{2}_\d{2}_\d{2}")


class UestcMmeaDataset(BaseDataset):
    """UESTC-MMEA-CL: clips of 32 activities, filmed from glasses with an IMU."""

    BY_PROTOCOL: ClassVar[dict[str, str]] = {"first_row": "drop"}
    FRAME = "squeeze"

    kind: Literal["uestc-mmea-cl"]
    """UESTC-MMEA-CL in the layout of its release."""
    path: ExistingPath
    """Folder with video/ and sensor/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: path, frames, IMU samples, class index."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(25.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensor has 25, at which a window
    has the file's own rows."""
    acc_unit: Annotated[Literal["1/16384 g", "1/8192 g"] | None, ADDED_LATER] = None
    """Unit of acceleration in all sensor files; by default found from gravity in all of them
    together."""
    first_row: Annotated[Literal["keep", "drop"], ADDED_LATER] = Field(
        "keep", json_schema_extra={"x-published": "drop"}
    )
    """Whether windows have the first row of their sensor file, which the published code reads as a
    header; by default as the sweep's protocol."""


class UestcMmeaReader:
    SETTINGS = UestcMmeaDataset

    def __init__(self, settings: UestcMmeaDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        folder = Path(self.settings.path)
        rows = []
        for id, label, split in read_lists(Path(self.settings.splits), clip_and_activity):
            match = CLIP_NAME.fullmatch(id)
            assert match is not None  # `clip_and_activity` checks it
            video, sensor = folder / "video" / f"{id}.mp4", folder / "sensor" / f"{id}.csv"
            day = match[4].replace("_", "-")
            rows.append(Recording(id, str(video), str(sensor), split, group=day, label=label))
        refuse_wrong_folder(rows)
        return rows

    def read_imu(self, recording: Recording) -> tuple[imu.ImuStream, ...]:
        """Spreads the samples evenly over the clip, as both start and end together: sample k of N
        is at k / N of its length. Windows at 25 Hz have the samples themselves."""
        raw_N6 = _read_sensor(recording.imu, self.settings.first_row)
        seconds = video_seconds(recording.video)
        rate = len(raw_N6) / seconds
        if not 0.9 * MMEA_RATE_HZ < rate < 1.1 * MMEA_RATE_HZ:
            found = f"{len(raw_N6)} samples in a clip of {seconds:.2f} s are {rate:.1f} Hz"
            fix = f"not {MMEA_RATE_HZ:g}; one of the files is incomplete, copy both again"
            raise ImuError("imu.incomplete", f"{recording.imu}: {found}, {fix}")
        unit = recording.acc_unit or self._acc_unit
        note = f"accelerometer in {unit}, as all clips; here its median length is {{:.4g}}"
        imu_N6 = raw_N6 * np.repeat([MMEA_ACC_UNITS[unit], MMEA_GYRO_UNIT], 3)
        time_N = np.arange(len(raw_N6)) / rate
        notes = [note.format(imu.median_length(raw_N6[:, :3]))]
        stream = imu.checked_stream(time_N, imu_N6, recording.imu, notes)
        return (replace(stream, stretch=MMEA_RATE_HZ / rate),)

    def common_acc_unit(self, recordings: Sequence[Recording]) -> tuple[str, str]:
        """Reads all sensor files, unless the settings have the unit; those that cannot be read say
        nothing about it."""
        if self.settings.acc_unit is not None:
            return self.settings.acc_unit, f"accelerometer in {self.settings.acc_unit}, as written"
        median_of, faults = dict[str, float](), list[ImuError]()
        for recording in recordings:
            try:
                raw_N6 = _read_sensor(recording.imu, self.settings.first_row)
                median_of[recording.id] = imu.median_length(raw_N6[:, :3])
            except ImuError as error:  # it is rejected for that later
                faults.append(error)
        if not median_of:
            raise faults[0]
        folder = str(Path(self.settings.path) / "sensor")
        return common_unit(median_of, MMEA_ACC_UNITS, folder, "acc_unit of the data set")

    @cached_property
    def _acc_unit(self) -> str:
        return self.common_acc_unit(self.recordings())[0]


def clip_and_activity(line: str) -> tuple[str, str]:
    """`<class>/<clip>` and activity of a line. Raises ValueError with what is wrong."""
    path, *counts = line.split()
    id = "/".join(path.split("/")[-2:])
    match = CLIP_NAME.fullmatch(id)
    if match is None or len(counts) != 3:
        form = ".../<class>/<class>_<date>_<time> <frames> <IMU samples> <index>"
        raise ValueError(f"'{line}'; expected {form}")
    if counts[2] != str(int(match[2]) - 1):
        raise ValueError(f"class {match[1]} has index {int(match[2]) - 1}, not {counts[2]}")
    return id, match[3]


def _read_sensor(path: str, first_row: Literal["keep", "drop"]) -> np.ndarray:
    """Raw values, float64 [N, 6]; `first_row` that is no header is kept or dropped. Raises
    ImuError."""
    imu.refuse_missing(path)
    with open(path, errors="replace") as file:
        first = file.readline().split(",")[0].strip()
    has_header = first.isidentifier() and first.lower() != "nan"
    header = 0 if has_header or first_row == "drop" else None
    raw_NC = read_table(path, "rows of numbers", header=header, dtype=np.float64).to_numpy()
    if raw_NC.shape[1] < 6:
        form = "six, separated by commas: acceleration x, y, z and angular velocity x, y, z"
        raise ImuError("imu.wrong-shape", f"{path}: {raw_NC.shape[1]} columns; expected {form}")
    return raw_NC[:, :6]
