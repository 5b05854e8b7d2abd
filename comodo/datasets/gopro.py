"""A folder of GoPro MP4 files, each with its telemetry inside; every file is a group of its own.

Telemetry is decoded by telemetry-parser (`pip install comodo[cameras]`). No labels: for encoding
and distillation, not for probing.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from comodo.config import GoproDataset
from comodo.datasets import DatasetError, Recording
from comodo.imu import STANDARD_GRAVITY, ImuError, ImuStream, checked


class GoproReader:
    def __init__(self, settings: GoproDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        if find_spec("telemetry_parser") is None:
            raise DatasetError("GoPro files need telemetry-parser: pip install comodo[cameras]")
        folder = Path(self.settings.path)
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".mp4")
        if not files:
            raise DatasetError(f"{folder}: no .mp4 files")
        ids = {path: str(path.relative_to(folder)) for path in files}
        rows = [Recording(id, str(p), str(p), "train", group=id) for p, id in ids.items()]
        return sorted(rows, key=lambda recording: recording.id)

    def read_imu(self, recording: Recording) -> ImuStream:
        try:
            import telemetry_parser
        except ImportError:
            raise ImuError(
                "GoPro files need telemetry-parser: pip install comodo[cameras]"
            ) from None
        try:
            rows = telemetry_parser.Parser(recording.imu).normalized_imu()
        except Exception as error:  # the parser raises bare exceptions of several kinds
            raise ImuError(f"{recording.imu}: telemetry cannot be read: {error}") from None
        # When the two sensors differ in rate, rows of the faster one lack the slower one's values.
        both = [row for row in rows if row["accl"] is not None and row["gyro"] is not None]
        if not both:
            raise ImuError(f"{recording.imu}: no accelerometer and gyroscope in the telemetry")
        time_N = np.array([row["timestamp_ms"] for row in both]) / 1000
        acc_N3 = np.array([row["accl"] for row in both]) / STANDARD_GRAVITY  # parser: m/s^2
        gyro_N3 = np.array([row["gyro"] for row in both])  # parser: deg/s
        return checked(time_N, np.concatenate([acc_N3, gyro_N3], axis=1), recording.imu)
