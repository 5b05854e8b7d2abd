"""A file of label intervals that is next to a recording: CSV with a header, in UTF-8, with commas,
semicolons or tabs.

start, end     seconds of the video's clock; `start_ms`, `end_ms` and so on in another unit, and
               `imu_start_ns`, `imu_end_ns` and so on by the clock of the IMU's file, to which the
               recording's imu_offset is added
label          the activity; where it is empty there is none

Other columns are not read. Times without an interval have no label.
"""

import csv
import io
import re
from pathlib import Path

from comodo.data.intervals import checked
from comodo.data.names import tidy
from comodo.data.recordings import Interval, finite_number, separator, utf8_text
from comodo.data.tables.units import TIME

_COLUMN = re.compile(r"(?P<imu>imu_)?(?P<bound>start|end)(?:_(?P<unit>s|ms|us|ns))?")
EXPECTED = (
    "expected label, start and end, or such as start_ms and end_ms, or imu_start_s and imu_end_s"
)


def read_labels(path: Path, imu_offset: float | None) -> tuple[Interval, ...]:
    """The intervals of a file on the video's clock. `imu_offset`: None where it is not known before
    the recording is opened. Raises ValueError with file, line and fix."""
    try:
        text = utf8_text(path)
        mark = separator(text, lambda name: name == "label" or bool(_COLUMN.fullmatch(name)))
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        filled = [(n, [cell.strip() for cell in line]) for n, line in enumerate(lines, 1) if line]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as labels: {error}") from None
    columns = [name.casefold() for name in filled[0][1]] if filled else []
    clocks = {i: match for i, name in enumerate(columns) if (match := _COLUMN.fullmatch(name))}
    named = sorted(match["bound"] for match in clocks.values())
    if columns.count("label") != 1 or named != ["end", "start"]:
        raise ValueError(f"{path}: columns {', '.join(columns) or 'none'}; {EXPECTED}")
    place = {match["bound"]: i for i, match in clocks.items()}
    (start, end), clock = (place["start"], place["end"]), clocks[place["start"]]
    if clock.group("imu", "unit") != clocks[end].group("imu", "unit"):
        raise ValueError(f"{path}: {columns[start]} and {columns[end]} are not alike; {EXPECTED}")
    if clock["imu"] and imu_offset is None:
        fault = f"{columns[start]} is of the IMU's clock, and imu_offset is estimate"
        raise ValueError(f"{path}: {fault}; write it in seconds, or labels of the video's clock")
    unit = TIME[clock["unit"] or "s"]
    shift = (imu_offset or 0.0) if clock["imu"] else 0.0
    found: list[Interval] = []
    for number, cells in filled[1:]:
        try:
            if any(cells) and (row := _interval(cells, columns, start, end)):
                found.append((row[0] * unit + shift, row[1] * unit + shift, row[2]))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    try:
        return checked(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _interval(cells: list[str], columns: list[str], start: int, end: int) -> Interval | None:
    """The interval of a line as it is written; None without a label. Raises ValueError."""
    if len(cells) < len(columns):
        raise ValueError(f"{len(cells)} cells, the header has {len(columns)}")
    begin, stop = (finite_number(columns[i], cells[i]) for i in (start, end))
    if begin >= stop:
        raise ValueError(f"{columns[start]} is {cells[start]}, {columns[end]} is {cells[end]}; "
                         "expected an earlier start")  # fmt: skip
    label = tidy(cells[columns.index("label")])
    return (begin, stop, label) if label else None
