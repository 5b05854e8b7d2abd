"""The user's own recordings: a CSV or Parquet manifest with a row for each.

CSV is UTF-8 with commas, semicolons or tabs. Blanks around cells do not count, and columns that are
not listed here are ignored, with a note.

imu         path of a .csv, .npy or .cwa file, relative to the manifest's folder, and within `root`,
            or a URL in a bucket;
            of several sensors `head=head.csv;left_wrist=lw.csv`, see `imu_files`
video       path, likewise; optional where students are only measured (`evaluate_on`)
recording   optional id; by default the file name of the video, or of the IMU without one
label       optional activity; empty where it is unknown
split       train, val or test; optional with split_by_group in the sweep file
group       optional: subject, capture or day; by default each recording is a group
start, end  optional seconds of the video's clock: the row is that part of its files
labels      optional path of a file of label intervals, see `label_file`; in place of label
acc_unit, gyro_unit, time_unit, imu_rate, imu_offset     optional, see `Recording`

With an imu_offset of `estimate`, the IMU's clock may start anywhere: the stream is shifted to start
with the video, and the remaining offset, up to 10 s, is estimated from the camera's motion.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from comodo.config.base import ExistingPathOrUrl
from comodo.config.channels import expanded
from comodo.config.dataset_base import BaseDataset
from comodo.core.inputs import InputError, joined, local_copy
from comodo.core.paths import is_url
from comodo.core.settings import ADDED_LATER
from comodo.data.imu import ImuError, ImuStream
from comodo.data.intervals import overlapping, refuse_shared
from comodo.data.names import tidy
from comodo.data.readers import imu_files
from comodo.data.readers.imu_files import Columns, Preset, SensorName, TimeUnit
from comodo.data.readers.label_file import read_labels
from comodo.data.readers.manifest import MANIFEST_COLUMNS, Manifest, failure, read_manifest
from comodo.data.recordings import (
    SPLIT_NAMES,
    DatasetError,
    Interval,
    Recording,
    file_identity,
    finite_number,
)
from comodo.data.tables.presets import PRESETS, Layout, literal, of_sensor

WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
T = TypeVar("T", bound=str)


class FolderDataset(BaseDataset):
    """The user's own recordings, listed in a CSV or Parquet manifest."""

    kind: Literal["folder"]
    """A manifest that names each recording."""
    path: ExistingPathOrUrl
    """The manifest file, also in a bucket: `s3://bucket/recordings/manifest.csv`."""
    root: ExistingPathOrUrl | None = Field(None, exclude_if=lambda value: value is None)
    """Folder that the manifest's paths must not leave, also by `..` or link; by default its own.
    One in a bucket, `s3://bucket/recordings`, is for the manifest's URLs."""
    preset: Annotated[Preset | dict[SensorName, Preset] | None, ADDED_LATER] = None
    """The layout of IMU files that an app or a sensor exports; of several sensors by name."""
    columns: Annotated[Columns | None, ADDED_LATER] = None
    """Columns of IMU files: `{time: timestamp, acc_x: "Accel X"}`, or `left_wrist.acc_x` of one
    sensor; by default those named after channels. `comodo inspect --file` prints it. Where a row
    has one sensor's values: `{time: t, sensor: kind, acc: ACC, gyro: GYRO, x: x, y: y, z: z}`. Of
    files without a header, columns are "1", "2", ..."""
    time_unit: Annotated[TimeUnit | dict[SensorName, TimeUnit] | None, ADDED_LATER] = None
    """Unit of times for which the file gives none. Times in ISO 8601 need none."""
    acc_unit: Annotated[str | dict[SensorName, str] | None, ADDED_LATER] = None
    """Unit of acceleration in IMU files that give none: `g`, `mg` or `m/s^2`."""
    gyro_unit: Annotated[str | dict[SensorName, str] | None, ADDED_LATER] = None
    """Unit of rotation in IMU files that give none: `deg/s`, `rad/s`, or a thousandth of these."""

    @model_validator(mode="after")
    def _root_of_urls(self) -> "FolderDataset":
        if self.root is not None and is_url(self.path) and not is_url(self.root):
            raise ValueError("root: path is a URL, so name a URL that its files begin with")
        return self


