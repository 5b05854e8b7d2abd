"""IMU streams: reading files, units, gaps, and resampling to a common rate.

All other modules get streams in g and deg/s, with channels in the order of `config.CHANNELS`. Knows
nothing of videos, windows or models.
"""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
MAX_GAP_SECONDS = 0.5  # between two samples; a longer time without samples is a gap
ACC, GYRO = slice(0, 3), slice(3, 6)  # of the channels
RATES_HZ = (5, 20_000)  # of an IMU
# Above what any sensor of a wearable measures: accelerometers up to 64 g, gyroscopes up to 4,000
# deg/s. (Bosch BMI and ST LSM6 data sheets.) Marks of missing values, as -9999, are beyond.
LIMIT_C = np.array([100.0] * 3 + [5000.0] * 3, np.float32)
LIMITS = "100 g or 5,000 deg/s"
MAX_IMPOSSIBLE = 0.5  # of the rows; more are a wrong unit
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
    impossible: int = 0
    """Rows that were left out because no sensor measures such values."""
    stretch: float = 1.0
    """Seconds of the video in a second of the sensor's own clock, of a reader that spreads samples
    over the video: windows are sampled by the sensor's."""

    @cached_property
    def rate(self) -> float:
        """Sampling rate in Hz, without gaps. A mean: where times are rounded to milliseconds, the
        median step would be wrong by up to 10 %."""
        step_M = np.diff(self.time_N)
        if (step_M <= MAX_GAP_SECONDS).any():
            step_M = step_M[step_M <= MAX_GAP_SECONDS]
        usual_M = step_M[step_M <= 3 * np.median(step_M)]  # without holes, if there are no bursts
        return float(1 / (usual_M if usual_M.sum() > step_M.sum() / 10 else step_M).mean())


def checked_stream(
    time_N: np.ndarray, imu_NC: np.ndarray, source: str, notes: Iterable[str] = ()
) -> ImuStream:
    """A stream from raw arrays in g and deg/s, without the rows that lack a value, have values that
    no sensor measures, or repeat the row before. Samples that share a time are spread evenly up to
    the next time. Notes say how many there were of each.

    Raises ImuError for fewer than two samples, a clock that runs backwards or stops, a rate that
    no IMU has, or a sensor that is zero throughout.
    """
    with np.errstate(over="ignore"):  # a value too large for float32 is infinite
        imu_NC = imu_NC.astype(np.float32)
    rows = len(time_N)
    complete_N = np.isfinite(time_N) & ~np.isnan(imu_NC).any(axis=1)
    lacking = int((~complete_N).sum())
    time_N, imu_NC = time_N[complete_N].astype(np.float64), imu_NC[complete_N]
    if len(time_N) < 2:
        raise ImuError("imu.too-few-samples", f"{source}: fewer than two complete IMU samples")
    new_M = (np.diff(time_N) != 0) | (imu_NC[1:] != imu_NC[:-1]).any(axis=1)
    copies = int((~new_M).sum())
    time_N, imu_NC = (array[np.append([True], new_M)] for array in (time_N, imu_NC))
    _refuse_backwards(time_N, source)
    if not imu_NC[:, ACC].any() or not imu_NC[:, GYRO].any():
        message = f"{source}: accelerometer or gyroscope is zero throughout; students need both"
        raise ImuError("imu.zero-sensor", message)
    possible_N = (np.abs(imu_NC) <= LIMIT_C).all(axis=1) & imu_NC.any(axis=1)
    impossible = int((~possible_N).sum())
    if impossible > MAX_IMPOSSIBLE * len(possible_N):
        found = f"{impossible} of {rows} rows are all zero or over {LIMITS}"
        message = f"{source}: {found}; check the units of the columns"
        raise ImuError("imu.impossible", message)
    time_N, repeats = spread_ticks(time_N, source)
    stream = ImuStream(time_N[possible_N], imu_NC[possible_N])
    if not RATES_HZ[0] <= stream.rate <= RATES_HZ[1]:
        found = f"{stream.rate:.3g} samples/s, where an IMU has {RATES_HZ[0]:g} to {RATES_HZ[1]:,}"
        fix = "check the unit of the times"
        raise ImuError("imu.implausible-rate", f"{source}: {found}; {fix}")
    counts = {
        "lack a time or a value and are left out": lacking,
        f"are all zero or over {LIMITS} and are left out": impossible,
        "repeat the row before and are left out": copies,
        "repeat a time and are spread evenly up to the next time": repeats,
    }
    counted = [f"{count:,} of {rows:,} rows {what}" for what, count in counts.items() if count]
    return replace(stream, notes=(*notes, *counted), impossible=impossible)


