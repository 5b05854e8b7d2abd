"""Ego4D (Grauman et al., CVPR 2022): first-person videos; some have an IMU stream.

Layout, from the data set's documentation of videos and IMU data: `<uid>.mp4` in one folder (the
release's full_scale, or smaller copies), `<uid>.csv` in another (the release's imu):

    component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,...,accl_x,accl_y,accl_z

`canonical_timestamp_ms` is the time since the video's first frame. It is empty for samples outside
the video and may run backwards; rows may lack acceleration. The documentation gives no units: the
accelerometer's is detected from gravity; the gyroscope is assumed to be in rad/s, as GoPro's
telemetry is. Splits and activities come from lists of uids. The wearers are not published, so each
video is its own group.
"""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.dataset_base import BaseDataset
from comodo.data import imu
from comodo.data.imu_tables import read_table
from comodo.data.readers.counted_clock import WindowTimes, counted_times
from comodo.data.readers.split_lists import id_and_activity, read_lists, refuse_wrong_folder
from comodo.data.recordings import Recording

CSV_COLUMNS = ["canonical_timestamp_ms", "accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z"]


class Ego4dDataset(BaseDataset):
    """Ego4D: videos and IMU files by uid, splits and activities from lists of uids."""

    PUBLISHED_UNITS = ("m/s^2", "rad/s")
    BY_PROTOCOL: ClassVar[dict[str, str]] = {"window_times": "counted"}

    kind: Literal["ego4d"]
    """Ego4D in the layout of its release."""
    video_folder: ExistingPath
    """Folder of `<uid>.mp4`: the release's full_scale, or smaller copies."""
    imu_folder: ExistingPath
    """Folder of `<uid>.csv`: the release's imu."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: uid, tab, activity."""
    window_times: WindowTimes = Field("clock", json_schema_extra={"x-published": "counted"})
    """When samples were: by the file's clock, or `counted` from the first one at the mean rate cut
    to whole Hz, as in the published code; by default as the sweep's protocol."""


class Ego4dReader:
    SETTINGS = Ego4dDataset

    def __init__(self, settings: Ego4dDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        rows = []
        for id, label, split in read_lists(Path(self.settings.splits), id_and_activity):
            video = str(Path(self.settings.video_folder) / f"{id}.mp4")
            file = str(Path(self.settings.imu_folder) / f"{id}.csv")
            rows.append(Recording(id, video, file, split, group=id, label=label))
        refuse_wrong_folder(rows)
        return rows

    def read_imu(self, recording: Recording) -> tuple[imu.ImuStream, ...]:
        """Samples in the order of their times; a note says where that was not the file's order.
        With `window_times: counted` every row with a time counts, also one that repeats another's
        or lacks a value, which the published code fills with 0 and this one leaves out."""
        kind = f"an IMU file of Ego4D with the columns {', '.join(CSV_COLUMNS)}"
        table = read_table(recording.imu, kind, usecols=CSV_COLUMNS, dtype=np.float64)
        row_N7 = table[CSV_COLUMNS].to_numpy()
        complete_N = np.isfinite(row_N7).all(axis=1)
        backwards = int((np.diff(row_N7[complete_N, 0]) < 0).sum())
        order_N = np.argsort(row_N7[:, 0], kind="stable")
        row_N7, clock_notes = row_N7[order_N], list[str]()
        if self.settings.window_times == "counted":
            row_N7 = row_N7[np.isfinite(row_N7[:, 0])]
            time_N, note = counted_times(row_N7[:, 0] / 1000, recording.imu)
            clock_notes.append(note)
        else:
            # Rows with the time of others, elsewhere in the file, are no ticks of a coarse clock.
            again_M = (np.diff(row_N7[:, 0]) == 0) & (np.diff(order_N) != 1)
            row_N7 = row_N7[np.append([True], ~again_M)[: len(row_N7)]]
            time_N = row_N7[:, 0] / 1000
            if again_M.any():
                what = "rows repeat a time of earlier rows and are left out"
                clock_notes.append(f"{again_M.sum()} {what}")
        units = {unit: imu.ACC_UNITS[unit] for unit in ("g", "m/s^2")}
        factor, unit_note = imu.unit_by_gravity(row_N7[:, 1:4], units, recording.imu)
        imu_N6 = row_N7[:, 1:] * np.repeat([factor, imu.GYRO_UNITS["rad/s"]], 3)
        notes = [unit_note]
        if backwards:
            notes.append(f"the clock runs backwards at {backwards} rows; sorted")
        notes += clock_notes
        return (imu.checked_stream(time_N, imu_N6, recording.imu, notes),)