class FolderReader:
    SETTINGS = FolderDataset

    def __init__(self, settings: FolderDataset) -> None:
        self.settings = settings
        self.manifest = settings.path
        self.folder = os.path.dirname(settings.path)  # of a URL too
        root = settings.root or self.folder
        self.root_url = root if is_url(root) else ""
        self.root = Path(self.folder if self.root_url else root).resolve()
        self._inside_root: dict[Path, bool] = {}  # by folder
        self._intervals: dict[tuple[str, float | None], tuple[Interval, ...]] = {}

    def recordings(self) -> list[Recording]:
        rows = []
        for number, row in self._manifest.rows:
            try:
                rows.append(self._recording(row))
            except ValueError as error:
                raise self._failure("bad-row", f", row {number}: {error}") from None
        id, count = Counter(recording.id for recording in rows).most_common(1)[0]
        if count > 1:
            fix = "give each recording its own in a column recording"
            raise self._failure("duplicate-id", f": the id '{id}' occurs twice; {fix}")
        # A missing file only rejects its recording.
        here = (path for row in rows for path in row.files if not is_url(path))
        for folder in sorted({Path(path).parent for path in here}):
            if not folder.is_dir():
                fix = f"paths in a manifest are relative to {self.folder}"
                message = f": the folder {folder} does not exist; {fix}"
                raise self._failure("missing-folder", message)
        what = "split" if self.settings.split_by_group is None else "group"
        numbers = [f"row {number}" for number, _ in self._manifest.rows]
        try:
            refuse_shared(rows, numbers, what)
        except DatasetError as error:
            raise self._failure("shared-span", f", {error}") from None
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        channels = expanded(self.settings.channels)
        layout = partial(layout_of, recording, self.settings)
        streams = imu_files.read_files(recording, channels, layout)
        return _aligned(streams, recording) if recording.imu_offset == "estimate" else streams

    def notes(self) -> list[str]:
        rows, listed = self._manifest.rows, self.recordings()
        columns, found = self._manifest.columns, list[str]()
        if ignored := [f"'{name}'" for name in columns if name not in MANIFEST_COLUMNS]:
            known = ", ".join(sorted(MANIFEST_COLUMNS))
            found.append(f"columns that are not used: {', '.join(ignored)} (known: {known})")
        without = sum(not row.get("group") for _, row in rows)
        if "group" in columns and 0 < without < len(rows):
            fault = f"{without} of {len(rows)} rows have no group, and each counts as its own"
            found.append(f"{fault}; write one, or leakage between splits is not seen")
        by_files: defaultdict[Any, list[str]] = defaultdict(list)
        for r in listed:
            if not r.is_part:
                by_files[tuple(map(file_identity, r.files))].append(f"'{r.id}'")
        if again := [" and ".join(ids) for ids in by_files.values() if len(ids) > 1]:
            named = ", ".join(again[:5]) + (" and others" if len(again) > 5 else "")
            found.append(f"the same files are listed more than once: {named}; keep one row of each")
        if twice := [f"{rows[i][0]} and {rows[j][0]}" for i, j in islice(overlapping(listed), 5)]:
            fault = f"rows that overlap in time: {', '.join(twice)}"
            found.append(f"{fault}; what they share is there twice; correct start and end")
        return found

    @cached_property
    def _manifest(self) -> Manifest:
        return read_manifest(self.manifest)

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
        files = imu_files.files_in(filled["imu"], expanded(self.settings.channels))
        paths = list(files.values()) or [filled["imu"]]
        if offset == "estimate" and not video:
            raise ValueError("an imu_offset of estimate needs a video")
        rate = finite_number("imu_rate", filled["imu_rate"]) if "imu_rate" in filled else None
        if rate is not None and rate <= 0:
            raise ValueError(f"imu_rate is {rate:g}; expected samples per second, over 0")
        start, end = (
            finite_number(c, filled[c]) if c in filled else None for c in ("start", "end")
        )
        if start is not None and end is not None and start >= end:
            raise ValueError(f"start is {start:g}, end is {end:g}; expected an earlier start")
        part = "_".join(filled.get(column, column) for column in ("start", "end"))
        is_part, file = {start, end} != {None}, video or filled["imu"]
        video = self._inside(video) if video else ""
        imu, *beside = map(self._inside, paths)
        id = filled.get("recording", Path(video or imu).stem + f"_{part}" * is_part)
        placed = _offset(offset, tuple(files))
        return Recording(
            id=id,
            video=video,
            imu=imu,
            split=split,
            # The parts of a file are of one group: they are of one person and day.
            group=tidy(filled.get("group", file if is_part else id)),
            label=tidy(filled["label"]) if "label" in filled else None,
            acc_unit=filled.get("acc_unit", ""),
            gyro_unit=filled.get("gyro_unit", ""),
            imu_rate=rate,
            imu_offset=placed,
            beside=tuple(beside),
            sensors=tuple(files),
            time_unit=filled.get("time_unit", ""),
            start=start,
            end=end,
            intervals=self._labels(filled, placed if isinstance(placed, float) else None),
        )

    def _labels(self, row: dict[str, str], offset: float | None) -> tuple[Interval, ...] | None:
        """The intervals of a row's label file, which is read once for all rows that name it. Raises
        ValueError."""
        if "labels" not in row:
            return None
        if "label" in row:
            raise ValueError("has both label and labels; leave one empty")
        path = self._inside(row["labels"])
        if (path, offset) in self._intervals:
            return self._intervals[path, offset]
        try:
            with local_copy(path) as file:
                if not Path(file).is_file():
                    raise FileNotFoundError
                self._intervals[path, offset] = read_labels(Path(file), offset)
        except (FileNotFoundError, InputError):
            fix = "labels is the path of a CSV file of intervals; a single label is in column label"
            raise ValueError(f"labels: no file {path}; {fix}") from None
        return self._intervals[path, offset]

    def _inside(self, written: str) -> str:
        """The path, or the URL, of a manifest's cell, which may have the backslashes of Windows.
        Raises ValueError if it leads out of the root, or is an absolute path of Windows."""
        path = Path(self.folder, written)
        if not path.drive and WINDOWS_PATH.match(written):
            fix = f"write paths relative to {self.folder}"
            raise ValueError(f"'{written}' is an absolute path of Windows; {fix}")
        if is_url(self.folder) or is_url(written):
            url = joined(self.folder, written.replace("\\", "/"))
            if self.root_url and url.startswith(f"{self.root_url}/") and written[0] != "/":
                return url
            fix = "set root, next to path, to the URL of a folder that contains all recordings"
            raise ValueError(f"'{written}' leads out of {self.root_url or self.folder}; {fix}")
        if "\\" in written and not path.exists():
            path = Path(self.folder, written.replace("\\", "/"))
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
        return failure(reason, f"{self.manifest}{message}")


