"""The user's own recordings: a CSV or Parquet manifest with a row for each.

video       path, relative to the manifest's folder
imu         path of a .csv or .npy file, likewise
recording   optional id; by default the video's file name
label       optional activity; empty where it is not known
split       optional: train, val or test (or split_by_group in the sweep file)
group       optional: subject, capture or day; by default the recording itself
acc_unit, gyro_unit, imu_rate, imu_offset     optional, see `Recording`
"""

from pathlib import Path
from typing import Any

import pandas as pd

from comodo.config import FolderDataset
from comodo.datasets import SPLITS, DatasetError, Recording, split_by_group
from comodo.imu import ImuError, ImuStream, read_csv, read_npy

COLUMNS = {"video", "imu", "recording", "label", "split", "group", "acc_unit", "gyro_unit",
           "imu_rate", "imu_offset"}  # fmt: skip


class FolderReader:
    def __init__(self, settings: FolderDataset) -> None:
        self.settings = settings
        self.manifest = Path(settings.path)

    def recordings(self) -> list[Recording]:
        frame = self._frame()
        rows = [
            self._recording(row, line) for line, row in enumerate(frame.to_dict("records"), start=2)
        ]
        duplicates = frame_duplicates([recording.id for recording in rows])
        if duplicates:
            raise DatasetError(
                f"{self.manifest}: the id '{duplicates[0]}' stands twice; "
                "give each recording its own in a column recording"
            )
        self._refuse_missing_folders(rows)
        if self.settings.split_by_group is not None:
            rows = split_by_group(rows, self.settings.split_by_group)
        return sorted(rows, key=lambda recording: recording.id)

    def read_imu(self, recording: Recording) -> ImuStream:
        path = Path(recording.imu)
        if not path.is_file():
            raise ImuError(f"{path}: no such file")
        if path.suffix == ".npy":
            if recording.imu_rate is None:
                raise ImuError(f"{path}: an .npy file needs imu_rate in the manifest")
            if not (recording.acc_unit and recording.gyro_unit):
                raise ImuError(f"{path}: an .npy file needs acc_unit and gyro_unit")
            stream = read_npy(path, recording.imu_rate, recording.acc_unit, recording.gyro_unit)
        else:
            stream = read_csv(path, recording.acc_unit, recording.gyro_unit)
        return ImuStream(stream.time_N + recording.imu_offset, stream.imu_NC)

    def _frame(self) -> pd.DataFrame:
        try:
            if self.manifest.suffix == ".parquet":
                frame = pd.read_parquet(self.manifest)
            else:
                frame = pd.read_csv(self.manifest, dtype=str, keep_default_na=False)
            frame = frame.astype(object).where(frame.notna(), "").astype(str)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.manifest}: cannot be read as a manifest: {error}") from None
        unknown = sorted(set(frame.columns) - COLUMNS)
        if unknown or not {"video", "imu"} <= set(frame.columns):
            raise DatasetError(
                f"{self.manifest}: columns {', '.join(frame.columns)}; needed: video, imu; "
                f"allowed: {', '.join(sorted(COLUMNS))}"
            )
        if frame.empty:
            raise DatasetError(f"{self.manifest}: no rows")
        return frame

    def _recording(self, row: dict[Any, Any], line: int) -> Recording:
        filled = {str(k): v for k, v in row.items() if v is not None and v == v and v != ""}
        where = f"{self.manifest}, row {line}"
        for needed in ("video", "imu"):
            if needed not in filled:
                raise DatasetError(f"{where}: {needed} is empty")
        split = str(filled.get("split", ""))
        if self.settings.split_by_group is None and split not in SPLITS:
            raise DatasetError(
                f"{where}: split is '{split}'; wanted train, val or test, "
                "or split_by_group in the sweep file"
            )
        try:
            rate = float(filled["imu_rate"]) if "imu_rate" in filled else None
            offset = float(filled.get("imu_offset", 0))
        except ValueError as error:
            raise DatasetError(f"{where}: {error}") from None
        id = str(filled.get("recording", Path(str(filled["video"])).stem))
        folder = self.manifest.parent
        return Recording(
            id=id,
            video=str(folder / str(filled["video"])),
            imu=str(folder / str(filled["imu"])),
            split=split,
            group=str(filled.get("group", id)),
            label=str(filled["label"]) if "label" in filled else None,
            acc_unit=str(filled.get("acc_unit", "")),
            gyro_unit=str(filled.get("gyro_unit", "")),
            imu_rate=rate,
            imu_offset=offset,
        )

    def _refuse_missing_folders(self, rows: list[Recording]) -> None:
        """A single missing file is a rejected recording; a missing folder is a wrong manifest."""
        for folder in sorted({Path(path).parent for row in rows for path in (row.video, row.imu)}):
            if not folder.is_dir():
                raise DatasetError(
                    f"{self.manifest}: the folder {folder} does not exist; paths "
                    f"in a manifest are relative to {self.manifest.parent}"
                )


def frame_duplicates(ids: list[str]) -> list[str]:
    """Ids that stand more than once."""
    return sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < len(ids) else []
