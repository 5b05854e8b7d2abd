"""Which column of a table is which channel: by a mapping, by its name, or by a usual other name.

A name says only which column is meant, never its unit. So another name (`accel_x`, `AccX`,
`Accelerometer X`, `wx`) is accepted where one column alone has it, with a note; what also has
another reading (`gx` may be gravity) is only suggested.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from comodo.config.channels import AXES, QUANTITIES, quantity_of, sensor_of
from comodo.data.imu import ImuError

TIME_COLUMNS = {"time_s": "s", "time_ms": "ms", "time_us": "us", "time_ns": "ns"}
"""Names that are certain, with the unit of their times."""
_TIME_WORDS = {
    "time", "timestamp", "timestamps", "datetime", "date", "t", "clock", "epoch", "elapsed",
}  # fmt: skip
_OTHER_NAMES = {
    "acc": "acc|accel|accl|acceleration|accelerometer|a",
    "gyro": "gyr|gyro|gyros|gyroscope|angvel|angular_velocity|angular_rate|rotation_rate|omega|w",
}
_UNCERTAIN_NAMES = {"acc": "", "gyro": "g"}  # `` is x, y or z alone
_COLUMN = re.compile(r"(?P<base>.*?)\s*(?:\[(?P<a>[^\]]*)\]|\((?P<b>.*)\))?\s*(?:\.\d+)?")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str  # as pandas has it
    base: str  # without its unit
    unit: str  # as written; empty if it is not

    @property
    def plain(self) -> str:
        """Its name in lower case with underscores: `Accelerometer X` and `accelerometerX` are
        `accelerometer_x`; the point after a sensor's name stays."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.base)
        return re.sub(r"[^a-z0-9.]+", "_", words.lower()).strip("_")


def columns_of(names: Iterable[object], units: Sequence[str] = ()) -> list[Column]:
    """The columns of a header, with the units in it or in the row of `units` under it."""
    found = []
    for place, name in enumerate(map(str, names)):
        match = _COLUMN.fullmatch(name.strip())
        base, unit = name.strip(), ""
        if match is not None:
            base, unit = match["base"], match["a"] or match["b"] or ""
        if not unit and place < len(units):
            unit = units[place]
        found.append(Column(name, base.removeprefix("#").strip(), unit.strip()))
    return found


def mapped(columns: Sequence[Column], pattern: str, source: str) -> Column:
    """The column that a mapping means: by its full name, or that without the unit. Raises ImuError
    unless there is exactly one."""
    whole = re.compile(pattern, re.IGNORECASE)
    found = [c for c in columns if whole.fullmatch(c.name.strip())]
    found = found or [c for c in columns if whole.fullmatch(c.base)]
    if len(found) != 1:
        names = ", ".join(f"'{c.name}'" for c in found or columns)
        named = re.sub(r"\\(.)", r"\1", pattern)
        fault = "are several columns" if found else "is no column"
        message = f"{source}: '{named}' {fault} ({names}); correct columns"
        raise ImuError("imu.missing-column", message)
    return found[0]


def channel_column(
    columns: Sequence[Column],
    channel: str,
    mapping: Mapping[str, str],
    source: str,
    required: bool = True,
) -> tuple[Column | None, str]:
    """The column of a channel, and a note if its name is another one; None if there is none. Raises
    ImuError if several may be meant, or a `required` one of the mapping is not there."""
    if channel in mapping:
        pattern = re.compile(mapping[channel], re.IGNORECASE)
        if not required and not any(
            pattern.fullmatch(c.name.strip()) or pattern.fullmatch(c.base) for c in columns
        ):
            return None, ""
        return mapped(columns, mapping[channel], source), ""
    certain = [c for c in columns if c.plain == channel]
    exact = [c for c in certain if c.base.lower() == channel]
    if len(exact or certain) > 1:
        fix = "rename one, or name one in columns, under the data set"
        raise ImuError("imu.two-columns", f"{source}: two columns are named {channel}; {fix}")
    if exact:
        return exact[0], ""
    found = certain or [c for c in columns if _has_name(c.plain, channel, _OTHER_NAMES)]
    if len(found) > 1:
        message = f"{source}: {_listed(found)} may all be {channel}"
        fix = f"name one under the data set: {mapping_text({channel: found[0].name})}"
        raise ImuError("imu.ambiguous-column", f"{message}; {fix}")
    return (found[0], f"{channel} from '{found[0].name}'") if found else (None, "")


def has_own_name(column: Column, channel: str) -> bool:
    """Whether a column needs no mapping to be read as this channel."""
    return column.base.lower() == channel


def time_candidates(columns: Sequence[Column], is_iso: Callable[[Column], bool]) -> list[Column]:
    """The columns that may be the clock: one that is certain, else those that are named so, else
    those that have times in ISO 8601."""
    for name in TIME_COLUMNS:
        if certain := [c for c in columns if c.base.lower() == name]:
            return certain
    named = [c for c in columns if _TIME_WORDS & set(re.split(r"[_.]", c.plain))]
    return named or [c for c in columns if is_iso(c)]


def suggested(columns: Sequence[Column], channels: Sequence[str]) -> dict[str, str]:
    """Names of the columns that channels may be, where one fits better than all others."""
    found = {}
    for channel in channels:
        for names in (_OTHER_NAMES, _UNCERTAIN_NAMES):
            fitting = [
                c for c in columns if c.plain == channel or _has_name(c.plain, channel, names)
            ]
            if fitting:
                found[channel] = fitting[0].name
                break
    return found


def mapping_text(mapping: Mapping[str, str]) -> str:
    """A mapping of columns as a line of a sweep file."""
    text = yaml.safe_dump(
        dict(mapping), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
    )
    return f"columns: {text.strip()}"


def sensors_in(columns: Sequence[Column]) -> list[str]:
    """Channels of named sensors that the header has, such as `left_wrist.acc_x`."""
    found = []
    for column in columns:
        sensor, quantity = sensor_of(column.plain), quantity_of(column.plain)
        if sensor and quantity in QUANTITIES and column.plain[-2:] in {f"_{a}" for a in AXES}:
            found.append(column.plain)
    return found


def _has_name(plain: str, channel: str, names: Mapping[str, str]) -> bool:
    """Whether a column's plain name is one of the names of a channel."""
    sensor, words, axis = sensor_of(channel), names[quantity_of(channel)], channel[-1]
    before = rf"{re.escape(sensor)}[._]" if sensor else ""
    return bool(re.fullmatch(rf"{before}(?:(?:{words})_?{axis}|{axis}_(?:{words}))", plain))


def _listed(columns: Iterable[Column]) -> str:
    return " and ".join(f"'{c.name}'" for c in columns)
