"""IMU streams from tables: CSV files and arrays, with times, units and names of channels."""

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comodo.config.channels import quantity_of, sensor_of
from comodo.data.imu import (
    ACC_UNITS,
    GYRO_UNITS,
    ImuError,
    ImuStream,
    checked_stream,
    join_sensors,
    refuse_missing,
    unit_factor,
)

if TYPE_CHECKING:
    import pandas as pd

TIME_COLUMNS = {"time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6, "time_ns": 1e-9}
_COLUMN = re.compile(r"\s*([\w.]+?)\s*(?:[\[(](.*?)[\])])?\s*(?:\.\d+)?")


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
        raise ImuError("imu.unreadable", f"{path}: cannot be read as {kind}: {error}") from None


def read_csv(
    path: Path, channels: tuple[str, ...], acc_unit: str = "", gyro_unit: str = ""
) -> tuple[ImuStream, ...]:
    """The streams of a CSV file with a time column (see `TIME_COLUMNS`) and columns of `channels`,
    one for each sensor; channels that it lacks are left out. A header gives the unit after the
    channel, as in `acc_x [m/s^2]`; `acc_unit` and `gyro_unit` are for channels without one.
    Accelerometer and gyroscope may have rows of their own. Raises ImuError."""
    table = read_table(path, "CSV")
    columns: dict[str, tuple[str, str]] = {}  # by channel: the column's full name and its unit
    for column in table.columns:
        # pandas adds .1 to the name of a second column of the same name.
        if match := _COLUMN.fullmatch(str(column)):
            if match[1].lower() in columns:
                message = f"{path}: two columns are named {match[1].lower()}; rename one"
                raise ImuError("imu.two-columns", message)
            columns[match[1].lower()] = (column, match[2] or "")

    time_name = next((name for name in TIME_COLUMNS if name in columns), "time_s")
    there = [channel for channel in channels if channel in columns]
    if time_name not in columns or not there:
        lacking = time_name if time_name not in columns else channels[0]
        message = f"{path}: no column {lacking}; it has {', '.join(map(str, table.columns))}"
        raise ImuError("imu.missing-column", message)

    def numbers(name: str) -> np.ndarray:
        column = columns[name][0]
        try:
            return table[column].to_numpy(np.float64)
        except ValueError as error:
            raise ImuError("imu.unreadable", f"{path}: column {column}: {error}") from None

    def values(name: str) -> np.ndarray:
        is_acc = quantity_of(name) == "acc"
        units, default = (ACC_UNITS, acc_unit) if is_acc else (GYRO_UNITS, gyro_unit)
        unit = columns[name][1] or default
        if not unit:
            known = next(iter(units))
            fix = f"'{name} [{known}]' in the header, or acc_unit and gyro_unit in the manifest"
            raise ImuError("imu.missing-unit", f"{path}: no unit for {name}; write {fix}")
        return numbers(name) * unit_factor(unit, units, str(path))

    time_N = numbers(time_name) * TIME_COLUMNS[time_name]
    streams = []
    for sensor in dict.fromkeys(map(sensor_of, there)):
        own = [channel for channel in there if sensor_of(channel) == sensor]
        parts = {
            quantity: {name: values(name) for name in own if quantity_of(name) == quantity}
            for quantity in dict.fromkeys(map(quantity_of, own))
        }
        streams.append(_stream(time_N, parts, str(path)))
    return tuple(streams)


def _stream(time_N: np.ndarray, parts: dict[str, dict[str, np.ndarray]], source: str) -> ImuStream:
    """The stream of one sensor; `parts` has the values of its channels by quantity."""
    channels = tuple(name for part in parts.values() for name in part)
    imu_NC = np.stack([values_N for part in parts.values() for values_N in part.values()], axis=1)
    if len(parts) == 2:
        acc_NA, gyro_NA = (np.stack(list(part.values()), axis=1) for part in parts.values())
        has_acc_N, has_gyro_N = (np.isfinite(x).all(axis=1) for x in (acc_NA, gyro_NA))
        if (has_acc_N & has_gyro_N).sum() < min(has_acc_N.sum(), has_gyro_N.sum()) / 2:
            acc, gyro = (
                (time_N[has_acc_N], acc_NA[has_acc_N]),
                (time_N[has_gyro_N], gyro_NA[has_gyro_N]),
            )
            return join_sensors(*acc, *gyro, source, channels)  # rows of their own
    return checked_stream(time_N, imu_NC, source, channels=channels)


def read_npy(
    path: Path, channels: tuple[str, ...], rate: float, acc_unit: str, gyro_unit: str
) -> ImuStream:
    """An array `[N, C]` or `[C, N]` of samples at a fixed rate in Hz that starts with the video;
    its columns are the `channels`. Raises ImuError."""
    refuse_missing(path)
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
        "acc": unit_factor(acc_unit, ACC_UNITS, str(path)),
        "gyro": unit_factor(gyro_unit, GYRO_UNITS, str(path)),
    }
    factor_C = np.array([factors[quantity_of(channel)] for channel in channels])
    time_N = np.arange(len(imu_NC)) / rate
    return checked_stream(time_N, imu_NC * factor_C, str(path), channels=channels)
