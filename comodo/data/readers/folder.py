"""The user's own recordings: a CSV or Parquet manifest with a row for each.

imu         path of a .csv or .npy file, relative to the manifest's folder, and within `root`
video       path, likewise; optional where students are only measured (`evaluate_on`)
recording   optional id; by default the file name of the video, or of the IMU without one
label       optional activity; empty where it is unknown
split       train, val or test; optional with split_by_group in the sweep file
group       optional: subject, capture or day; by default each recording is a group
acc_unit, gyro_unit, imu_rate, imu_offset     optional, see `Recording`

With an imu_offset of `estimate`, the IMU's clock may start anywhere: the stream is shifted to start
with the video, and the remaining offset, up to 10 s, is estimated from the camera's motion.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

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
        self._inside_root: dict[Path, bool] = {}  # by folder

    def recordings(self) -> list[Recording]:
        rows = []
        for number, row in enumerate(self._rows(), start=2):
            try:
                rows.append(self._recording(row))
            except ValueError as error:
                raise DatasetError(
                    "dataset.bad-row", f"{self.manifest}, row {number}: {error}"
                ) from None
        id, count = Counter(recording.id for recording in rows).most_common(1)[0]
        if count > 1:
            raise DatasetError(
                "dataset.duplicate-id",
                f"{self.manifest}: the id '{id}' occurs twice; "
                "give each recording its own in a column recording",
            )
        self._refuse_missing_folders(rows)
        return sorted(rows, key=lambda recording: recording.id)

    def read_imu(self, recording: Recording) -> ImuStream:
        path = Path(recording.imu)
        if path.suffix == ".npy":
            if not (recording.imu_rate and recording.acc_unit and recording.gyro_unit):
                raise ImuError(
                    "imu.missing-unit",
                    f"{path}: an .npy file needs imu_rate, acc_unit and gyro_unit in the manifest",
                )
            stream = read_npy(path, recording.imu_rate, recording.acc_unit, recording.gyro_unit)
        else:
            stream = read_csv(path, recording.acc_unit, recording.gyro_unit)
        if recording.imu_offset == "estimate":
            return _aligned(stream, recording)
        return replace(stream, time_N=stream.time_N + recording.imu_offset)

    def _rows(self) -> list[dict[str, str]]:
        """The manifest's rows as text; an empty cell is an empty string."""
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
            raise DatasetError(
                "dataset.unreadable", f"{self.manifest}: cannot be read as a manifest: {error}"
            ) from None
        unknown = sorted(map(str, set(columns) - MANIFEST_COLUMNS))
        if unknown or "imu" not in columns:
            raise DatasetError(
                "dataset.bad-columns",
                f"{self.manifest}: columns {', '.join(columns)}; required: imu; "
                f"allowed: {', '.join(sorted(MANIFEST_COLUMNS))}",
            )
        if not rows:
            raise DatasetError(
                "dataset.no-recordings", f"{self.manifest}: no rows; list each recording in one"
            )
        return rows

    def _recording(self, row: dict[str, str]) -> Recording:
        """The recording of a row. Raises ValueError with what is wrong."""
        filled = {key: value for key, value in row.items() if value}
        if "imu" not in filled:
            raise ValueError("imu is empty; write the path of the IMU file")
        split, video = filled.get("split", ""), filled.get("video", "")
        if self.settings.split_by_group is None and split not in SPLIT_NAMES:
            raise ValueError(
                f"split is '{split}'; expected train, val or test, "
                "or split_by_group in the sweep file"
            )
        offset = filled.get("imu_offset", "0")
        if offset == "estimate" and not video:
            raise ValueError("an imu_offset of estimate needs a video")
        id = filled.get("recording", Path(video or filled["imu"]).stem)
        return Recording(
            id=id,
            video=self._inside(video) if video else "",
            imu=self._inside(filled["imu"]),
            split=split,
            group=filled.get("group", id),
            label=filled.get("label"),
            acc_unit=filled.get("acc_unit", ""),
            gyro_unit=filled.get("gyro_unit", ""),
            imu_rate=float(filled["imu_rate"]) if "imu_rate" in filled else None,
            imu_offset="estimate" if offset == "estimate" else float(offset),
        )

    def _inside(self, written: str) -> str:
        """The path of a manifest's cell. Raises ValueError if it leads out of the root."""
        path = self.manifest.parent / written
        if path.parent not in self._inside_root:  # resolved once, as the disk may be remote
            self._inside_root[path.parent] = path.parent.resolve().is_relative_to(self.root)
        inside = self._inside_root[path.parent] and path.name != ".."
        if inside and path.is_symlink():
            inside = path.resolve().is_relative_to(self.root)
        if not inside:
            raise ValueError(
                f"'{written}' leads out of {self.root}; if your recordings are elsewhere, "
                "set root, next to path, to a folder that contains them all"
            )
        return str(path)

    def _refuse_missing_folders(self, rows: list[Recording]) -> None:
        """Refuses a folder that does not exist; a missing file only rejects its recording."""
        files = [path for row in rows for path in (row.video, row.imu) if path]
        for folder in sorted({Path(path).parent for path in files}):
            if not folder.is_dir():
                raise DatasetError(
                    "dataset.missing-folder",
                    f"{self.manifest}: the folder {folder} does not exist; paths "
                    f"in a manifest are relative to {self.manifest.parent}",
                )


def _aligned(stream: ImuStream, recording: Recording) -> ImuStream:
    """A stream with any clock, moved to the video's by the camera's motion.

    Raises:
        ImuError: no offset is reliable.
        VideoError: the video cannot be read.
    """
    # Imports SciPy: a second that listing recordings need not wait.
    from comodo.data.clock_offset import estimate

    stream = replace(stream, time_N=stream.time_N - stream.time_N[0])
    offset = estimate(recording.video, stream)
    found = f"{offset.seconds:+.2f} s of the video, correlation {offset.correlation:.2f}"
    if not offset.reliable:
        raise ImuError(
            "imu.unreliable-offset",
            f"{recording.imu}: no reliable offset from {recording.video} (best: {found}); "
            "write imu_offset in seconds in the manifest",
        )
    note = f"imu_offset estimated: the IMU starts at {found}"
    return replace(stream, time_N=stream.time_N + offset.seconds, notes=(*stream.notes, note))
