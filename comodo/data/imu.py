"""IMU streams: reading files, units, gaps, and resampling to a common rate.

Everywhere else in the package a stream is in g and deg/s, channels in the order of
`config.CHANNELS`. Knows nothing of videos, windows or models.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from comodo.config import CHANNELS
from comodo.core.errors import ComodoError

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g
ACC_UNITS = {"g": 1.0, "m/s^2": 1 / STANDARD_GRAVITY, "m/s2": 1 / STANDARD_GRAVITY}
GYRO_UNITS = {"deg/s": 1.0, "dps": 1.0, "rad/s": 180 / np.pi}
# How pandas reads numbers; its own faster way crashes the process at an exponent of many digits.
FLOATS: Literal["round_trip"] = "round_trip"
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class ImuError(ComodoError, ValueError):
    """A stream that cannot be used; the text says which file and why."""


@dataclass(frozen=True)
class ImuStream:
    """Samples of one recording: `time_N` in seconds on the video's clock (0 is its first frame),
    `imu_NC` float32 in g and deg/s."""

    time_N: np.ndarray
    imu_NC: np.ndarray
    notes: tuple[str, ...] = ()
    """What was found or mended in the file and a user should know, as `unit m/s^2 detected`."""

    @cached_property
    def rate(self) -> float:
        """Samples per second, from the median distance of two samples."""
        return float(1 / np.median(np.diff(self.time_N)))


def checked_stream(time_N: np.ndarray, imu_NC: np.ndarray, source: str) -> ImuStream:
    """A stream from raw arrays in g and deg/s; rows with a missing value are left out.

    Raises:
        ImuError: fewer than two samples, a clock that runs backwards or stands still, a channel
            group that is zero throughout.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold is missing too
        imu_NC = imu_NC.astype(np.float32)
    good_N = np.isfinite(time_N) & np.isfinite(imu_NC).all(axis=1)
    time_N, imu_NC = time_N[good_N].astype(np.float64), imu_NC[good_N]
    if len(time_N) < 2:
        raise ImuError(f"{source}: fewer than two complete IMU samples")
    steps = np.diff(time_N)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0)) + 1
        raise ImuError(f"{source}: the clock runs backwards at sample {row}")
    if np.median(steps) <= 0:
        raise ImuError(f"{source}: the clock stands still")
    if not imu_NC[:, :3].any() or not imu_NC[:, 3:].any():
        raise ImuError(f"{source}: accelerometer or gyroscope is zero throughout")
    fresh_N = np.concatenate([[True], steps > 0])  # of samples at one time the first is kept
    return ImuStream(time_N[fresh_N], imu_NC[fresh_N])


def unit_factor(unit: str, units: dict[str, float], source: str) -> float:
    """Factor to g, deg/s or seconds. Raises ImuError for a unit that is not known."""
    if unit not in units:
        raise ImuError(f"{source}: unknown unit '{unit}'; known: {', '.join(units)}")
    return units[unit]


def unit_by_gravity(acc_N3: np.ndarray, units: dict[str, float], source: str) -> tuple[float, str]:
    """The unit of raw acceleration, told by gravity: while worn, its length is mostly about 1 g.

    Args:
        units: the units that it can be in, with their factors to g.

    Returns:
        The factor to g and a note of what was found.

    Raises:
        ImuError: in none of them, or in several, is the median length between 3/4 and 4/3 g.
    """
    length_N = np.linalg.norm(acc_N3, axis=1)
    length_N = length_N[np.isfinite(length_N)]
    middle = float(np.median(length_N)) if len(length_N) else 0.0
    fitting = [unit for unit, factor in units.items() if 3 / 4 < middle * factor < 4 / 3]
    if len(fitting) != 1:
        known = " nor ".join(f"{1 / factor:.6g} as in {unit}" for unit, factor in units.items())
        raise ImuError(
            f"{source}: unknown unit of acceleration: its median length is {middle:.4g}, "
            f"neither about {known}"
        )
    unit = fitting[0]
    return units[unit], f"accelerometer in {unit}, told by gravity (median length {middle:.4g})"


