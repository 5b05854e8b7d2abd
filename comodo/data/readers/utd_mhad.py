"""UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): 27 actions, 8 subjects, depth video and IMU.

Layout: `Inertial/aA_sS_tT_inertial.mat` with `d_iner [N, 6]` in g and deg/s, and
`depth_h264/aA_sS_tT.mp4`. Odd subjects train, even subjects test, as in the authors' protocol.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.dataset_base import BaseDataset
from comodo.data.imu import ImuError, ImuStream, checked_stream
from comodo.data.recordings import DatasetError, Recording, visible
from comodo.data.video import video_seconds


class UtdMhadDataset(BaseDataset):
    """UTD-MHAD: depth video and a body-worn IMU; odd subjects train, even subjects test."""

    kind: Literal["utd-mhad"]
    """UTD-MHAD in its own layout."""
    path: ExistingPath
    """Folder with Inertial/ and depth_h264/."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""


class UtdMhadReader:
    SETTINGS = UtdMhadDataset

    def __init__(self, settings: UtdMhadDataset) -> None:
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        rows = []
        for path in visible(self.folder / "Inertial", "*_inertial.mat"):
            id = path.stem.removesuffix("_inertial")
            match = re.fullmatch(r"a(\d+)_s(\d+)_t\d+", id)
            if match is None:
                message = f"{path}: move it elsewhere, or name it as a1_s2_t3_inertial.mat"
                raise DatasetError("dataset.bad-name", message)
            action, subject = int(match[1]), int(match[2])
            video = str(self.folder / "depth_h264" / f"{id}.mp4")
            split, label = "train" if subject % 2 else "test", f"action {action:02d}"
            rows.append(Recording(id, video, str(path), split, f"subject {subject}", label))
        if not rows:
            message = f"{self.folder}: no Inertial/*_inertial.mat; path is the folder with Inertial"
            raise DatasetError("dataset.no-files", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Spreads the samples evenly over the clip, as their true rate is not the nominal one."""
        from scipy.io import loadmat  # slow to import, and not needed to list recordings

        try:
            imu_NC = np.asarray(loadmat(recording.imu)["d_iner"], np.float64).reshape(-1, 6)
        except Exception as error:  # SciPy raises many kinds for a damaged file
            reason = f"{type(error).__name__}: {error}"
            message = f"{recording.imu}: cannot be read as UTD-MHAD's: {reason}"
            raise ImuError("imu.unreadable", message) from None
        time_N = np.linspace(0, video_seconds(recording.video), len(imu_NC))
        return (checked_stream(time_N, imu_NC, recording.imu),)
