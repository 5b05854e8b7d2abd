"""HD-EPIC (Perrett et al., CVPR 2025): cooking at home, filmed with Project Aria glasses.

Layout, from the list of files of its download script (github.com/hd-epic/hd-epic-downloader):

    Videos/P01/P01-20240202-110250.mp4                           the glasses' RGB camera, 30 fps
    Videos/P01/P01-20240202-110250_mp4_to_vrs_time_ns.csv        times of its frames
    VRS/P01/P01-20240202-110250_anonymized.vrs                   the glasses' sensors

The columns `mp4_time_ns` and `vrs_device_time_ns` are of projectaria-tools' converter to MP4, which
made the videos: both of each frame. The person is the group. No labels: its narrations are a Python
pickle, which may run any program when it is read.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from comodo.config.base import ExistingPath
from comodo.config.channels import CHANNELS
from comodo.config.dataset_base import BaseDataset
from comodo.data import aria_vrs
from comodo.data.imu import ImuError, ImuStream, checked_stream
from comodo.data.imu_tables import read_table
from comodo.data.recordings import DatasetError, Recording, require_library, visible

CLOCKS = ["mp4_time_ns", "vrs_device_time_ns"]


class HdEpicDataset(BaseDataset):
    """HD-EPIC: cooking at home with Project Aria glasses, unlabelled here."""

    kind: Literal["hd-epic"]
    """HD-EPIC in the layout of its download script; needs `pip install projectaria-tools`."""
    path: ExistingPath
    """Folder with Videos/ and VRS/."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""


class HdEpicReader:
    SETTINGS = HdEpicDataset

    def __init__(self, settings: HdEpicDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        require_library("projectaria_tools", self.settings.path)
        rows = []
        for video in visible(self.folder, "Videos/*/*.mp4"):
            id, person = video.stem, video.parent.name
            if not re.fullmatch(rf"{re.escape(person)}-\d{{8}}-\d{{6}}", id):
                example = "P01/P01-20240202-110250.mp4"
                message = f"{video}: move it elsewhere, or name it as {example}"
                raise DatasetError("dataset.bad-name", message)
            imu = self.folder / "VRS" / person / f"{id}_anonymized.vrs"
            times = video.with_name(f"{id}_mp4_to_vrs_time_ns.csv")
            beside = (str(times),)
            rows.append(Recording(id, str(video), str(imu), "train", group=person, beside=beside))
        if not rows:
            message = f"{self.folder}: no Videos/*/*.mp4; path is the folder with Videos and VRS"
            raise DatasetError("dataset.no-files", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        time_ns_N, imu_NC = aria_vrs.read_imu(recording.imu, self.settings.imu)
        (times,) = recording.beside
        table = read_table(times, f"a table with {' and '.join(CLOCKS)}", usecols=CLOCKS)
        try:
            mp4_ns_K, device_ns_K = (table[clock].to_numpy(np.int64) for clock in CLOCKS)
        except ValueError as error:
            raise ImuError("imu.unreadable", f"{times}: {error}") from None
        new_K = np.diff(device_ns_K, prepend=device_ns_K[:1] - 1) > 0  # the others are copies
        mp4_ns_K, device_ns_K = mp4_ns_K[new_K], device_ns_K[new_K]
        if len(device_ns_K) < 2 or (np.diff(mp4_ns_K) <= 0).any():
            message = f"{times}: its times do not ascend; download the file again"
            raise ImuError("imu.missing-clock", message)
        time_N = _extended(time_ns_N - device_ns_K[0], device_ns_K - device_ns_K[0], mp4_ns_K) / 1e9
        return (checked_stream(time_N, imu_NC, recording.imu, channels=CHANNELS),)


def _extended(at_N: np.ndarray, from_K: np.ndarray, to_K: np.ndarray) -> np.ndarray:
    """Linear interpolation, and with slope 1 before the first and after the last: float64 [N]."""
    before_N, after_N = np.minimum(at_N - from_K[0], 0), np.maximum(at_N - from_K[-1], 0)
    return np.interp(at_N, from_K, to_K) + before_N + after_N
