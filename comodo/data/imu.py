"""IMU streams: reading files, units, gaps, and resampling to a common rate.

All other modules get streams in g and deg/s, which name their channels. Knows nothing of videos,
windows or models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from comodo.config.channels import CHANNELS, QUANTITIES, in_groups, quantity_of
from comodo.core.errors import ComodoError

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g
ACC_UNITS = {"g": 1.0, "m/s^2": 1 / STANDARD_GRAVITY, "m/s2": 1 / STANDARD_GRAVITY}
GYRO_UNITS = {"deg/s": 1.0, "dps": 1.0, "rad/s": 180 / np.pi}
MAX_GAP_SECONDS = 0.5  # between two samples; a longer time without samples is a gap
RATES_HZ = (5, 20_000)  # of an IMU
# Above what any sensor of a wearable measures: accelerometers up to 64 g, gyroscopes up to 4,000
# deg/s. (Bosch BMI and ST LSM6 data sheets.) Marks of missing values, as -9999, are beyond.
MOST = {"acc": 100.0, "gyro": 5000.0}
LIMITS = "100 g or 5,000 deg/s"
MAX_IMPOSSIBLE = 0.5  # of the rows; more are a wrong unit


class ImuError(ComodoError, ValueError):
    """An IMU stream cannot be used."""


@dataclass(frozen=True)
class ImuStream:
    """Samples of one sensor of a recording: `time_N` in seconds on the video's clock (0 is its
    first frame), `imu_NC` float32 in g and deg/s."""

    time_N: np.ndarray
    imu_NC: np.ndarray
    notes: tuple[str, ...] = ()
    """What the reader detected or corrected and a user should know."""
    impossible: int = 0
    """Rows that were left out because no sensor measures such values."""
    stretch: float = 1.0
    """Seconds of the video in a second of the sensor's own clock, of a reader that spreads samples
    over the video: windows are sampled by the sensor's."""
    channels: tuple[str, ...] = CHANNELS
    """Names of the columns of `imu_NC`."""

    def values(self, quantity: str) -> np.ndarray:
        """The columns `[N, A]` of `acc` or `gyro`; A is 0 if the sensor does not measure it."""
        return self.imu_NC[:, [quantity_of(channel) == quantity for channel in self.channels]]

    @cached_property
    def rate(self) -> float:
        """Sampling rate in Hz, without gaps. A mean: where times are rounded to milliseconds, the
        median step would be wrong by up to 10 %."""
        step_M = np.diff(self.time_N)
        if (step_M <= MAX_GAP_SECONDS).any():
            step_M = step_M[step_M <= MAX_GAP_SECONDS]
        usual_M = step_M[step_M <= 3 * np.median(step_M)]  # without holes, if there are no bursts
        return float(1 / (usual_M if usual_M.sum() > step_M.sum() / 10 else step_M).mean())


def limits(channels: Iterable[str]) -> np.ndarray:
    """The largest value of each channel `[C]` that a sensor of a wearable measures, g and deg/s."""
    return np.array([MOST[quantity_of(channel)] for channel in channels], np.float32)


def checked_stream(
    time_N: np.ndarray,
    imu_NC: np.ndarray,
    source: str,
    notes: Iterable[str] = (),
    channels: tuple[str, ...] = CHANNELS,
) -> ImuStream:
    """A sensor's stream from raw arrays in g and deg/s, without the rows that lack a value, have
    values that no sensor measures, or repeat the row before. Samples that share a time are spread
    evenly up to the next time. Notes say how many there were of each.

    Raises ImuError for fewer than two samples, a clock that runs backwards or stops, a rate that
    no IMU has, or a sensor that is zero throughout.
    """
    with np.errstate(over="ignore"):  # a value too large for float32 is infinite
        imu_NC = imu_NC.astype(np.float32)
    rows = len(time_N)
    complete_N = np.isfinite(time_N) & ~np.isnan(imu_NC).any(axis=1)
    lacking = int((~complete_N).sum())
    if rows - lacking < 2:
        message = f"{source}: fewer than two complete IMU samples{_filled(imu_NC, channels)}"
        raise ImuError("imu.too-few-samples", message)
    time_N, imu_NC = time_N[complete_N].astype(np.float64), imu_NC[complete_N]
    new_M = (np.diff(time_N) != 0) | (imu_NC[1:] != imu_NC[:-1]).any(axis=1)
    copies = int((~new_M).sum())
    time_N, imu_NC = (array[np.append([True], new_M)] for array in (time_N, imu_NC))
    _refuse_backwards(time_N, source)
    for (_, quantity), places in in_groups(channels).items():
        if not imu_NC[:, places].any():
            fix = "leave it out with channels, under the data set, or correct the file"
            message = f"{source}: the {QUANTITIES[quantity]} is zero throughout; {fix}"
            raise ImuError("imu.zero-sensor", message)
    possible_N = (np.abs(imu_NC) <= limits(channels)).all(axis=1) & imu_NC.any(axis=1)
    impossible = int((~possible_N).sum())
    if impossible > MAX_IMPOSSIBLE * len(possible_N):
        found = f"{impossible} of {rows} rows are all zero or over {LIMITS}"
        message = f"{source}: {found}; check the units of the columns"
        raise ImuError("imu.impossible", message)
    time_N, repeats = spread_ticks(time_N, source)
    stream = ImuStream(time_N[possible_N], imu_NC[possible_N], channels=channels)
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


