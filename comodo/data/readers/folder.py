"""The user's own recordings: a CSV or Parquet manifest with a row for each.

imu         path of a .csv or .npy file, relative to the manifest's folder, and within `root`
video       path, likewise; may be missing where students are only measured (`evaluate_on`)
recording   optional id; by default the file name of the video, or of the IMU without one
label       optional activity; empty where it is not known
split       optional: train, val or test (or split_by_group in the sweep file)
group       optional: subject, capture or day; by default the recording itself
acc_unit, gyro_unit, imu_rate, imu_offset     optional, see `Recording`

With an imu_offset of `estimate`, the IMU's clock may begin anywhere: the stream is taken to begin
with the video, and what that is off, up to 10 s, is found from the camera's own motion.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from comodo.config import FolderDataset
from comodo.data.imu import ImuError, ImuStream, read_csv, read_npy
from comodo.data.recordings import SPLIT_NAMES, DatasetError, Recording

MANIFEST_COLUMNS = {"video", "imu", "recording", "label", "split", "group", "acc_unit", "gyro_unit",
           "imu_rate", "imu_offset"}  # fmt: skip


class FolderReader:
    def __init__(self, settings: FolderDataset) -> None:
        self.settings = settings
        self.manifest = Path(settings.path)
        self.root = Path(settings.root or self.manifest.parent).resolve()
        self._folders: dict[Path, bool] = {}  # whether they lie in the root

    def recordings(self) -> list[Recording]:
        rows = [self._recording(row, line) for line, row in enumerate(self._rows(), start=2)]
        id, count = Counter(recording.id for recording in rows).most_common(1)[0]
        if count > 1:
            raise DatasetError(
                f"{self.manifest}: the id '{id}' stands twice; "
                "give each recording its own in a column recording"
            )
        self._refuse_missing_folders(rows)
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
        if recording.imu_offset == "estimate":
            return _beside_video(stream, recording)
        return replace(stream, time_N=stream.time_N + recording.imu_offset)

    def _rows(self) -> list[dict[str, str]]:
        """The manifest's rows as text; what is empty is an empty string."""
        try:
            if self.manifest.suffix == ".parquet":
                table = pq.read_table(self.manifest)
                columns = table.column_names
                rows = [
                    {key: "" if value is None or value != value else str(value)
                     for key, value in row.items()}
                    for row in table.to_pylist()
                ]  # fmt: skip
            else:
                with self.manifest.open(newline="") as file:
                    reader = csv.DictReader(file, restval="")
                    rows, columns = list(reader), list(reader.fieldnames or ())
        except (OSError, ValueError, csv.Error) as error:
            raise DatasetError(f"{self.manifest}: cannot be read as a manifest: {error}") from None
        unknown = sorted(map(str, set(columns) - MANIFEST_COLUMNS))
        if unknown or "imu" not in columns:
            raise DatasetError(
                f"{self.manifest}: columns {', '.join(columns)}; needed: imu; "
                f"allowed: {', '.join(sorted(MANIFEST_COLUMNS))}"
            )
        if not rows:
            raise DatasetError(f"{self.manifest}: no rows")
        return rows

    def _recording(self, row: dict[str, str], line: int) -> Recording:
        filled = {key: value for key, value in row.items() if value}
        where = f"{self.manifest}, row {line}"
        if "imu" not in filled:
            raise DatasetError(f"{where}: imu is empty")
        split = filled.get("split", "")
        if self.settings.split_by_group is None and split not in SPLIT_NAMES:
            raise DatasetError(
                f"{where}: split is '{split}'; wanted train, val or test, "
                "or split_by_group in the sweep file"
            )
        try:
            rate = float(filled["imu_rate"]) if "imu_rate" in filled else None
            offset = filled.get("imu_offset", "0")
            imu_offset: float | Literal["estimate"]
            imu_offset = "estimate" if offset == "estimate" else float(offset)
        except ValueError as error:
            raise DatasetError(f"{where}: {error}") from None
        video = filled.get("video", "")
        if imu_offset == "estimate" and not video:
            raise DatasetError(f"{where}: an imu_offset of estimate needs a video")
        id = filled.get("recording", Path(video or filled["imu"]).stem)
        return Recording(
            id=id,
            video=self._inside(video, where) if video else "",
            imu=self._inside(filled["imu"], where),
            split=split,
            group=filled.get("group", id),
            label=filled.get("label"),
            acc_unit=filled.get("acc_unit", ""),
            gyro_unit=filled.get("gyro_unit", ""),
            imu_rate=rate,
            imu_offset=imu_offset,
        )

    def _inside(self, written: str, where: str) -> str:
        """The path that a manifest means. Raises DatasetError if it leads out of the root."""
        path = self.manifest.parent / written
        if path.parent not in self._folders:  # one of few, each asked of a disk that may be far
            self._folders[path.parent] = path.parent.resolve().is_relative_to(self.root)
        inside = self._folders[path.parent] and path.name != ".."
        if inside and path.is_symlink():
            inside = path.resolve().is_relative_to(self.root)
        if not inside:
            raise DatasetError(
                f"{where}: '{written}' leads out of {self.root}; if your recordings lie elsewhere, "
                "name a folder that they are all in as root, beside path"
            )
        return str(path)

    def _refuse_missing_folders(self, rows: list[Recording]) -> None:
        """A single missing file is a rejected recording; a missing folder is a wrong manifest."""
        files = [path for row in rows for path in (row.video, row.imu) if path]
        for folder in sorted({Path(path).parent for path in files}):
            if not folder.is_dir():
                raise DatasetError(
                    f"{self.manifest}: the folder {folder} does not exist; paths "
                    f"in a manifest are relative to {self.manifest.parent}"
                )


def _beside_video(stream: ImuStream, recording: Recording) -> ImuStream:
    """A stream of any clock, moved to where the camera's motion fits it.

    Raises:
        ImuError: nowhere does it fit clearly.
        VideoError: the video cannot be read.
    """
    from comodo.data.clock_offset import (
        estimate,  # it takes SciPy a second that a mere listing need not wait
    )

    stream = replace(stream, time_N=stream.time_N - stream.time_N[0])
    offset = estimate(recording.video, stream)
    found = f"{offset.seconds:+.2f} s of the video, correlation {offset.correlation:.2f}"
    if not offset.reliable:
        raise ImuError(
            f"{recording.imu}: no clear place beside {recording.video} (best: {found}); "
            "give imu_offset in seconds by hand"
        )
    note = f"imu_offset estimated: the IMU begins at {found}"
    return replace(stream, time_N=stream.time_N + offset.seconds, notes=(*stream.notes, note))
