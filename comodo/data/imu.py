"""IMU streams: reading files, units, gaps, and resampling to a common rate.

All other modules get streams in g and deg/s, with channels in the order of `config.CHANNELS`. Knows
nothing of videos, windows or models.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comodo.config import CHANNELS
from comodo.core.errors import ComodoError

if TYPE_CHECKING:
    import pandas as pd

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g
ACC_UNITS = {"g": 1.0, "m/s^2": 1 / STANDARD_GRAVITY, "m/s2": 1 / STANDARD_GRAVITY}
GYRO_UNITS = {"deg/s": 1.0, "dps": 1.0, "rad/s": 180 / np.pi}
TIME_COLUMNS = {"time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6, "time_ns": 1e-9}


class ImuError(ComodoError, ValueError):
    """An IMU stream cannot be used."""


@dataclass(frozen=True)
class ImuStream:
    """Samples of one recording: `time_N` in seconds on the video's clock (0 is its first frame),
    `imu_NC` float32 in g and deg/s."""

    time_N: np.ndarray
    imu_NC: np.ndarray
    notes: tuple[str, ...] = ()
    """What the reader detected or corrected and a user should know."""

    @cached_property
    def rate(self) -> float:
        """Sampling rate in Hz, from the median time step."""
        return float(1 / np.median(np.diff(self.time_N)))


def checked_stream(time_N: np.ndarray, imu_NC: np.ndarray, source: str) -> ImuStream:
    """A stream from raw arrays in g and deg/s, without rows that have a missing value; keeps the
    first of several samples with the same time.

    Raises ImuError for fewer than two samples, a clock that runs backwards or does not advance, or
    a sensor that is zero throughout.
    """
    with np.errstate(over="ignore"):  # a value too large for float32 counts as missing
        imu_NC = imu_NC.astype(np.float32)
    complete_N = np.isfinite(time_N) & np.isfinite(imu_NC).all(axis=1)
    time_N, imu_NC = time_N[complete_N].astype(np.float64), imu_NC[complete_N]
    if len(time_N) < 2:
        raise ImuError("imu.too-few-samples", f"{source}: fewer than two complete IMU samples")
    steps = np.diff(time_N)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0)) + 1
        message = f"{source}: the clock runs backwards at sample {row}; correct it, or split there"
        raise ImuError("imu.clock-backwards", message)
    if np.median(steps) <= 0:
        raise ImuError("imu.clock-stopped", f"{source}: most samples have the same time")
    if not imu_NC[:, :3].any() or not imu_NC[:, 3:].any():
        message = f"{source}: accelerometer or gyroscope is zero throughout; students need both"
        raise ImuError("imu.zero-sensor", message)
    new_time_N = np.concatenate([[True], steps > 0])
    return ImuStream(time_N[new_time_N], imu_NC[new_time_N])


def unit_factor(unit: str, units: dict[str, float], source: str) -> float:
    """Factor from a unit to g or deg/s. Raises ImuError for an unknown unit."""
    if unit not in units:
        message = f"{source}: unknown unit '{unit}'; known: {', '.join(units)}"
        raise ImuError("imu.unknown-unit", message)
    return units[unit]


def unit_by_gravity(acc_N3: np.ndarray, units: dict[str, float], source: str) -> tuple[float, str]:
    """Detects the unit of raw acceleration: a worn sensor measures about 1 g most of the time.

    `units` has the possible units with their factors to g. Returns the factor, and a note for the
    user. Raises ImuError unless the median length is 3/4 to 4/3 g in exactly one of the units.
    """
    length_N = np.linalg.norm(acc_N3, axis=1)
    length_N = length_N[np.isfinite(length_N)]
    median = float(np.median(length_N)) if len(length_N) else 0.0
    fitting = [unit for unit, factor in units.items() if 3 / 4 < median * factor < 4 / 3]
    if len(fitting) != 1:
        known = " nor ".join(f"{1 / factor:.6g} as in {unit}" for unit, factor in units.items())
        message = f"its median length is {median:.4g}, neither about {known}; convert it to these"
        raise ImuError("imu.unknown-unit", f"{source}: unknown unit of acceleration: {message}")
    unit = fitting[0]
    return units[unit], f"accelerometer in {unit}, detected from its median length {median:.4g}"


def refuse_missing(path: str | Path) -> None:
    """Raises ImuError if there is no such file."""
    if not Path(path).is_file():
        raise ImuError("imu.missing-file", f"{path}: no such file")


def read_table(path: str | Path, kind: str, **options: Any) -> "pd.DataFrame":
    """A CSV file, read by pandas with `options`; `kind` says in errors what it should be. Raises
    ImuError if the file is missing or cannot be parsed."""
    import pandas as pd  # takes half a second, which a mere check of the sweep file does not need

    refuse_missing(path)
    try:
        # pandas' faster number parser crashes the process at an exponent with many digits.
        return pd.read_csv(path, float_precision="round_trip", **options)
    except ValueError as error:  # empty, ragged, not text, or a missing column
        raise ImuError("imu.unreadable", f"{path}: cannot be read as {kind}: {error}") from None


def read_csv(path: Path, acc_unit: str = "", gyro_unit: str = "") -> ImuStream:
    """A CSV with a time column (see `TIME_COLUMNS`) and the six channels. A header gives the unit
    after the channel, as in `acc_x [m/s^2]`; `acc_unit` and `gyro_unit` are for channels without
    one. Raises ImuError."""
    table = read_table(path, "CSV")
    columns: dict[str, tuple[str, str]] = {}  # by channel: the column's full name and its unit
    for column in table.columns:
        if match := re.fullmatch(r"\s*(\w+?)\s*(?:[\[(](.*?)[\])])?\s*", str(column)):
            columns[match[1].lower()] = (column, match[2] or "")

    time_name = next((name for name in TIME_COLUMNS if name in columns), "time_s")
    if missing := [name for name in (time_name, *CHANNELS) if name not in columns]:
        message = f"{path}: no column {missing[0]}; it has {', '.join(map(str, table.columns))}"
        raise ImuError("imu.missing-column", message)

    def numbers(name: str) -> np.ndarray:
        column = columns[name][0]
        try:
            return table[column].to_numpy(np.float64)
        except ValueError as error:
            raise ImuError("imu.unreadable", f"{path}: column {column}: {error}") from None

    def channel(name: str) -> np.ndarray:
        is_acc = name.startswith("acc")
        units, default = (ACC_UNITS, acc_unit) if is_acc else (GYRO_UNITS, gyro_unit)
        unit = columns[name][1] or default
        if not unit:
            known = next(iter(units))
            fix = f"'{name} [{known}]' in the header, or acc_unit and gyro_unit in the manifest"
            raise ImuError("imu.missing-unit", f"{path}: no unit for {name}; write {fix}")
        return numbers(name) * unit_factor(unit, units, str(path))

    imu_NC = np.stack([channel(name) for name in CHANNELS], axis=1)
    return checked_stream(numbers(time_name) * TIME_COLUMNS[time_name], imu_NC, str(path))


def read_npy(path: Path, rate: float, acc_unit: str, gyro_unit: str) -> ImuStream:
    """An array `[N, 6]` or `[6, N]` of samples at a fixed rate in Hz that starts with the video.
    Raises ImuError."""
    refuse_missing(path)
    try:
        imu = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds for a damaged header
        raise ImuError("imu.unreadable", f"{path}: cannot be read as an array: {error}") from None
    if imu.ndim != 2 or 6 not in imu.shape:
        raise ImuError("imu.wrong-shape", f"{path}: shape {imu.shape}; expected [samples, 6]")
    imu_NC = imu if imu.shape[1] == 6 else imu.T
    factors = [unit_factor(acc_unit, ACC_UNITS, str(path))] * 3
    factors += [unit_factor(gyro_unit, GYRO_UNITS, str(path))] * 3
    return checked_stream(np.arange(len(imu_NC)) / rate, imu_NC * np.array(factors), str(path))


def resample(stream: ImuStream, start: float, seconds: float, rate: float) -> np.ndarray:
    """The stream from `start` for `seconds`, at `rate` Hz: float32 `[round(seconds * rate), 6]`.

    Linear interpolation at about the stream's own rate removes jitter; a polyphase filter then
    converts to the common rate without aliasing.
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
    # Only the samples around the span: otherwise each window would copy the whole recording.
    first = max(0, int(np.searchsorted(stream.time_N, time_M[0], "right")) - 1)
    near = slice(first, int(np.searchsorted(stream.time_N, time_M[-1])) + 1)
    time_K, imu_CK = stream.time_N[near], stream.imu_NC[near].T
    even_MC = np.stack([np.interp(time_M, time_K, channel_K) for channel_K in imu_CK], axis=1)
    if ratio != 1:
        even_MC = resample_poly(even_MC, ratio.numerator, ratio.denominator, axis=0, padtype="line")
    return even_MC[margin_out : margin_out + wanted].astype(np.float32)


def has_gap(stream: ImuStream, start: float, end: float, max_gap: float) -> bool:
    """Whether more than `max_gap` seconds of the span pass without a sample."""
    first = int(np.searchsorted(stream.time_N, start, "right"))
    inside_N = stream.time_N[first : int(np.searchsorted(stream.time_N, end))]
    return bool(np.diff(np.concatenate([[start], inside_N, [end]])).max() > max_gap)
