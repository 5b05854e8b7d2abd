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
from typing import Any

import numpy as np

from comodo.config import EgoExo4dDataset
from comodo.core.store import fingerprint
from comodo.data import aria_vrs
from comodo.data.imu import ImuError, ImuStream, checked_stream, read_table
from comodo.data.readers.split_lists import Listed, id_and_activity, read_lists, refuse_wrong_folder
from comodo.data.recordings import DatasetError, Recording, plain_name, require_library

FRAME_NS = 1e9 / 30  # duration of a frame of the frame-aligned videos
FIRST_ROW = 1  # of a take in timesync.csv, after timesync_start_idx


class EgoExo4dReader:
    def __init__(self, settings: EgoExo4dDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        require_library("projectaria_tools", self.settings.path)
        listed = read_lists(Path(self.settings.splits), id_and_activity)
        rows = [self._recording(entry) for entry in listed]
        if not any(row.id in self._takes for row in rows):
            raise DatasetError(
                "dataset.unknown-takes",
                f"{self.folder / 'takes.json'}: has none of the {len(rows)} takes in the lists of "
                f"{self.settings.splits}",
            )
        refuse_wrong_folder(rows)
        return sorted(rows, key=lambda recording: recording.id)

    def read_imu(self, recording: Recording) -> ImuStream:
        take = self._takes.get(recording.id)
        if take is None:
            raise ImuError(
                "imu.unknown-take", f"{recording.id}: no such take in {self.folder / 'takes.json'}"
            )
        time_ns_N, imu_NC = aria_vrs.read_imu(recording.imu, self.settings.imu)
        first_ns, note = self._first_frame(take)
        if first_ns is None:
            first_ns = float(time_ns_N[0]) if len(time_ns_N) else 0.0
        stream = checked_stream((time_ns_N - first_ns) / 1e9, imu_NC, recording.imu)
        return ImuStream(stream.time_N, stream.imu_NC, (note,))

    @cached_property
    def _takes(self) -> dict[str, dict[str, Any]]:
        file = self.folder / "takes.json"
        return _read_takes(file, **fingerprint(file))

    def _recording(self, listed: Listed) -> Recording:
        take = self._takes.get(listed.id, {})
        capture = str((take.get("capture") or {}).get("capture_name"))
        folder = self.folder / "takes" / listed.id
        full = folder / "frame_aligned_videos" / f"{_glasses(take)}_214-1.mp4"
        small = full.parent / "downscaled" / "448" / full.name
        return Recording(
            id=listed.id,
            video=str(small if small.is_file() else full),
            imu=str(folder / f"{_glasses(take)}_noimagestreams.vrs"),
            split=listed.split,
            group=listed.id.rpartition("_")[0] or listed.id,
            beside=(str(self.folder / "takes.json"), str(self._timesync(capture))),
            label=listed.label,
        )

    def _timesync(self, capture: str) -> Path:
        return self.folder / "captures" / plain_name(capture) / "timesync.csv"

    def _first_frame(self, take: dict[str, Any]) -> tuple[float | None, str]:
        """Time of the take's first frame in ns of the glasses' clock (None: unknown), and a note
        about its source. Raises ImuError."""
        try:
            file = self._timesync(take["capture"]["capture_name"])
            row, end = take["timesync_start_idx"] + FIRST_ROW, take["timesync_end_idx"]
        except (KeyError, TypeError):
            raise ImuError(
                "imu.missing-clock",
                f"{self.folder / 'takes.json'}: take {take['take_name']} lacks its capture's "
                "name, timesync_start_idx or timesync_end_idx; download the file again",
            ) from None
        if not file.is_file():
            return None, f"no {file}: the first IMU sample is assumed to be at the first frame"
        column = f"{_glasses(take)}_214-1_capture_timestamp_ns"
        kind = f"a table with a column {column} of times in ns"
        table = read_table(file, kind, usecols=[column], dtype=np.float64)
        time_ns_K = table[column].to_numpy()[row:end]
        known_K = np.flatnonzero(np.isfinite(time_ns_K))  # a dropped frame has no time
        if not len(known_K):
            raise ImuError(
                "imu.missing-clock",
                f"{file}: no {column} in the rows {row} to {end} of {take['take_name']}; "
                "download the file again",
            )
        first = known_K[0]
        return float(time_ns_K[first] - first * FRAME_NS), f"clock of the video from {file}"


@lru_cache(
    maxsize=1
)  # 40 MB of JSON, which a worker would otherwise read for every chunk of recordings
def _read_takes(file: Path, size: int, modified_ns: int) -> dict[str, dict[str, Any]]:
    try:
        return {take["take_name"]: take for take in json.loads(file.read_text())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            "dataset.unreadable",
            f"{file}: cannot be read as a list of takes ({type(error).__name__}: {error}); "
            "path is the folder that the release was downloaded to",
        ) from None


def _glasses(take: dict[str, Any]) -> str:
    """The camera id of the take's Aria glasses, as aria01."""
    cameras = sorted(take.get("frame_aligned_videos") or {})
    return next((camera for camera in cameras if re.fullmatch(r"aria\w*", camera)), "aria01")
