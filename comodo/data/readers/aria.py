"""A folder of Project Aria's .vrs files, each with RGB frames and two IMUs; each its own group.

Decoded by projectaria-tools (`pip install projectaria-tools`). No labels: for encoding and
distillation, not for probing.
"""

from comodo.config.channels import CHANNELS, sensor_of
from comodo.config.datasets import AriaDataset
from comodo.data import aria_vrs
from comodo.data.imu import ImuStream, checked_stream
from comodo.data.recordings import Recording, camera_recordings


class AriaReader:
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
