"""A folder of Project Aria's .vrs files, each with RGB frames and two IMUs; each its own group.

Decoded by projectaria-tools (`pip install projectaria-tools`). No labels: for encoding and
distillation, not for probing.
"""

from typing import Any, Literal

from pydantic import model_validator

from comodo.config.base import ExistingPathOrUrl
from comodo.config.channels import CHANNELS, QUANTITIES, sensor_of
from comodo.config.dataset_base import BaseDataset
from comodo.data import aria_vrs
from comodo.data.imu import ImuStream, checked_stream
from comodo.data.recordings import Recording, camera_recordings

ARIA_IMUS = ("left", "right")


class AriaDataset(BaseDataset):
    """A folder of VRS files of Project Aria's glasses."""

    kind: Literal["aria"]
    """Needs `pip install projectaria-tools`."""
    path: ExistingPathOrUrl
    """Folder that is searched for .vrs files at any depth, also in a bucket."""
    imu: Literal["right", "left", "both"] = "right"
    """Which of the glasses' two IMUs; `both`: as sensors `left` and `right`, whose channels are
    `left.acc`, `right.gyro_x` and so on, by default all. First generation: `right` at 1,000 Hz,
    `left` at 800 Hz; second: both at 800 Hz."""

    @model_validator(mode="before")
    @classmethod
    def _both(cls, written: Any) -> Any:
        if isinstance(written, dict) and written.get("imu") == "both":
            every = [f"{sensor}.{c}" for sensor in ARIA_IMUS for c in QUANTITIES]
            return {"channels": every, **written}
        return written

    @model_validator(mode="after")
    def _names_both(self) -> "AriaDataset":
        wrong = [c for c in self.channels if (sensor_of(c) != "") != (self.imu == "both")]
        if wrong and self.imu == "both":
            raise ValueError(f"channels: write {' or '.join(f'{s}.{wrong[0]}' for s in ARIA_IMUS)}")
        if wrong:
            raise ValueError(f"imu: {wrong[0]} is a channel of a named sensor; write imu: both")
        return self


class AriaReader:
    SETTINGS = AriaDataset

    def __init__(self, settings: AriaDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        return camera_recordings(self.settings.path, ".vrs", "projectaria_tools")

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        channels_of: dict[str, tuple[str, ...]] = {self.settings.imu: CHANNELS}
        if self.settings.imu == "both":
            wanted = sorted(set(map(sensor_of, self.settings.channels)))
            channels_of = {imu: tuple(f"{imu}.{c}" for c in CHANNELS) for imu in wanted}
        samples_of = {imu: aria_vrs.read_imu(recording.imu, imu) for imu in channels_of}
        first_ns = aria_vrs.rgb_times_ns(recording.video)[0]
        streams = []
        for imu, (time_ns_N, imu_NC) in samples_of.items():
            # Subtracted as integers: a float of the device's clock would lose its last digits.
            time_N = (time_ns_N - first_ns) / aria_vrs.NS_PER_SECOND
            stream = checked_stream(time_N, imu_NC, recording.imu, channels=channels_of[imu])
            streams.append(stream)
        return tuple(streams)