def layout_of(
    recording: Recording, settings: FolderDataset, sensor: str = "", quantity: str = ""
) -> Layout:
    """What manifest, data set and preset say about the file of a sensor, in this order."""

    def said(setting: str | dict[str, T] | None, cell: str = "") -> str:
        here = imu_files.of_one(cell, sensor)
        return here or (setting.get(sensor, "") if isinstance(setting, dict) else setting or "")

    preset = said(settings.preset)
    base = PRESETS[preset] if preset else Layout()
    columns = {**base.columns, **literal(settings.columns or {})}
    return replace(
        base,
        columns=of_sensor(columns, sensor, quantity),
        written=frozenset(of_sensor(settings.columns or {}, sensor, quantity)),
        time_unit=said(settings.time_unit, recording.time_unit) or base.time_unit,
        acc_unit=said(settings.acc_unit, recording.acc_unit) or base.acc_unit,
        gyro_unit=said(settings.gyro_unit, recording.gyro_unit) or base.gyro_unit,
        rate=recording.imu_rate,
    )


def _offset(text: str, parts: Sequence[str]) -> float | str:
    """An imu_offset: seconds, `estimate`, or the seconds of each sensor as they are written. Raises
    ValueError for anything else, and for a sensor that `imu` does not name."""
    of_sensors = imu_files.by_sensor(text)
    if not of_sensors:
        return text if text == "estimate" else finite_number("imu_offset", text)
    known = {imu_files.sensor_and_quantity(part)[0] for part in parts}
    for sensor, seconds in of_sensors.items():
        if sensor not in known:
            named = ", ".join(sorted(known)) or "none"
            raise ValueError(f"imu_offset of '{sensor}', but imu names the sensors {named}")
        finite_number(f"imu_offset of {sensor}", seconds)
    return text


def _aligned(streams: Sequence[ImuStream], recording: Recording) -> tuple[ImuStream, ...]:
    """Streams with any clock in common, moved to the video's by the camera's motion. Raises
    ImuError if no offset is reliable, and VideoError."""
    # Imports SciPy: a second that listing recordings need not wait.
    from comodo.data.clock_offset import estimate, with_gyroscope

    first = min(stream.time_N[0] for stream in streams)
    streams = [replace(stream, time_N=stream.time_N - first) for stream in streams]
    offset = estimate(recording.video, with_gyroscope(streams, recording.imu))
    found = f"{offset.seconds:+.2f} s of the video, correlation {offset.correlation:.2f}"
    if not offset.reliable:
        fix = "write imu_offset in seconds in the manifest"
        message = f"{recording.imu}: no reliable offset from {recording.video} (best: {found})"
        raise ImuError("imu.unreliable-offset", f"{message}; {fix}")
    note = f"imu_offset estimated: the IMU starts at {found}"
    moved = [replace(s, time_N=s.time_N + offset.seconds) for s in streams]
    return (replace(moved[0], notes=(*moved[0].notes, note)), *moved[1:])
