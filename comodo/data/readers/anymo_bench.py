"""AnyMo-Bench (Chen et al., arXiv 2605.22715): windows of Nymeria, whose wearers have an IMU at the
head and at each wrist, with activities. No video.

Layout, from the source that exports it (github.com/Breezelled/AnyMo, code/exporters/anymo_bench.py
and code/nymeria_sync/imu.py):

    data/AnyMo-Bench-150-US/train-00000.parquet, test-00000.parquet, ...

A row is a window of up to 5 s at 60 Hz: `imu` `[T, 18]` in m/s^2 and rad/s, missing samples as 0,
with `sample_id`, `subject_id` and `label`. The subject is the group.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.channels import CHANNELS, QUANTITIES, WrittenChannels
from comodo.config.dataset_base import BaseDataset
from comodo.core.settings import ADDED_LATER
from comodo.core.store import fingerprint, key_of
from comodo.data.imu import ACC_UNITS, GYRO_UNITS, ImuError, ImuStream, checked_stream
from comodo.data.recordings import DatasetError, Recording, visible

ANYMO_SENSORS = ("head", "left_wrist", "right_wrist")
ANYMO_RATE_HZ = 60.0
FACTORS_6 = np.repeat([ACC_UNITS["m/s^2"], GYRO_UNITS["rad/s"]], 3)


class AnymoBenchDataset(BaseDataset):
    """AnyMo-Bench: labelled windows of Nymeria with an IMU at the head and each wrist, no video."""

    kind: Literal["anymo-bench"]
    """AnyMo-Bench in its Parquet files."""
    path: ExistingPath
    """Folder of one configuration, with train-*.parquet and test-*.parquet."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = "whole"
    """Length of a window; `whole` takes each row as one, which has up to 5 s."""
    imu_rate: float = Field(60.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the files have 60."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = tuple(
        f"{sensor}.{quantity}" for sensor in ANYMO_SENSORS for quantity in QUANTITIES
    )
    """The channels that windows have: of the sensors head, left_wrist and right_wrist."""


class AnymoBenchReader:
    SETTINGS = AnymoBenchDataset

    def __init__(self, settings: AnymoBenchDataset) -> None:
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        rows = []
        for split in ("train", "test"):
            for file in sorted(visible(self.folder, f"{split}-*.parquet")):
                try:
                    about = pq.read_table(file, columns=["sample_id", "subject_id", "label"])
                except (OSError, ValueError, pa.ArrowException) as error:
                    message = f"{file}: cannot be read as windows of AnyMo-Bench: {error}"
                    raise DatasetError("dataset.unreadable", message) from None
                for row in about.to_pylist():
                    id, group, label = row["sample_id"], row["subject_id"], row["label"]
                    rows.append(Recording(id, "", str(file), split, group=group, label=label))
        if not rows:
            fix = "path is the folder of one configuration, such as data/AnyMo-Bench-150-US"
            message = f"{self.folder}: no train-*.parquet or test-*.parquet; {fix}"
            raise DatasetError("dataset.no-files", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """The whole window of each place; its first sample is at 0 s."""
        version = key_of(fingerprint(Path(recording.imu)))
        table, place_of = _shard(recording.imu, version)
        if recording.id not in place_of:
            raise ImuError("imu.missing", f"{recording.imu}: has no row {recording.id}")
        row = table["imu"][place_of[recording.id]].as_py()
        source = f"{recording.imu}, {recording.id}"
        try:
            imu_N18 = np.asarray(row, np.float64).reshape(len(row), 18)
        except (TypeError, ValueError):
            raise ImuError("imu.wrong-shape", f"{source}: imu is not [samples, 18]") from None
        time_N = np.arange(len(imu_N18)) / ANYMO_RATE_HZ
        return tuple(
            checked_stream(
                time_N,
                values_N6 * FACTORS_6,
                source,
                channels=tuple(f"{sensor}.{c}" for c in CHANNELS),
            )
            for sensor, values_N6 in zip(ANYMO_SENSORS, np.split(imu_N18, 3, axis=1), strict=True)
        )


# A shard is one compressed block of 5,000 windows, 100 MB in memory; they are read in its order.
@lru_cache(maxsize=1)
def _shard(file: str, version: str) -> tuple[pa.Table, dict[str, int]]:
    """The shard's rows, and the place of each by its id. Raises ImuError."""
    try:
        table = pq.read_table(file, columns=["sample_id", "imu"])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ImuError("imu.unreadable", f"{file}: cannot be read: {error}") from None
    return table, {id: place for place, id in enumerate(table["sample_id"].to_pylist())}
