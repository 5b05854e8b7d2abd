"""Ego-Exo4D (Grauman et al., CVPR 2024): takes filmed with Project Aria glasses.

Layout, from the data set's documentation of takes, downscaled takes and metadata:

    takes.json                                                   every take
    takes/<take>/frame_aligned_videos/aria01_214-1.mp4           the glasses' RGB camera, 30 fps
    takes/<take>/frame_aligned_videos/downscaled/448/...         the same, smaller; used if present
    takes/<take>/aria01_noimagestreams.vrs                       the other sensors, same span
    captures/<capture>/timesync.csv                              times of all frames of a capture

Clocks: times in the VRS file are in ns of the glasses' clock. Frame k of a take is row
`timesync_start_idx` + 1 + k of timesync.csv, whose column `aria01_214-1_capture_timestamp_ns` has
the same clock, as in the documentation's example. (Other public readers start one row earlier; the
difference is one frame, 33 ms.) Without timesync.csv the first IMU sample is assumed to be at the
first frame, as both files are trimmed to the take, and a note says so.
A take is named <capture>_<number>; the capture is its group.
"""

import json
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.dataset_base import BaseDataset
from comodo.core.store import fingerprint, key_of
from comodo.data import aria_vrs
from comodo.data.imu import ImuError, ImuStream, checked_stream
from comodo.data.imu_tables import read_table
from comodo.data.readers.counted_clock import WindowTimes, counted_times
from comodo.data.readers.split_lists import id_and_activity, read_lists, refuse_wrong_folder
from comodo.data.recordings import DatasetError, Recording, plain_name, require_library

FRAME_NS = 1e9 / 30  # duration of a frame of the frame-aligned videos
FIRST_ROW = 1  # of a take in timesync.csv, after timesync_start_idx


class EgoExo4dDataset(BaseDataset):
    """Ego-Exo4D: the RGB video and the IMU of the Aria glasses of each take."""

    PUBLISHED_UNITS = ("m/s^2", "rad/s")
    BY_PROTOCOL: ClassVar[dict[str, str]] = {"window_times": "counted"}

    kind: Literal["egoexo4d"]
    """Ego-Exo4D in the layout of its release; needs `pip install projectaria-tools`."""
    path: ExistingPath
    """Folder of the downloaded release, with takes.json and takes/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: take, tab, activity."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""
    window_times: WindowTimes = Field("clock", json_schema_extra={"x-published": "counted"})
    """When samples were: by the glasses' clock, or `counted` from the first one at the mean rate
    cut to whole Hz, as in the published code; by default as the sweep's protocol."""


class EgoExo4dReader:
    SETTINGS = EgoExo4dDataset

    def __init__(self, settings: EgoExo4dDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)
        self.takes_file = self.folder / "takes.json"

    def recordings(self) -> list[Recording]:
        require_library("projectaria_tools", self.settings.path)
        listed = read_lists(Path(self.settings.splits), id_and_activity)
        rows = [self._recording(*entry) for entry in listed]
        if not any(row.id in self._takes for row in rows):
            known = f"has none of the {len(rows)} takes in the lists of {self.settings.splits}"
            raise DatasetError("dataset.unknown-takes", f"{self.takes_file}: {known}")
        refuse_wrong_folder(rows)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        take = self._takes.get(recording.id)
        if take is None:
            message = f"{recording.id}: no such take in {self.takes_file}"
            raise ImuError("imu.unknown-take", message)
        time_ns_N, imu_NC = aria_vrs.read_imu(recording.imu, self.settings.imu)
        if self.settings.window_times == "counted":
            # As published, only samples whose both sensors are valid count.
            complete_N = np.isfinite(imu_NC).all(axis=1)
            clock_ns_N, imu_NC = time_ns_N[complete_N], imu_NC[complete_N]
            time_N, note = counted_times((clock_ns_N - time_ns_N[0]) / 1e9, recording.imu)
        else:
            first_ns, note = self._first_frame(take, float(time_ns_N[0]))
            time_N = (time_ns_N - first_ns) / 1e9
        return (checked_stream(time_N, imu_NC, recording.imu, [note]),)

    @cached_property
    def _takes(self) -> dict[str, dict[str, Any]]:
        return _read_takes(self.takes_file, key_of(fingerprint(self.takes_file)))

    def _recording(self, id: str, label: str, split: str) -> Recording:
        take = self._takes.get(id, {})
        capture = str((take.get("capture") or {}).get("capture_name"))
        folder = self.folder / "takes" / id
        full = folder / "frame_aligned_videos" / f"{_glasses(take)}_214-1.mp4"
        small = full.parent / "downscaled" / "448" / full.name
        return Recording(
            id,
            video=str(small if small.is_file() else full),
            imu=str(folder / f"{_glasses(take)}_noimagestreams.vrs"),
            split=split,
            group=id.rpartition("_")[0] or id,
            beside=(str(self.takes_file), str(self._timesync(capture))),
            label=label,
        )

    def _timesync(self, capture: str) -> Path:
        return self.folder / "captures" / plain_name(capture) / "timesync.csv"

    def _first_frame(self, take: dict[str, Any], first_sample_ns: float) -> tuple[float, str]:
        """Time of the take's first frame in ns of the glasses' clock, and a note about its source.
        Raises ImuError."""
        try:
            file = self._timesync(take["capture"]["capture_name"])
            row, end = take["timesync_start_idx"] + FIRST_ROW, take["timesync_end_idx"]
        except (KeyError, TypeError):
            lacks = "lacks its capture's name, timesync_start_idx or timesync_end_idx"
            message = f"{self.takes_file}: take {take['take_name']} {lacks}; download it again"
            raise ImuError("imu.missing-clock", message) from None
        if not file.is_file():
            note = f"no {file}: the first IMU sample is assumed to be at the first frame"
            return first_sample_ns, note
        column = f"{_glasses(take)}_214-1_capture_timestamp_ns"
        kind = f"a table with a column {column} of times in ns"
        table = read_table(file, kind, usecols=[column], dtype=np.float64)
        time_ns_K = table[column].to_numpy()[row:end]
        known_K = np.flatnonzero(np.isfinite(time_ns_K))  # a dropped frame has no time
        if not len(known_K):
            rows = f"the rows {row} to {end} of {take['take_name']}"
            message = f"{file}: no {column} in {rows}; download the file again"
            raise ImuError("imu.missing-clock", message)
        first = known_K[0]
        return float(time_ns_K[first] - first * FRAME_NS), f"clock of the video from {file}"


# 40 MB of JSON, which a worker would otherwise read for every chunk of recordings.
@lru_cache(maxsize=1)
def _read_takes(file: Path, version: str) -> dict[str, dict[str, Any]]:
    try:
        return {take["take_name"]: take for take in json.loads(file.read_text())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"cannot be read as a list of takes ({type(error).__name__}: {error})"
        fix = "path is the folder that the release was downloaded to"
        raise DatasetError("dataset.unreadable", f"{file}: {reason}; {fix}") from None


def _glasses(take: dict[str, Any]) -> str:
    """The camera id of the take's Aria glasses, as aria01."""
    cameras = sorted(take.get("frame_aligned_videos") or {})
    return next((camera for camera in cameras if re.fullmatch(r"aria\w*", camera)), "aria01")
