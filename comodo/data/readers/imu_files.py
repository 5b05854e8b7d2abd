"""The IMU files of a recording in a manifest: one, or one for each sensor or for each of a sensor's
accelerometer and gyroscope, with clocks and units of their own; and what settings may say of files
that do not say it themselves.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from comodo.config.channels import QUANTITIES, SENSOR_NAME, quantity_of, sensor_of
from comodo.data.cwa import read_cwa
from comodo.data.imu import ImuError, ImuStream, join_sensors
from comodo.data.imu_tables import read_csv, read_npy
from comodo.data.recordings import Recording
from comodo.data.tables.presets import Layout

WALL_CLOCK = 1e8  # seconds; a clock that starts later than 1973 does not start with a video
CONVERT = {
    ".gt3x": "export raw data as CSV with ActiLife",
    ".xlsx": "save it as CSV",
    ".xls": "save it as CSV",
    ".json": "export CSV",
}  # what to do with other files, by suffix
_PART = re.compile(rf"\s*((?:{SENSOR_NAME}\.)?{SENSOR_NAME})\s*=\s*(.*?)\s*")
Preset = Literal[
    "sensor-logger",
    "phyphox",
    "shimmer",
    "xsens-dot",
    "empatica-e4",
    "android-events",
    "actigraph",
]
TimeUnit = Literal["s", "ms", "us", "ns"]
SensorName = Annotated[str, Field(pattern=f"^{SENSOR_NAME}$")]
_ROLE = re.compile(rf"(?:{SENSOR_NAME}\.)?(?:time|sensor|acc|gyro|(?:(?:acc|gyro)_)?[xyz])")


def _checked(columns: dict[str, str]) -> dict[str, str]:
    for role, name in columns.items():
        if not _ROLE.fullmatch(role):
            known = "time, a channel such as acc_x or left_wrist.gyro_z, x, y, z, sensor, acc, gyro"
            raise ValueError(f"'{role}' names no column; known: {known}")
        if not name.strip():
            raise ValueError(f"{role}: write the name of its column, or leave it out")
    return columns


Columns = Annotated[dict[str, str], Field(min_length=1), AfterValidator(_checked)]
"""Names of columns in IMU files by what they have."""


def by_sensor(cell: str) -> dict[str, str]:
    """The parts of a cell `head=a;left_wrist=b`; empty for any other. Raises ValueError for a cell
    that is one in part only, or names a sensor twice."""
    parts = [part for part in cell.split(";") if part.strip()]
    found = [(m[1], m[2]) for part in parts if (m := _PART.fullmatch(part))]
    if not found:
        return {}
    if len(found) < len(parts) or not all(value for _, value in found):
        raise ValueError(
            f"could not read '{cell}'; write NAME=VALUE for each sensor, with ; between"
        )
    if len(dict(found)) < len(found):
        raise ValueError(f"'{cell}' names a sensor twice; name each once")
    return dict(found)


def of_one(cell: str, sensor: str) -> str:
    """What a cell says about a sensor: all of it, or its part of `head=a;left_wrist=b`."""
    parts = by_sensor(cell)
    return parts.get(sensor, "") if parts else cell


def sensor_and_quantity(part: str) -> tuple[str, str]:
    """The sensor of `left_wrist`, `acc` or `left_wrist.acc`, and the quantity that is alone in its
    file; each may be empty."""
    sensor, _, last = part.rpartition(".")
    return (sensor, last) if last in QUANTITIES else (part, "")


def files_in(cell: str, channels: Sequence[str]) -> dict[str, str]:
    """The files of a manifest's cell by sensor; empty for the path of one file, which may have a
    `=`. Raises ValueError if `channels` lists none of the sensors."""
    parts = by_sensor(cell) if "=" in cell else {}
    known = {sensor_of(channel) for channel in channels}
    named = {sensor_and_quantity(part)[0] for part in parts}
    if named & known or not parts:
        return parts
    if ";" not in cell:
        return {}
    listed = ", ".join(
        f"{sensor}.{quantity}" for sensor in sorted(named) for quantity in QUANTITIES
    )
    found = f"imu has the sensors {', '.join(sorted(named))}, of which channels lists none"
    raise ValueError(f"{found}; list what they have under the data set: channels: [{listed}]")


def read_files(
    recording: Recording, channels: Sequence[str], layout_of: Callable[[str, str], Layout]
) -> tuple[ImuStream, ...]:
    """The streams of a recording on the video's clock, or, with an offset of `estimate`, on their
    own. `channels`: the wanted ones, `expanded`; `layout_of`: the layout of the file of a sensor
    and a quantity, each of which may be empty. Raises ImuError."""
    parts = recording.sensors or ("",)
    files = dict(zip(parts, (recording.imu, *recording.beside), strict=False))
    found: list[ImuStream] = []
    for sensor in dict.fromkeys(sensor_and_quantity(part)[0] for part in parts):
        prefix = f"{sensor}." if sensor else ""
        wanted = [c.removeprefix(prefix) for c in channels if c.startswith(prefix)]
        streams: list[ImuStream] = []
        for part, file in files.items():
            owner, quantity = sensor_and_quantity(part)
            here = [c for c in wanted if quantity in ("", quantity_of(c))]
            if owner == sensor and here:
                streams += _read_file(Path(file), here, layout_of(sensor, quantity))
        if len(parts) > 1 and len(streams) == 2:
            streams = [_joined(streams[0], streams[1], recording.imu)]
        moved = (_moved(stream, recording, sensor) for stream in streams)
        found += [replace(s, channels=tuple(prefix + c for c in s.channels)) for s in moved]
    return tuple(found)


def _read_file(path: Path, channels: Sequence[str], layout: Layout) -> tuple[ImuStream, ...]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return (read_npy(path, channels, layout),)
    if suffix == ".cwa":
        return (read_cwa(path),)
    if suffix in CONVERT:
        message = f"{path}: {suffix} files are not read; {CONVERT[suffix]}"
        raise ImuError("imu.unreadable", message)
    return read_csv(path, channels, layout)


def _joined(one: ImuStream, other: ImuStream, source: str) -> ImuStream:
    """The stream of a sensor whose accelerometer and gyroscope have files of their own."""
    channels = (*one.channels, *other.channels)
    stream = join_sensors(one.time_N, one.imu_NC, other.time_N, other.imu_NC, source, channels)
    return replace(stream, notes=(*one.notes, *other.notes, *stream.notes))


def _moved(stream: ImuStream, recording: Recording, sensor: str) -> ImuStream:
    """The stream on the video's clock. Raises ImuError if its own is that of the wall, and no
    offset is written."""
    written = recording.imu_offset
    if written == "estimate":
        return stream
    offset = float((of_one(written, sensor) or 0.0) if isinstance(written, str) else written)
    first = float(stream.time_N[0])
    if recording.video and not offset and first > WALL_CLOCK:
        begin = datetime.fromtimestamp(first, UTC).isoformat(" ", "milliseconds")
        fix = f"write imu_offset in the manifest: {-first:.3f} if both start together, or estimate"
        message = f"{recording.imu}: its clock starts at {begin}, the video's at 0; {fix}"
        raise ImuError("imu.wall-clock", message)
    return replace(stream, time_N=stream.time_N + offset)
