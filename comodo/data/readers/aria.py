"""A folder of Project Aria's .vrs files, each with RGB frames and two IMUs; each its own group.

Decoded by projectaria-tools (`pip install comodo[cameras]`). No labels: for encoding and
distillation, not for probing.
"""

from pathlib import Path

from comodo.config.datasets import AriaDataset
from comodo.data import aria_vrs
from comodo.data.imu import ImuStream, checked_stream
from comodo.data.recordings import Recording, camera_recordings


class AriaReader:
    def __init__(self, settings: AriaDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        return camera_recordings(Path(self.settings.path), ".vrs", "projectaria_tools")

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        time_ns_N, imu_NC = aria_vrs.read_imu(recording.imu, self.settings.imu)
        # Subtracted as integers: a float of the device's clock would lose its last digits.
        since_first_ns_N = time_ns_N - aria_vrs.rgb_times_ns(recording.video)[0]
        time_N = since_first_ns_N / aria_vrs.NS_PER_SECOND
        return (checked_stream(time_N, imu_NC, recording.imu),)
