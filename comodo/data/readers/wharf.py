"""WHARF (Bruno, Mastrogiovanni, Sgorbissa, RO-MAN 2014): 14 activities of 17 people with one
accelerometer at the right wrist. No gyroscope and no video.

Layout, from MANUAL.txt of version 1.2:

    Data/Walk/Accelerometer-2011-03-24-10-24-39-walk-f1.txt     time of start, activity, person

Rows are x, y, z at 32 Hz in codes of six bits: 0 to 63 are -1.5 to +1.5 g, and what is beyond was
cut off. There are no times of samples, so they are counted from 0 s. The release's folder MODELS
has cut copies of the same recordings and is left out. The person is the group.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.channels import ACC_CHANNELS, WrittenChannels
from comodo.config.dataset_base import BaseDataset, SplitByGroup
from comodo.core.settings import ADDED_LATER
from comodo.data.imu import ImuError, ImuStream, checked_stream, refuse_missing
from comodo.data.recordings import DatasetError, Recording, visible

WHARF_RATE_HZ = 32.0
LAST_CODE = 63
RANGE_G = 1.5
_NAME = re.compile(r"Accelerometer-((?:\d+-){6}([a-z_]+)-([mf]\d+))")


class WharfDataset(BaseDataset):
    """WHARF: one accelerometer at the right wrist, without video."""

    kind: Literal["wharf"]
    """WHARF in the layout of its release."""
    path: ExistingPath
    """Folder that is searched for Accelerometer-*.txt at any depth."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.5
    """Length of a window; `whole` takes each file as one. The shortest file has 2.56 s."""
    imu_rate: float = Field(32.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensor has 32."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = ("acc",)
    """The channels that windows have, of `[acc]`."""
    split_by_group: SplitByGroup
    """Splits by person, as the data set has none of its own: by shares, or folds."""


class WharfReader:
    SETTINGS = WharfDataset

    def __init__(self, settings: WharfDataset) -> None:
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        rows = []
        for path in visible(self.folder, "**/Accelerometer-*.txt"):
            if "MODELS" in path.relative_to(self.folder).parts:
                continue
            match = _NAME.fullmatch(path.stem)
            if match is None:
                example = "Accelerometer-2011-03-24-10-24-39-walk-f1.txt"
                message = f"{path}: move it elsewhere, or name it as {example}"
                raise DatasetError("dataset.bad-name", message)
            id, activity, person = match.groups()
            rows.append(Recording(id, "", str(path), "", group=person, label=activity))
        if not rows:
            message = f"{self.folder}: no Accelerometer-*.txt; path is the folder with Data"
            raise DatasetError("dataset.no-files", message)
        id, count = Counter(row.id for row in rows).most_common(1)[0]
        if count > 1:
            message = f"{self.folder}: {count} files are named Accelerometer-{id}.txt; keep one"
            raise DatasetError("dataset.duplicate-id", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        refuse_missing(recording.imu)
        try:
            code_N3 = np.loadtxt(recording.imu, ndmin=2)
        except (OSError, ValueError) as error:
            message = f"{recording.imu}: cannot be read as rows of x, y, z: {error}"
            raise ImuError("imu.unreadable", message) from None
        is_code = (code_N3 >= 0) & (code_N3 <= LAST_CODE) & (code_N3 % 1 == 0)
        if code_N3.shape[1:] != (3,) or not is_code.all():
            found = f"its rows are not x, y, z as whole numbers from 0 to {LAST_CODE}"
            raise ImuError("imu.unreadable", f"{recording.imu}: {found}; copy the file again")
        acc_N3 = (code_N3 / LAST_CODE * 2 - 1) * RANGE_G
        time_N = np.arange(len(acc_N3)) / WHARF_RATE_HZ
        return (checked_stream(time_N, acc_N3, recording.imu, channels=ACC_CHANNELS),)