def read_csv(path: Path, acc_unit: str = "", gyro_unit: str = "") -> ImuStream:
    """A CSV with a time column (`time_s`, `time_ms`, `time_us`, `time_ns`) and the six channels.

    A unit stands behind its channel, as in `acc_x [m/s^2]`, or is given for the whole file.

    Raises:
        ImuError: a missing column or unit, or an unusable stream.
    """
    import pandas as pd  # as scipy.signal below: half a second that a mere check need not wait

    try:
        frame = pd.read_csv(path, float_precision=FLOATS)
    except ValueError as error:  # empty, ragged, or no text
        raise ImuError(f"{path}: cannot be read as CSV: {error}") from None
    columns: dict[str, tuple[str, str]] = {}
    for column in frame.columns:
        if match := re.fullmatch(r"\s*(\w+?)\s*(?:[\[(](.*?)[\])])?\s*", str(column)):
            columns[match[1].lower()] = (column, match[2] or "")
    time_name = next((f"time_{unit}" for unit in TIME_UNITS if f"time_{unit}" in columns), None)
    missing = [name for name in CHANNELS if name not in columns]
    if time_name is None or missing:
        wanted = "time_s" if time_name is None else missing[0]
        raise ImuError(f"{path}: no column {wanted}; it has {', '.join(map(str, frame.columns))}")
    values = []
    for name in CHANNELS:
        column, header_unit = columns[name]
        given, units = (acc_unit, ACC_UNITS) if name.startswith("acc") else (gyro_unit, GYRO_UNITS)
        if not (header_unit or given):
            raise ImuError(
                f"{path}: no unit for {name}; write '{name} [{next(iter(units))}]' "
                "in the header, or acc_unit and gyro_unit in the manifest"
            )
        factor = unit_factor(header_unit or given, units, str(path))
        values.append(_numbers(frame[column], path) * factor)
    time_N = _numbers(frame[columns[time_name][0]], path) * TIME_UNITS[time_name[5:]]
    return checked_stream(time_N, np.stack(values, axis=1), str(path))


def _numbers(column: Any, path: Path) -> np.ndarray:
    try:
        return column.to_numpy(np.float64)
    except ValueError as error:
        raise ImuError(f"{path}: column {column.name}: {error}") from None


def read_npy(path: Path, rate: float, acc_unit: str, gyro_unit: str) -> ImuStream:
    """An array `[N, 6]` or `[6, N]` of samples at a fixed rate in Hz, beginning with the video.

    Raises:
        ImuError: another shape, or an unusable stream.
    """
    try:
        imu = np.load(path, allow_pickle=False)
    except Exception as error:  # of a damaged header NumPy raises whatever its parts raise
        raise ImuError(f"{path}: cannot be read as an array: {error}") from None
    if imu.ndim != 2 or 6 not in imu.shape:
        raise ImuError(f"{path}: shape {imu.shape}; wanted [samples, 6]")
    imu_NC = imu if imu.shape[1] == 6 else imu.T
    factors = [unit_factor(acc_unit, ACC_UNITS, str(path))] * 3
    factors += [unit_factor(gyro_unit, GYRO_UNITS, str(path))] * 3
    return checked_stream(np.arange(len(imu_NC)) / rate, imu_NC * np.array(factors), str(path))


def resample(stream: ImuStream, start: float, seconds: float, rate: float) -> np.ndarray:
    """The stream from `start` for `seconds`, at `rate` Hz: float32 `[round(seconds * rate), 6]`.

    Jitter is removed by linear interpolation at about the stream's own rate; the step to the
    common rate is a polyphase filter, which holds back what the lower rate cannot carry.
    """
    from scipy.signal import resample_poly

    wanted = round(seconds * rate)
    if rate > stream.rate:
        ratio = Fraction(rate / stream.rate).limit_denominator(20)
    else:
        ratio = 1 / Fraction(stream.rate / rate).limit_denominator(20)
    native_rate = rate / float(ratio)
    margin = 10 / min(rate, native_rate)  # seconds on either side for the filter to settle
    margin_out = round(margin * rate)
    count = int(np.ceil((wanted + 2 * margin_out) / float(ratio))) + 1
    time_M = start - margin_out / rate + np.arange(count) / native_rate
    # Only the samples around the span, or each window of a long recording would copy all of it.
    first = max(0, int(np.searchsorted(stream.time_N, time_M[0], "right")) - 1)
    near = slice(first, int(np.searchsorted(stream.time_N, time_M[-1])) + 1)
    even_MC = np.stack(
        [np.interp(time_M, stream.time_N[near], channel) for channel in stream.imu_NC[near].T],
        axis=1,
    )
    if ratio != 1:
        even_MC = resample_poly(even_MC, ratio.numerator, ratio.denominator, axis=0, padtype="line")
    return even_MC[margin_out : margin_out + wanted].astype(np.float32)


def has_gap(stream: ImuStream, start: float, end: float, longest: float) -> bool:
    """Whether no sample falls into some stretch of more than `longest` seconds of the span."""
    first = int(np.searchsorted(stream.time_N, start, "right"))
    inside_N = stream.time_N[first : int(np.searchsorted(stream.time_N, end))]
    return bool(np.diff(np.concatenate([[start], inside_N, [end]])).max() > longest)
