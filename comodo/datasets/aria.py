"""A folder of Project Aria's .vrs files, each with RGB frames and two IMUs; each its own group.

Decoded by projectaria-tools (`pip install comodo[cameras]`). No labels: for encoding and
distillation, not for probing.
"""

from importlib.util import find_spec
from pathlib import Path

from comodo.config import AriaDataset
from comodo.datasets import DatasetError, Recording, camera_files
from comodo.imu import ImuStream, checked


class AriaReader:
    def __init__(self, settings: AriaDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        if find_spec("projectaria_tools") is None:
            raise DatasetError("Aria files need projectaria-tools: pip install comodo[cameras]")
        return camera_files(Path(self.settings.path), ".vrs")

    def read_imu(self, recording: Recording) -> ImuStream:
        from comodo import vrs

        time_ns_N, imu_NC = vrs.read_imu(recording.imu, self.settings.imu)
        # Subtracted as whole numbers: a float of the device's clock would lose its last digits.
        since_first_frame_ns_N = time_ns_N - vrs.rgb_times_ns(recording.video)[0]
        return checked(since_first_frame_ns_N / vrs.SECOND, imu_NC, recording.imu)