def _filled(imu_NC: np.ndarray, channels: Sequence[str]) -> str:
    """Which channels lack values in rows of which none is complete, and the fix; empty if it is
    only that there are no rows."""
    counts = (~np.isnan(imu_NC)).sum(axis=0).tolist()
    rows = len(imu_NC)
    if empty := [name for name, count in zip(channels, counts, strict=True) if not count]:
        fix = "leave them out with channels, under the data set, or correct the file"
        return f"; none of {rows:,} rows has {', '.join(empty)}; {fix}" if rows else ""
    if min(counts) == rows:
        return ""
    shown = ", ".join(f"{name} in {count:,}" for name, count in zip(channels, counts, strict=True))
    return f"; of {rows:,} rows: {shown}; write all values of one time in one row"


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
    channels: tuple[str, ...] = CHANNELS,
) -> ImuStream:
    """A stream of an accelerometer and a gyroscope that have samples at different times, in
    seconds, g and deg/s; `channels` names those of the first, then those of the second.

    The sensor with fewer samples is interpolated at the times of the other, where both have
    samples; a note says so. Raises ImuError as `checked_stream` does.
    """
    acc, gyro = (acc_time_N, acc_N3, MOST["acc"]), (gyro_time_M, gyro_M3, MOST["gyro"])
    is_acc_slow = len(acc_time_N) <= len(gyro_time_M)
    slow, fast = (acc, gyro) if is_acc_slow else (gyro, acc)
    slow_N3 = _interpolated(fast[0], *slow, source)
    both_N = ~np.isnan(slow_N3).any(axis=1)
    values = (slow_N3, fast[1]) if is_acc_slow else (fast[1], slow_N3)
    stream = checked_stream(
        fast[0][both_N], np.concatenate(values, axis=1)[both_N], source, channels=channels
    )
    names = ("accelerometer", "gyroscope") if is_acc_slow else ("gyroscope", "accelerometer")
    note = f"{names[0]} interpolated at the {names[1]}'s {stream.rate:.0f} Hz"
    return replace(stream, notes=(*stream.notes, note))


def _interpolated(
    at_N: np.ndarray, time_M: np.ndarray, value_M3: np.ndarray, limit: float, source: str
) -> np.ndarray:
    """A sensor's values at `at_N`; NaN outside its times and in its gaps."""
    from comodo.data.resampling import values_at

    known_M = np.isfinite(time_M) & (np.abs(value_M3) <= limit).all(axis=1)
    time_M, value_M3 = time_M[known_M], value_M3[known_M]
    value_N3 = np.full((len(at_N), value_M3.shape[1]), np.nan)
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


def with_channels(
    streams: Iterable[ImuStream], channels: Sequence[str], source: str, *, zero: bool
) -> tuple[ImuStream, ...]:
    """The streams with these channels alone, in this order if all are of one stream. `zero`: those
    that no stream has are left out, to be filled with 0; else raises ImuError for one."""
    found = []
    for stream in streams:
        kept = [channel for channel in channels if channel in stream.channels]
        if kept:
            places = [stream.channels.index(channel) for channel in kept]
            imu_NC = stream.imu_NC if kept == [*stream.channels] else stream.imu_NC[:, places]
            found.append(replace(stream, imu_NC=imu_NC, channels=tuple(kept)))
    there = {channel for stream in found for channel in stream.channels}
    lacking = [channel for channel in channels if channel not in there]
    if lacking and not (zero and found):
        fix = "list the channels that recordings have under the data set, or set missing: zero"
        message = f"{source}: no {', '.join(lacking)}; {fix}"
        raise ImuError("imu.missing-channel", message)
    return tuple(found)


def resample_all(
    streams: Sequence[ImuStream],
    channels: Sequence[str],
    start: float,
    seconds: float,
    rate: float,
) -> np.ndarray:
    """Each stream as `resample` gives it, side by side: `[T, C]` with these channels; those that no
    stream has are 0."""
    parts = {
        channel: column_T
        for stream in streams
        for channel, column_T in zip(
            stream.channels, resample(stream, start, seconds, rate).T, strict=True
        )
    }
    zeros_T = np.zeros(len(next(iter(parts.values()))), np.float32)
    return np.stack([parts.get(channel, zeros_T) for channel in channels], axis=1)


def resample(stream: ImuStream, start: float, seconds: float, rate: float) -> np.ndarray:
    """The stream from `start` for `seconds`, at `rate` Hz of the sensor's clock: float32 `[T, C]`,
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
