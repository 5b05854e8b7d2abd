"""IMU streams from tables: CSV files and arrays, with times, units and names of channels."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comodo.config.channels import quantity_of
from comodo.data.imu import ImuError, ImuStream, checked_stream, refuse_missing
from comodo.data.tables import units
from comodo.data.tables.columns import Column, columns_of
from comodo.data.tables.dialect import Dialect, detect
from comodo.data.tables.presets import Layout
from comodo.data.tables.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

_EPOCHS = re.compile(r"Epoch Period \(hh:mm:ss\) (?!00:00:00)")
"""In the first lines of an ActiGraph export: it has counts of so long, and no samples."""


def read_table(path: str | Path, kind: str, **options: Any) -> "pd.DataFrame":
    """A CSV file, read by pandas with `options`; `kind` says in errors what it should be. Raises
    ImuError if the file is missing, cannot be parsed, or has rows with more cells than columns."""
    import pandas as pd  # takes half a second, which a mere check of the sweep file does not need

    refuse_missing(path)
    try:
        with warnings.catch_warnings():
            # Without index_col=False, a row that ends with a comma would shift all columns by one.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # pandas' faster number parser crashes the process at an exponent with many digits.
            return pd.read_csv(path, float_precision="round_trip", index_col=False, **options)
    except pd.errors.ParserWarning:
        message = f"{path}: its rows have more cells than the header has columns; name every column"
        raise ImuError("imu.unreadable", message) from None
    except ValueError as error:  # empty, ragged, not text, or a missing column
        if ragged := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            columns, line, cells = ragged.groups()
            message = f"{path}, line {line}: {cells} cells, the header has {columns}"
            fix = "correct the line, or remove it"
            raise ImuError("imu.unreadable", f"{message}; {fix}") from None
        raise ImuError("imu.unreadable", f"{path}: cannot be read as {kind}: {error}") from None


def open_table(path: Path, layout: Layout) -> tuple["pd.DataFrame", list[Column], Dialect]:
    """The table of a CSV file, its columns, and how it is written. Columns without a header are
    named by the layout, else "1", "2", ... Raises ImuError."""
    dialect = detect(path)
    if any(_EPOCHS.search(line) for line in dialect.preamble):
        fix = "export the raw samples, 30 or more a second"
        raise ImuError("imu.counts", f"{path}: has counts of an ActiGraph and no samples; {fix}")
    table = read_table(path, "CSV", **dialect.options())
    if dialect.header is None:
        numbered = [str(number) for number in range(1, table.shape[1] + 1)]
        names = list(layout.header)
        table = table.set_axis(names if len(names) == len(numbered) else numbered, axis=1)
    return table, columns_of(table.columns, dialect.units), dialect


def read_csv(
    path: Path, channels: Sequence[str], layout: Layout | None = None
) -> tuple[ImuStream, ...]:
    """The streams of a CSV file with columns of `channels`, one for each sensor; channels that it
    lacks are left out. What the file does not say itself is in `layout`; notes say what was
    inferred. Accelerometer and gyroscope may have rows of their own. Raises ImuError, with the
    settings to write where the meaning of a file is not certain."""
    layout = layout or Layout()
    table, columns, dialect = open_table(path, layout)
    samples = Samples(path, table, columns, dialect, layout)
    first, *others = samples.streams(channels)
    notes = (*dialect.notes, *samples.notes, *first.notes)
    return (replace(first, notes=notes), *others)


def read_npy(path: Path, channels: Sequence[str], layout: Layout) -> ImuStream:
    """An array `[N, C]` or `[C, N]` of samples that starts with the video; its columns are the
    `channels`, its rate and units those of the layout. Raises ImuError."""
    refuse_missing(path)
    of_quantity = {"acc": layout.acc_unit, "gyro": layout.gyro_unit}
    needed = {quantity_of(channel): of_quantity[quantity_of(channel)] for channel in channels}
    if layout.rate is None or not all(needed.values()):
        needs = "an .npy file needs imu_rate, acc_unit and gyro_unit in the manifest"
        raise ImuError("imu.missing-unit", f"{path}: {needs}")
    try:
        imu = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds for a damaged header
        raise ImuError("imu.unreadable", f"{path}: cannot be read as an array: {error}") from None
    count = len(channels)
    if imu.ndim != 2 or count not in imu.shape:
        message = f"{path}: shape {imu.shape}; expected [samples, {count}]: {', '.join(channels)}"
        raise ImuError("imu.wrong-shape", message)
    imu_NC = imu if imu.shape[1] == count else imu.T
    factors = {
        quantity: units.factor(quantity, unit, str(path)) for quantity, unit in needed.items()
    }
    factor_C = np.array([factors[quantity_of(channel)] for channel in channels])
    time_N = np.arange(len(imu_NC)) / layout.rate
    return checked_stream(time_N, imu_NC * factor_C, str(path), channels=tuple(channels))
