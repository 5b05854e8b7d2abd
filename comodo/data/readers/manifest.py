"""The rows of a manifest, a table in CSV or Parquet, as text. Does not know what they mean.

CSV is UTF-8 with commas, semicolons or tabs. Blanks around cells do not count. Columns that are not
listed here are kept, except those that look like misspelt ones.
"""

import csv
import io
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from comodo.core.inputs import local_copy
from comodo.data.recordings import DatasetError, separator, utf8_text

NEAR_MISS = 0.75  # similarity of an unknown column to a known one; `lable` has 0.8
MANIFEST_COLUMNS = {
    "video", "imu", "recording", "label", "split", "group", "acc_unit", "gyro_unit", "time_unit",
    "imu_rate", "imu_offset", "start", "end", "labels",
}  # fmt: skip

OTHER_NAMES = {
    **dict.fromkeys(("subject", "subject_id", "participant", "participant_id", "person"), "group"),
    **dict.fromkeys(("person_id", "user", "user_id", "group_id"), "group"),
    **dict.fromkeys(("activity", "class", "action", "target", "annotation"), "label"),
    **dict.fromkeys(("subset", "partition", "set"), "split"),
    **dict.fromkeys(("imu_file", "imu_path", "sensor_file", "csv"), "imu"),
    **dict.fromkeys(("video_file", "video_path", "mp4"), "video"),
    **dict.fromkeys(("start_time", "start_s", "begin"), "start"),
    **dict.fromkeys(("end_time", "end_s", "stop"), "end"),
    **dict.fromkeys(("rate", "sample_rate", "sampling_rate", "frequency"), "imu_rate"),
    **dict.fromkeys(("offset", "offset_s"), "imu_offset"),
}
"""Columns by what others call them: ignoring them would change what is computed."""


class Manifest(NamedTuple):
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    """With their numbers; an empty cell is an empty string."""


def read_manifest(manifest: str) -> Manifest:
    """Raises DatasetError: not readable, wrong columns, a row without all cells, no rows."""
    try:
        with local_copy(manifest) as file:
            lines = _lines_of(Path(file))
    except (OSError, ValueError, csv.Error) as error:
        raise failure("unreadable", f"{manifest}: cannot be read as a manifest: {error}") from None
    stripped = ([cell.strip() for cell in line] for line in lines)
    filled = [(n, line) for n, line in enumerate(stripped, start=1) if any(line)]
    header = [name.casefold() for name in filled[0][1]] if filled else []
    width = max((i for i, name in enumerate(header, start=1) if name), default=0)
    columns = header[:width]
    if fault := next(_faults_of(columns), None):
        raise failure("bad-columns", f"{manifest}: {fault}")
    rows = []
    for number, line in filled[1:]:
        # A separator at the end of each line, as some programs write it, makes empty cells.
        cells = line if any(line[width:]) else line[:width]
        if fault := next(_faults_in(cells, columns), None):
            raise failure("bad-row", f"{manifest}, row {number}: {fault}")
        rows.append((number, dict(zip(columns, cells, strict=True))))
    if not rows:
        raise failure("no-recordings", f"{manifest}: no rows; list each recording in one")
    return Manifest(columns, rows)


def failure(reason: str, message: str) -> DatasetError:
    return DatasetError(f"dataset.{reason}", message)


def _faults_of(columns: list[str]) -> Iterator[str]:
    known = [column for column in columns if column in MANIFEST_COLUMNS]
    for column in columns:
        absent = MANIFEST_COLUMNS - set(known)
        near = get_close_matches(column, absent, 1, NEAR_MISS) if column not in known else []
        meant = OTHER_NAMES.get(column.replace(" ", "_").replace("-", "_"), "")
        if near := [meant] if meant in absent else near:
            yield f"unknown column '{column}'; did you mean '{near[0]}'? Rename the column"
        if known.count(column) > 1:
            yield f"the column '{column}' occurs twice; remove one"
    if "imu" not in known:
        allowed = ", ".join(sorted(MANIFEST_COLUMNS))
        yield f"columns {', '.join(columns)}; required: imu; known: {allowed}"


def _faults_in(cells: list[str], columns: list[str]) -> Iterator[str]:
    if len(cells) != len(columns):
        fix = "give each row all cells, and put a cell with a separator in quotes"
        yield f"{len(cells)} cells, the header has {len(columns)}; {fix}"
    for column, cell in zip(columns, cells, strict=False):
        if column in MANIFEST_COLUMNS and len(cell.splitlines()) > 1:
            yield f"{column} has a line break; close the quotes, or remove it"


def _lines_of(manifest: Path) -> list[list[str]]:
    """The cells of each line of a manifest. Raises OSError, ValueError and csv.Error."""
    if manifest.suffix == ".parquet":
        import pyarrow.parquet as pq  # slow to import

        table = pq.read_table(manifest, partitioning=None)
        columns = zip(*(map(_as_text, c.to_pylist()) for c in table.columns), strict=True)
        return [table.column_names, *map(list, columns)]
    text = utf8_text(manifest)
    mark = separator(text, MANIFEST_COLUMNS.__contains__)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True))


def _as_text(value: Any) -> str:
    """A cell of Parquet. Raises ValueError for bytes that are not text."""
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None or value != value else str(value)