def _refuse_backwards(time_N: np.ndarray, source: str) -> None:
    backwards_M = np.diff(time_N) < 0
    if backwards_M.any():
        row = int(np.argmax(backwards_M)) + 1
        message = f"{source}: the clock runs backwards at sample {row}; correct it, or split there"
        raise ImuError("imu.clock-backwards", message)


def spread_ticks(time_N: np.ndarray, source: str) -> tuple[np.ndarray, int]:
    """Times where samples that share one are spread evenly up to the next time, as of a clock with
    coarse ticks or samples that arrive in packets; and how many repeat a time. `time_N` ascends.

    Raises ImuError for a clock that stops: so many samples at one time that they take
    `MAX_GAP_SECONDS` longer than the time to the next.
    """
    first_T = np.flatnonzero(np.diff(time_N, prepend=-np.inf) > 0)
    repeats = len(time_N) - len(first_T)
    if not repeats:
        return time_N, 0
    count_T = np.diff(first_T, append=len(time_N))
    if len(first_T) < 2:
        raise ImuError("imu.clock-stopped", f"{source}: all samples have the same time")
    until_T = np.diff(time_N[first_T])
    usual_T = until_T <= 3 * np.median(until_T)  # without holes
    step = until_T[usual_T].sum() / count_T[:-1][usual_T].sum()  # between samples
    # The last samples may take as long as any others; where samples are missing, no longer.
    until_T = np.append(until_T, (count_T[:-1] * step).max())
    if (stopped_T := count_T * step - until_T > MAX_GAP_SECONDS).any():
        row = int(first_T[np.argmax(stopped_T)])
        message = f"{source}: the clock stops at sample {row}; correct it, or split there"
        raise ImuError("imu.clock-stopped", message)
    step_T = np.minimum(until_T / count_T, 1.5 * step)
    place_N = np.arange(len(time_N)) - np.repeat(first_T, count_T)
    return time_N + place_N * np.repeat(step_T, count_T), repeats


def join_sensors(
    acc_time_N: np.ndarray,
    acc_N3: np.ndarray,
    gyro_time_M: np.ndarray,
    gyro_M3: np.ndarray,
    source: str,
) -> ImuStream:
    """A stream of two sensors that have samples at different times, in seconds, g and deg/s.

    The sensor with fewer samples is interpolated at the times of the other, where both have
    samples; a note says so. Raises ImuError as `checked_stream` does.
    """
    acc, gyro = (acc_time_N, acc_N3, LIMIT_C[ACC]), (gyro_time_M, gyro_M3, LIMIT_C[GYRO])
    is_acc_slow = len(acc_time_N) <= len(gyro_time_M)
    slow, fast = (acc, gyro) if is_acc_slow else (gyro, acc)
    slow_N3 = _interpolated(fast[0], *slow, source)
    both_N = ~np.isnan(slow_N3).any(axis=1)
    values = (slow_N3, fast[1]) if is_acc_slow else (fast[1], slow_N3)
    stream = checked_stream(fast[0][both_N], np.concatenate(values, axis=1)[both_N], source)
    names = ("accelerometer", "gyroscope") if is_acc_slow else ("gyroscope", "accelerometer")
    note = f"{names[0]} interpolated at the {names[1]}'s {stream.rate:.0f} Hz"
    return replace(stream, notes=(*stream.notes, note))


