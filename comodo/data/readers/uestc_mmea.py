"""UESTC-MMEA-CL (Xu et al., IEEE TMM 2024): 32 daily activities, filmed from glasses with an IMU.

Layout, from the data set's repository and from public code that reads its sensor files:
`video/<class>/<clip>.mp4` and `sensor/<class>/<clip>.csv`, comma-separated, without a header, six
integers in a row and no times: acceleration x, y, z, then angular velocity x, y, z, at 25 Hz. A
header and columns after the sixth are ignored.

Units: angular velocity in 1/16.4 deg/s. For acceleration the COMODO paper says 1/16384 g, while
public code for continual learning on the set divides by 8192; each clip's is detected from gravity.

Clips are named <class>_<year>_<month>_<day>_<hour>_<minute>_<second>; the day is the group. A line
of a list is `yourdataset_path/data/<class>/<clip> <frames> <IMU samples> <class index>`.
"""

import re
from pathlib import Path

import numpy as np

from comodo.config.datasets import UestcMmeaDataset
from comodo.data import imu
from comodo.data.imu import ImuError
from comodo.data.readers.split_lists import read_lists, refuse_wrong_folder
from comodo.data.recordings import Recording
from comodo.data.video import video_seconds

MMEA_ACC_UNITS = {"1/16384 g": 1 / 16384, "1/8192 g": 1 / 8192}
MMEA_GYRO_UNIT = 1 / 16.4  # deg/s
MMEA_RATE_HZ = 25.0
CLIP_NAME = re.compile(r"((\d+)_(\w+?))/\1_(\d{4}_\d{2}_\d{2})_\d{2}_\d{2}_\d{2}")


class UestcMmeaReader:
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

    def read_imu(self, recording: Recording) -> imu.ImuStream:
        """Spreads the samples evenly over the clip, as both start and end together."""
        raw_N6 = _read_sensor(recording.imu)
        seconds = video_seconds(recording.video)
        rate = len(raw_N6) / seconds
        if not 0.9 * MMEA_RATE_HZ < rate < 1.1 * MMEA_RATE_HZ:
            found = f"{len(raw_N6)} samples in a clip of {seconds:.2f} s are {rate:.1f} Hz"
            fix = f"not {MMEA_RATE_HZ:g}; one of the files is incomplete, copy both again"
            raise ImuError("imu.incomplete", f"{recording.imu}: {found}, {fix}")
        factor, note = imu.unit_by_gravity(raw_N6[:, :3], MMEA_ACC_UNITS, recording.imu)
        imu_N6 = raw_N6 * np.repeat([factor, MMEA_GYRO_UNIT], 3)
        time_N = np.linspace(0, seconds, len(raw_N6))
        return imu.checked_stream(time_N, imu_N6, recording.imu, [note])


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


def _read_sensor(path: str) -> np.ndarray:
    """Raw values, float64 [N, 6]. Raises ImuError."""
    imu.refuse_missing(path)
    with open(path, errors="replace") as file:
        first = file.readline().split(",")[0].strip()
    header = 0 if first.isidentifier() and first.lower() != "nan" else None
    raw_NC = imu.read_table(path, "rows of numbers", header=header, dtype=np.float64).to_numpy()
    if raw_NC.shape[1] < 6:
        form = "six, separated by commas: acceleration x, y, z and angular velocity x, y, z"
        raise ImuError("imu.wrong-shape", f"{path}: {raw_NC.shape[1]} columns; expected {form}")
    return raw_NC[:, :6]
