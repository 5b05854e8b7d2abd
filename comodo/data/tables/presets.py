"""Layouts of what phones and sensors export, by name. Each is a few lines of data; what a file says
about its own units and times is preferred.

Tested on files of the device or app: xsens-dot, axivity (`cwa`). The others are from descriptions
and on files made after them: docs/own_recordings.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comodo.config.channels import sensor_of


@dataclass(frozen=True)
class Layout:
    """What a file does not say itself, or says in its own words."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Patterns of the columns' names by channel, or `time`. Where each row has one sensor's values:
    `sensor` is the column that says which, `acc` and `gyro` what is in it, `x`, `y`, `z` the
    values. Files of one sensor alone may have `x`, `y`, `z` too."""
    written: frozenset[str] = frozenset()
    """The channels in `columns` that have to be there, as the user wrote them."""
    time_unit: str = ""
    acc_unit: str = ""
    gyro_unit: str = ""
    rate: float | None = None  # Hz; of files without a clock
    header: tuple[str, ...] = ()  # names of the columns of files that have none
    starts_with_rate: bool = False  # the first two rows are the start and the rate, as in E4 files
    signs: tuple[str, ...] = ()
    """By which a file is recognised, next to its columns: patterns in what is above its samples."""


def _axes(channel: str, column: str) -> dict[str, str]:
    """Three channels; `column` has a `?` for the axis, in upper case."""
    return {f"{channel}_{axis}": column.replace("?", axis.upper()) for axis in "xyz"}


PRESETS: dict[str, Layout] = {
    # A file for each sensor; Accelerometer.csv is without gravity, TotalAcceleration.csv with it.
    "sensor-logger": Layout(
        {"time": "time", "x": "x", "y": "y", "z": "z"},
        time_unit="ns", acc_unit="m/s^2", gyro_unit="rad/s", signs=("seconds_elapsed",),
    ),
    "phyphox": Layout(
        {"time": r"Time \(s\)", **_axes("acc", "Acceleration ?"), **_axes("gyro", "Gyroscope ?")},
    ),
    # The low-noise accelerometer; of the wide-range one, Accel_WR_?_CAL, write columns.
    "shimmer": Layout(
        {
            "time": ".*Timestamp_Unix_CAL",
            **_axes("acc", ".*Accel_LN_?_CAL"),
            **_axes("gyro", ".*Gyro_?_CAL"),
        }
    ),
    "xsens-dot": Layout(
        {"time": "SampleTimeFine", **_axes("acc", "Acc_?"), **_axes("gyro", "Gyr_?")},
        time_unit="us", acc_unit="m/s^2", gyro_unit="deg/s",
    ),
    "empatica-e4": Layout(
        {"acc_x": "1", "acc_y": "2", "acc_z": "3"}, acc_unit="1/64 g", starts_with_rate=True
    ),
    "android-events": Layout(
        {"time": "time", "sensor": "sensor", "acc": "ACC", "gyro": "GYRO",
         "x": "x", "y": "y", "z": "z"},
        time_unit="ns", acc_unit="m/s^2", gyro_unit="rad/s",
        header=("sensor", "time", "x", "y", "z"),
    ),
    # Raw samples without times: imu_rate in the manifest is what its first line says.
    "actigraph": Layout(
        _axes("acc", "Accelerometer ?"), acc_unit="g", signs=("Created By ActiGraph",)
    ),
}  # fmt: skip


def literal(columns: Mapping[str, str]) -> dict[str, str]:
    """A mapping as the user writes it, as patterns."""
    return {role: re.escape(name.strip()) for role, name in columns.items()}


def of_sensor(columns: Mapping[str, str], sensor: str, quantity: str) -> dict[str, str]:
    """The columns of the file of one sensor: `left_wrist.acc_x` is its `acc_x`, and `x` its `acc_x`
    if the file has that quantity alone."""
    own = {
        role.rpartition(".")[2]: name
        for role, name in columns.items()
        if sensor_of(role) in ("", sensor)
    }
    # What is written for this sensor alone is preferred.
    own |= {
        r.rpartition(".")[2]: n for r, n in columns.items() if sensor and sensor_of(r) == sensor
    }
    if quantity:
        axes = {f"{quantity}_{axis}": own[axis] for axis in "xyz" if axis in own}
        return {"time": own["time"], **axes} if "time" in own else axes
    return own


def recognised(
    preamble: Sequence[str], names: Sequence[str], first_rows: Sequence[Sequence[Any]]
) -> str:
    """The name of the preset that a file alone fits; empty for none or several.

    Args:
        preamble: the lines before the header.
        names: of the columns.
        first_rows: two rows of a file without a header; else none.
    """
    text = "\n".join([*preamble, *names])
    found = []
    for name, layout in PRESETS.items():
        if layout.header:
            fits = bool(first_rows) and _has_kinds(first_rows, layout)
        elif layout.starts_with_rate:
            fits = bool(first_rows) and all(len(set(row)) == 1 for row in first_rows)
        else:
            wanted = [p for role, p in layout.columns.items() if not role.startswith("gyro")]
            fits = all(any(re.fullmatch(p, n, re.IGNORECASE) for n in names) for p in wanted)
        if fits and all(re.search(sign, text, re.IGNORECASE) for sign in layout.signs):
            found.append(name)
    return found[0] if len(found) == 1 else ""


def _has_kinds(rows: Sequence[Sequence[Any]], layout: Layout) -> bool:
    kinds = {layout.columns["acc"], layout.columns["gyro"]}
    return len(rows[0]) == len(layout.header) and {str(row[0]) for row in rows} <= kinds
