"""What an IMU file has, and what to write in the sweep file so that it is read: for
`comodo inspect --file`. Reads the file with what it suggests, as prepare would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from comodo.config.channels import CHANNELS, QUANTITIES, expanded, in_groups, quantity_of
from comodo.data.imu import ImuError, ImuStream, median_length
from comodo.data.imu_tables import open_table
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.readers.imu_files import WALL_CLOCK
from comodo.data.recordings import Recording
from comodo.data.tables import clock, units
from comodo.data.tables.columns import (
    TIME_COLUMNS,
    Column,
    has_own_name,
    sensors_in,
    suggested,
    time_candidates,
)
from comodo.data.tables.dialect import Dialect
from comodo.data.tables.presets import PRESETS, Layout
from comodo.data.tables.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "blanks"}
LATE_START = 10.0  # seconds; a clock that starts later probably does not start with a video
KNOWN_UNITS = {"acc": "g, mg or m/s^2", "gyro": "deg/s or rad/s"}


@dataclass(frozen=True)
class FileView:
    """What was found: lines about the file, and its data set for the sweep file, as YAML."""

    facts: tuple[str, ...]
    data_set: str

    def text(self) -> str:
        return "\n".join([*self.facts, "", "For the sweep file:", "", self.data_set])


def view_file(path: Path) -> FileView:
    """Looks at an IMU file. Raises ImuError if it cannot be opened."""
    facts, keys, questions = [f"{path}"], dict[str, Any](), list[str]()
    wanted: Sequence[str] = CHANNELS
    if path.suffix.lower() != ".cwa":
        table, columns, dialect = open_table(path, Layout())
        facts += [_writing(dialect), f"rows: {len(table):,}", *_listed(columns, table)]
        wanted = sensors_in(columns) or CHANNELS
        samples = Samples(path, table, columns, dialect, Layout())
        if preset := samples.preset():
            keys = {"preset": preset}
            facts.append(f"fits preset {preset}{_units_of(PRESETS[preset])}")
        elif by_row := samples.sensor_in_each_row():
            keys = {"columns": by_row}
            wanted = expanded([quantity for quantity in QUANTITIES if quantity in by_row])
            questions = [_unit_question(q) for q in QUANTITIES if q in by_row]
        else:
            keys, questions, wanted = _suggested(columns, table, wanted)
    try:
        try:
            streams = _read(path, wanted, keys)
        except ImuError as error:
            if error.code != "imu.zero-sensor":
                raise
            facts.append(f"without its other sensor: {error}")
            streams = _read(path, [c for c in wanted if quantity_of(c) == "acc"], keys)
    except ImuError as error:
        facts.append(f"not read yet: {error}")
    else:
        facts += [line for stream in streams for line in _about(stream)]
        wanted = [channel for stream in streams for channel in stream.channels]
        first = streams[0].time_N[0]
        if abs(first) > LATE_START:
            together = f"imu_offset: {-first:.3f} if it starts with its video"
            what = "is the time of day" if first > WALL_CLOCK else f"starts at {first:.3f} s"
            questions.append(f"# its clock {what}; in the manifest, {together}")
    return FileView(tuple(facts), _as_yaml({**_channels(wanted), **keys}, questions))


def _read(path: Path, channels: Sequence[str], keys: dict[str, Any]) -> tuple[ImuStream, ...]:
    settings = FolderDataset(kind="folder", path=str(path), channels=tuple(channels), **keys)
    return FolderReader(settings).read_imu(Recording(path.stem, "", str(path), "train", ""))


def _writing(dialect: Dialect) -> str:
    parts = [f"separated by {SEPARATOR_NAMES.get(dialect.separator, dialect.separator)}"]
    parts += ["decimal comma"] if dialect.decimal == "," else []
    parts += ["no header"] if dialect.header is None else [f"header in line {dialect.header + 1}"]
    parts += ["a row of units under it"] if dialect.units else []
    return "; ".join([*parts, f"samples from line {dialect.first + 1}", *dialect.notes])


def _listed(columns: Sequence[Column], table: "pd.DataFrame") -> list[str]:
    """Each column with its unit and its first value."""
    return [
        f"  column '{column.base}': unit {column.unit or 'not written'}, "
        f"first value {table[column.name].iloc[0] if len(table) else 'none'}"
        for column in columns
    ]


def _suggested(
    columns: Sequence[Column], table: "pd.DataFrame", wanted: Sequence[str]
) -> tuple[dict[str, Any], list[str], Sequence[str]]:
    """Settings with which the file may be read, comments on what only the user can know, and those
    of the `wanted` channels that it seems to have, or all if it seems to have none."""
    found = suggested(columns, wanted)
    of_channel = {c: next(x for x in columns if x.name == name) for c, name in found.items()}
    mapping = {c: x.name for c, x in of_channel.items() if not has_own_name(x, c)}
    questions = []
    times = time_candidates(columns, lambda column: clock.is_iso(table[column.name]))
    if not times:
        questions.append("# no column has times: write imu_rate in the manifest")
    elif times[0].base.lower() not in TIME_COLUMNS:
        mapping = {"time": times[0].name, **mapping}
        if len(times) > 1:
            names = ", ".join(f"'{column.name}'" for column in times)
            questions.append(f"# the clock may be any of {names}: check")
    if not found:
        questions.append('# columns: {acc_x: "NAME", acc_y: "NAME", acc_z: "NAME"}')
    keys: dict[str, Any] = {"columns": mapping} if mapping else {}
    for quantity in QUANTITIES:
        own = [x for channel, x in of_channel.items() if quantity_of(channel) == quantity]
        if all(column.unit for column in own):
            continue
        by_gravity = ""
        if quantity == "acc" and all(table[column.name].dtype != object for column in own):
            acc_NA = table[[column.name for column in own]].to_numpy(float)
            if units.are_codes(acc_NA):
                questions.append(f"# {units.CODES}")
                continue
            by_gravity = units.by_gravity(acc_NA)
        if by_gravity:
            keys["acc_unit"] = by_gravity
            questions.append(
                f"# acc_unit: not in the file; in {by_gravity} it is 1 g mostly: check"
            )
        else:
            questions.append(_unit_question(quantity))
    return keys, questions, list(found) or wanted


def _unit_question(quantity: str) -> str:
    known = KNOWN_UNITS[quantity]
    return f"# {quantity}_unit: write {known}; the file does not say which"


def _units_of(layout: Layout) -> str:
    """What a preset takes for the units that the file does not write."""
    assumed = {"time": layout.time_unit, "acc": layout.acc_unit, "gyro": layout.gyro_unit}
    text = ", ".join(f"{what} in {unit}" for what, unit in assumed.items() if unit)
    return f"; where the file writes no unit: {text}" if text else ""


def _about(stream: ImuStream) -> list[str]:
    """Sensor, clock and gravity of a stream, and its notes."""
    seconds = stream.time_N[-1] - stream.time_N[0]
    facts = [f"read: {', '.join(stream.channels)}"]
    begin = f"{stream.time_N[0]:.3f} s"
    if stream.time_N[0] > WALL_CLOCK:
        begin = datetime.fromtimestamp(stream.time_N[0], UTC).isoformat(" ", "milliseconds")
    rate = f"{stream.rate:.1f} a second"
    facts.append(f"  {len(stream.time_N):,} samples, {rate}, {seconds:.1f} s from {begin}")
    if (acc_N3 := stream.values("acc")).shape[1]:
        median = median_length(acc_N3)
        usual = "" if 0.8 <= median <= 1.2 else "; 1 g is usual: check the unit, and for gravity"
        facts.append(f"  median |acc|: {median:.3f} g{usual}")
    if (gyro_N3 := stream.values("gyro")).shape[1]:
        facts.append(f"  largest rotation: {np.abs(gyro_N3).max():.1f} deg/s")
    return facts + [f"  note: {note}" for note in stream.notes]


def _channels(there: Sequence[str]) -> dict[str, Any]:
    """The key `channels`, as short as it can be written; none for the six of one IMU."""
    if tuple(there) == CHANNELS:
        return {}
    short = list[str]()
    for (sensor, quantity), places in in_groups(there).items():
        name = f"{sensor}.{quantity}" if sensor else quantity
        own = [there[place] for place in places]
        short += [name] if own == list(expanded([name])) else own
    return {"channels": short}


def _as_yaml(keys: dict[str, Any], comments: Sequence[str]) -> str:
    lines = ["kind: folder", "path: manifest.csv"]
    for key, value in keys.items():
        flow = isinstance(value, dict | list)
        text = yaml.safe_dump(
            value if flow else {key: value},
            default_flow_style=flow, width=10_000, allow_unicode=True, sort_keys=False,
        )  # fmt: skip
        lines.append(f"{key}: {text.strip()}" if flow else text.strip())
    return "\n".join(["datasets:", "  mine:", *(f"    {line}" for line in [*lines, *comments])])
