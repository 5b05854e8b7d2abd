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

MANIFEST_COLUMNS = {
    "video", "imu", "recording", "label", "split", "group", "acc_unit", "gyro_unit", "imu_rate",
    "imu_offset",
}  # fmt: skip


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
                raise self._failure("bad-row", f", row {number}: {error}") from None
        id, count = Counter(recording.id for recording in rows).most_common(1)[0]
        if count > 1:
            fix = "give each recording its own in a column recording"
            raise self._failure("duplicate-id", f": the id '{id}' occurs twice; {fix}")
        # A missing file only rejects its recording.
        for folder in sorted({Path(p).parent for row in rows for p in (row.video, row.imu) if p}):
            if not folder.is_dir():
                fix = f"paths in a manifest are relative to {self.manifest.parent}"
                message = f": the folder {folder} does not exist; {fix}"
                raise self._failure("missing-folder", message)
        return rows

    def read_imu(self, recording: Recording) -> ImuStream:
        path = Path(recording.imu)
        if path.suffix == ".npy":
            if not (recording.imu_rate and recording.acc_unit and recording.gyro_unit):
                needs = "an .npy file needs imu_rate, acc_unit and gyro_unit in the manifest"
                raise ImuError("imu.missing-unit", f"{path}: {needs}")
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
            message = f": cannot be read as a manifest: {error}"
            raise self._failure("unreadable", message) from None
        if set(columns) - MANIFEST_COLUMNS or "imu" not in columns:
            allowed = ", ".join(sorted(MANIFEST_COLUMNS))
            message = f": columns {', '.join(columns)}; required: imu; allowed: {allowed}"
            raise self._failure("bad-columns", message)
        if not rows:
            raise self._failure("no-recordings", ": no rows; list each recording in one")
        return rows

    def _recording(self, row: dict[str, str]) -> Recording:
        """The recording of a row. Raises ValueError with what is wrong."""
        filled = {key: value for key, value in row.items() if value}
        if "imu" not in filled:
            raise ValueError("imu is empty; write the path of the IMU file")
        split, video = filled.get("split", ""), filled.get("video", "")
        if self.settings.split_by_group is None and split not in SPLIT_NAMES:
            fix = "expected train, val or test, or split_by_group in the sweep file"
            raise ValueError(f"split is '{split}'; {fix}")
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
            fix = "set root, next to path, to a folder that contains all recordings"
            raise ValueError(f"'{written}' leads out of {self.root}; {fix}")
        return str(path)

    def _failure(self, reason: str, message: str) -> DatasetError:
        return DatasetError(f"dataset.{reason}", f"{self.manifest}{message}")


def _aligned(stream: ImuStream, recording: Recording) -> ImuStream:
    """A stream with any clock, moved to the video's by the camera's motion. Raises ImuError if no
    offset is reliable, and VideoError."""
    # Imports SciPy: a second that listing recordings need not wait.
    from comodo.data.clock_offset import estimate

    stream = replace(stream, time_N=stream.time_N - stream.time_N[0])
    offset = estimate(recording.video, stream)
    found = f"{offset.seconds:+.2f} s of the video, correlation {offset.correlation:.2f}"
    if not offset.reliable:
        fix = "write imu_offset in seconds in the manifest"
        message = f"{recording.imu}: no reliable offset from {recording.video} (best: {found})"
        raise ImuError("imu.unreliable-offset", f"{message}; {fix}")
    note = f"imu_offset estimated: the IMU starts at {found}"
    return replace(stream, time_N=stream.time_N + offset.seconds, notes=(*stream.notes, note))
