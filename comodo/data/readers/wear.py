"""WEAR (Bock et al., IMWUT 2024): workouts outdoors with an accelerometer at each wrist and ankle
and a head-mounted camera.

Layout, from its repository (github.com/mariusbock/wear, data_creation/):

    raw/inertial/50hz/sbj_0.csv          sbj_id, right_arm_acc_x, ..., label; 50 Hz, no times
    annotations/60fps/wear_split_1.json  `database`: the labels of each subject, in seconds

Videos were cut to start and end with the CSV. How their files are named in the release is not
documented: the one named as the subject is used. The unit is not documented either: it is
determined from gravity. The subject is the group.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.channels import ACC_CHANNELS, WrittenChannels
from comodo.config.dataset_base import BaseDataset, SplitByGroup
from comodo.core.settings import ADDED_LATER
from comodo.data.imu import ACC_UNITS, ImuStream, checked_stream, unit_by_gravity
from comodo.data.imu_tables import read_table
from comodo.data.intervals import checked
from comodo.data.names import tidy
from comodo.data.recordings import DatasetError, Interval, Recording, visible

RATE_HZ = 50.0
LIMB_SENSORS = {
    "right_arm": "right_wrist",
    "right_leg": "right_ankle",
    "left_leg": "left_ankle",
    "left_arm": "left_wrist",
}
"""Sensors by what their columns are named after."""


class WearDataset(BaseDataset):
    """WEAR: workouts with an accelerometer at each wrist and ankle, and a head-mounted camera."""

    kind: Literal["wear"]
    """WEAR in the layout of its release."""
    path: ExistingPath
    """Folder of sbj_*.csv: the release's raw/inertial/50hz."""
    annotations: ExistingPath
    """Any one of the release's files annotations/60fps/wear_split_*.json: all list every label."""
    video_folder: ExistingPath | None = None
    """Folder of the videos, each named as its CSV file; by default there is no video."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 1.0
    """Length of a window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensors have 50."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = tuple(
        f"{sensor}.acc" for sensor in LIMB_SENSORS.values()
    )
    """The channels that windows have: `acc` of right_wrist, right_ankle, left_ankle, left_wrist."""
    split_by_group: SplitByGroup
    """Splits by subject: `{folds: all}` leaves one out at a time, as the authors do."""


class WearReader:
    SETTINGS = WearDataset

    def __init__(self, settings: WearDataset) -> None:
        self.folder = Path(settings.path)
        self.annotations = Path(settings.annotations)
        self.videos = Path(settings.video_folder) if settings.video_folder else None

    def recordings(self) -> list[Recording]:
        database, rows = self._database(), []
        for file in sorted(visible(self.folder, "sbj_*.csv")):
            id = file.stem
            try:
                labels = checked(map(_interval, database[id]["annotations"]))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"has no usable annotations of {id}: {type(error).__name__}: {error}"
                raise DatasetError("dataset.bad-line", f"{self.annotations}: {reason}") from None
            rows.append(Recording(id, self._video(id), str(file), "", group=id, intervals=labels))
        if not rows:
            fix = "path is the folder raw/inertial/50hz"
            raise DatasetError("dataset.no-files", f"{self.folder}: no sbj_*.csv; {fix}")
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        columns = [f"{limb}_{channel}" for limb in LIMB_SENSORS for channel in ACC_CHANNELS]
        kind = f"accelerometers with the columns {', '.join(columns)}"
        table = read_table(recording.imu, kind, usecols=columns, dtype=np.float64)
        time_N = np.arange(len(table)) / RATE_HZ
        units = {unit: ACC_UNITS[unit] for unit in ("g", "m/s^2")}
        factor, note = unit_by_gravity(
            table[columns].to_numpy().reshape(-1, 3), units, recording.imu
        )
        streams = []
        for limb, sensor in LIMB_SENSORS.items():
            acc_N3 = table[[f"{limb}_{channel}" for channel in ACC_CHANNELS]].to_numpy() * factor
            channels = tuple(f"{sensor}.{channel}" for channel in ACC_CHANNELS)
            source = f"{recording.imu}, {sensor}"
            streams.append(checked_stream(time_N, acc_N3, source, [note], channels))
        return tuple(streams)

    def _video(self, id: str) -> str:
        if self.videos is None:
            return ""
        found = sorted(p for p in visible(self.videos, f"{id}.*") if p.stem == id)
        if len(found) != 1:
            has = ", ".join(p.name for p in found) or f"no {id}.mp4"
            message = f"{self.videos}: {has}; it needs one video of each sbj_*.csv"
            raise DatasetError("dataset.no-files", message)
        return str(found[0])

    def _database(self) -> dict[str, Any]:
        try:
            database = json.loads(self.annotations.read_text())["database"]
            if isinstance(database, dict):
                return database
            reason = "database is no object"
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
        message = f"{self.annotations}: cannot be read as WEAR's annotations: {reason}"
        raise DatasetError("dataset.unreadable", message)


def _interval(annotation: dict[str, Any]) -> Interval:
    start, end = map(float, annotation["segment"])
    return start, end, tidy(annotation["label"])
