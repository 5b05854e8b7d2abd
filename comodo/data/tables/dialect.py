"""How a CSV file is written: encoding, separator, decimal mark, and which lines are its header, its
units and its samples. Looks at the first lines only; knows nothing of channels.
"""

import bz2
import codecs
import gzip
import lzma
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from comodo.data.imu import ImuError, refuse_missing
from comodo.data.tables.units import is_unit

SEPARATORS = ",;\t "  # one blank or more
HEAD_BYTES = 8_192  # that are looked at
SAMPLE_LINES = 5  # the last of these, from which the separator is found
COMMENT = ("#", "%", "//")
ISO_8601 = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
_SEP_LINE = re.compile(r'"?sep=(.)"?')  # as spreadsheets write it
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_OPEN: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written. Lines are counted from 0."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    header: int | None = 0  # the line of the names; None without one
    units: tuple[str, ...] = ()  # of the columns, from a line under the header
    first: int = 1  # the line of the first sample
    preamble: tuple[str, ...] = ()  # the lines before the header
    notes: tuple[str, ...] = ()  # what was inferred

    def options(self) -> dict[str, Any]:
        """For pandas' read_csv."""
        skipped = [line for line in range(self.first) if line != self.header]
        return {
            "sep": r"\s+" if self.separator == " " else self.separator,
            "decimal": self.decimal,
            "encoding": self.encoding,
            "header": None if self.header is None else 0,
            "skiprows": skipped or None,
            "skipinitialspace": True,
        }


def detect(path: Path) -> Dialect:
    """The dialect of a CSV file, which may be compressed. Raises ImuError if it is missing, or its
    decimal mark is ambiguous."""
    refuse_missing(path)
    try:
        with _OPEN.get(path.suffix, open)(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise ImuError("imu.unreadable", f"{path}: cannot be read as CSV: {error}") from None
    text, encoding = _decoded(head)
    lines = re.split(r"\r\n|\n|\r", text)
    if len(head) == HEAD_BYTES:
        lines.pop()  # it may be cut
    notes = () if encoding != "cp1252" else ("it is not UTF-8, and read as Windows-1252",)

    separators, begin = SEPARATORS, 0
    if lines and (match := _SEP_LINE.fullmatch(lines[0].strip(" "))):
        separators, begin = match[1], 1
    sample = [line for line in lines[begin:] if line.strip()][-SAMPLE_LINES:]
    separator, decimal = _most_numbers(sample, separators)

    @cache
    def cells(line: int) -> list[str]:
        return _cells(lines[line], separator)

    if decimal == ",":
        _refuse_thousands([cells(line) for line in range(begin, len(lines))], str(path))
    width = max((len(_cells(line, separator)) for line in sample), default=0)

    def is_sample(line: int) -> bool:
        filled = [cell for cell in cells(line) if cell]
        good = sum(_is_value(cell, decimal) for cell in filled)
        return len(filled) >= max(2, width / 2) and good > len(filled) / 2

    first = next((i for i in range(begin, len(lines)) if is_sample(i)), None)
    if first is None:  # no samples, which pandas or the check of the stream tells
        return Dialect(separator, decimal, encoding, begin, (), begin + 1, (), notes)
    names = [i for i in range(begin, first) if len(_without_end(cells(i))) > 1]
    spoken = [i for i in names if not lines[i].lstrip().startswith(COMMENT)]
    units: tuple[str, ...] = ()
    if len(spoken) > 1 and _are_units(cells(spoken[-1])):
        units = tuple(cells(spoken.pop()))
    if not spoken and names and len(cells(names[-1])) >= width:
        spoken = names  # a header behind the mark of a comment
    header = spoken[-1] if spoken else None
    if separator == " " and header is not None and len(cells(header)) != width:
        message = f"{path}: its header has {len(cells(header))} words and its rows {width} values"
        fix = "write commas between them, or names without blanks"
        raise ImuError("imu.unreadable", f"{message}; {fix}")
    preamble = tuple(lines[: first if header is None else header])
    return Dialect(separator, decimal, encoding, header, units, first, preamble, notes)


def _decoded(head: bytes) -> tuple[str, str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", "ignore"), "utf-16"
    try:
        # A character that is cut at the end is no fault.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(head), "utf-8"
    except UnicodeDecodeError:
        return head.decode("cp1252", "replace"), "cp1252"


def _cells(line: str, separator: str) -> list[str]:
    words = line.split() if separator == " " else line.split(separator)
    return [cell.strip().strip('"') for cell in words]


def _without_end(cells: list[str]) -> list[str]:
    """The cells up to the last that is not empty."""
    return cells[: max((i for i, cell in enumerate(cells, start=1) if cell), default=0)]


def _is_value(cell: str, decimal: str) -> bool:
    """Whether it is a number or a time."""
    try:
        float(cell.replace(",", ".", 1) if decimal == "," else cell)
    except ValueError:
        return ISO_8601.fullmatch(cell) is not None
    return True


def _most_numbers(sample: list[str], separators: str) -> tuple[str, str]:
    """The separator and decimal mark with which most cells of some lines are numbers or times."""
    best, most = (separators[0], "."), 0
    for separator in separators:
        rows = [row for line in sample if len(row := _cells(line, separator)) > 1]
        for decimal in "." if separator == "," else ".,":
            count = sum(_is_value(cell, decimal) for row in rows for cell in row)
            if count > most:
                best, most = (separator, decimal), count
    return best


def _refuse_thousands(rows: list[list[str]], source: str) -> None:
    """Raises ImuError if all commas in numbers may be marks of thousands."""
    numbers = [cell for row in rows for cell in row if "," in cell and _is_value(cell, ",")]
    if all(_THOUSANDS.fullmatch(cell) for cell in numbers):
        fix = "write numbers with a point for decimals and no mark of thousands"
        message = f"{source}: is {numbers[0]} over a thousand, or has it decimals; {fix}"
        raise ImuError("imu.ambiguous-number", message)


def _are_units(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return sum(map(is_unit, filled)) >= len(filled) / 2