def _interpolated(
    at_N: np.ndarray, time_M: np.ndarray, value_M3: np.ndarray, limit_3: np.ndarray, source: str
) -> np.ndarray:
    """A sensor's values at `at_N`; NaN outside its times and in its gaps."""
    from comodo.data.resampling import values_at

    known_M = np.isfinite(time_M) & (np.abs(value_M3) <= limit_3).all(axis=1)
    time_M, value_M3 = time_M[known_M], value_M3[known_M]
    value_N3 = np.full((len(at_N), 3), np.nan)
    if len(time_M) < 2:
        return value_N3
    _refuse_backwards(time_M, source)
    time_M, _ = spread_ticks(time_M, source)
    next_N = np.searchsorted(time_M, at_N).clip(1, len(time_M) - 1)
    in_gap_N = (time_M[next_N] - time_M[next_N - 1] > MAX_GAP_SECONDS) & ~np.isin(at_N, time_M)
    inside_N = (at_N >= time_M[0]) & (at_N <= time_M[-1]) & ~in_gap_N
    if inside_N.any():
        rate = ImuStream(time_M, value_M3).rate
        value_N3[inside_N] = values_at(time_M, value_M3, rate, at_N[inside_N], np.inf)
    return value_N3


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
    median = median_length(acc_N3)
    fitting = fitting_units(median, units)
    if len(fitting) != 1:
        known = " nor ".join(f"{1 / factor:.6g} as in {unit}" for unit, factor in units.items())
        message = f"its median length is {median:.4g}, neither about {known}; convert it to these"
        raise ImuError("imu.unknown-unit", f"{source}: unknown unit of acceleration: {message}")
    unit = fitting[0]
    return units[unit], f"accelerometer in {unit}, detected from its median length {median:.4g}"


def median_length(acc_N3: np.ndarray) -> float:
    """Median length of the vectors without NaN; 0 if there are none."""
    length_N = np.linalg.norm(acc_N3, axis=1)
    length_N = length_N[np.isfinite(length_N)]
    return float(np.median(length_N)) if len(length_N) else 0.0


def fitting_units(median: float, units: dict[str, float]) -> list[str]:
    """Units in which a median length of raw acceleration is 3/4 to 4/3 g."""
    return [unit for unit, factor in units.items() if 3 / 4 < median * factor < 4 / 3]


def refuse_missing(path: str | Path) -> None:
    """Raises ImuError if there is no such file."""
    if not Path(path).is_file():
        raise ImuError("imu.missing-file", f"{path}: no such file")


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


def read_csv(path: Path, acc_unit: str = "", gyro_unit: str = "") -> ImuStream:
    """A CSV with a time column (see `TIME_COLUMNS`) and the six channels. A header gives the unit
    after the channel, as in `acc_x [m/s^2]`; `acc_unit` and `gyro_unit` are for channels without
    one. Accelerometer and gyroscope may have rows of their own. Raises ImuError."""
    table = read_table(path, "CSV")
    columns: dict[str, tuple[str, str]] = {}  # by channel: the column's full name and its unit
    for column in table.columns:
        # pandas adds .1 to the name of a second column of the same name.
        if match := re.fullmatch(r"\s*(\w+?)\s*(?:[\[(](.*?)[\])])?\s*(?:\.\d+)?", str(column)):
            if match[1].lower() in columns:
                message = f"{path}: two columns are named {match[1].lower()}; rename one"
                raise ImuError("imu.two-columns", message)
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

    time_N = numbers(time_name) * TIME_COLUMNS[time_name]
    imu_NC = np.stack([channel(name) for name in CHANNELS], axis=1)
    acc_N, gyro_N = (np.isfinite(imu_NC[:, part]).all(axis=1) for part in (ACC, GYRO))
    if (acc_N & gyro_N).sum() < min(acc_N.sum(), gyro_N.sum()) / 2:  # rows of their own
        acc, gyro = (time_N[acc_N], imu_NC[acc_N, ACC]), (time_N[gyro_N], imu_NC[gyro_N, GYRO])
        return join_sensors(*acc, *gyro, str(path))
    return checked_stream(time_N, imu_NC, str(path))


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
    """The stream from `start` for `seconds`, at `rate` Hz of the sensor's clock: float32 `[T, 6]`,
    with T = `round(seconds * rate)` unless it is stretched. Band-limited, as
    `resampling.values_at`."""
    from comodo.data.resampling import values_at  # SciPy takes long to import

    rate /= stream.stretch
    time_M = start + np.arange(round(seconds * rate)) / rate
    return values_at(stream.time_N, stream.imu_NC, stream.rate, time_M, rate).astype(np.float32)


def has_gap(stream: ImuStream, start: float, end: float, max_gap: float) -> bool:
    """Whether more than `max_gap` seconds of the span pass without a sample."""
    first = int(np.searchsorted(stream.time_N, start, "right"))
    inside_N = stream.time_N[first : int(np.searchsorted(stream.time_N, end))]
    return bool(np.diff(np.concatenate([[start], inside_N, [end]])).max() > max_gap)
