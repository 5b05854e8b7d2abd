"""The clock of a table: times of any unit, counters that wrap, and ISO 8601, as seconds.

A unit that the file does not say is accepted, with a note, only if no other gives the rate of an
IMU.
"""

from typing import TYPE_CHECKING

import numpy as np

from comodo.data.imu import RATES_HZ, ImuError
from comodo.data.tables.dialect import ISO_8601
from comodo.data.tables.units import TIME

if TYPE_CHECKING:
    import pandas as pd

WRAPS = 2.0**32  # ticks; of the counters of 32 bits that sensors have


def is_iso(column: "pd.Series") -> bool:
    """Whether a column has times in ISO 8601."""
    if column.dtype != object:
        return False
    first = next((cell for cell in column if isinstance(cell, str)), "")
    return ISO_8601.fullmatch(first.strip()) is not None


def seconds_of(
    column: "pd.Series", unit: str, source: str, fix: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The times in seconds, and notes of what was inferred. Of ISO 8601 the seconds since 1970 in
    UTC; a float of these is exact to a quarter of a microsecond.

    Args:
        column: of numbers or of ISO 8601.
        unit: a key of `units.TIME`; empty if it is not known.
        source: the file, for errors.
        fix: how the user can give the unit, for errors.

    Raises ImuError for text of another form, or if the unit is not certain.
    """
    name = column.name
    if column.dtype == object:
        return _of_iso(column, source)
    time_N = column.to_numpy(np.float64)
    time_N, notes = _unwrapped(time_N)
    if not unit:
        unit = _unit_by_rate(time_N, f"{source}: column {name}", fix)
        rate = 1 / (_step(time_N) * TIME[unit])
        other = "no other unit gives the rate of an IMU"
        notes += (f"the clock '{name}' is read in {unit}, {rate:.0f} samples/s: {other}",)
    return time_N * TIME[unit], notes


def _of_iso(column: "pd.Series", source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    import pandas as pd

    try:
        times = pd.to_datetime(column, format="ISO8601", utc=True)
    except ValueError:
        given = next((cell for cell in column if isinstance(cell, str)), "")
        message = f"{source}: column {column.name}: '{given}' is neither a number nor ISO 8601"
        fix = "write times as 2025-11-20T10:00:00.125Z, or as numbers"
        raise ImuError("imu.unknown-time", f"{message}; {fix}") from None
    zoned = column.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)\s*$", regex=True)
    notes = () if zoned.all() else ("times without a time zone are read as UTC",)
    naive = times.dt.tz_localize(None).astype("datetime64[ns]")
    time_N = naive.to_numpy().view(np.int64) / 1e9
    return np.where(naive.isna(), np.nan, time_N), notes


def _unwrapped(time_N: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The times of a counter of 32 bits without its jumps back to 0."""
    jumps_M = np.diff(time_N, prepend=time_N[:1]) < -WRAPS / 2
    if not jumps_M.any() or not ((time_N >= 0) & (time_N < WRAPS))[np.isfinite(time_N)].all():
        return time_N, ()
    count = int(jumps_M.sum())
    note = f"its clock of 32 bits begins again {count} time{'s' * (count > 1)}, which is corrected"
    return time_N + WRAPS * np.cumsum(jumps_M), (note,)


def _step(time_N: np.ndarray) -> float:
    """The mean step, without holes; 0 if there is none."""
    step_M = np.diff(time_N[np.isfinite(time_N)])
    positive_M = step_M[step_M > 0]
    if not len(positive_M):
        return 0.0
    usual_M = step_M[(step_M >= 0) & (step_M <= 10 * np.median(positive_M))]
    return float(usual_M.mean())


def _unit_by_rate(time_N: np.ndarray, source: str, fix: str) -> str:
    """The only unit in which the clock has a rate of an IMU. Raises ImuError if there is none, or
    the steps may be those of a counter of rows."""
    step = _step(time_N)
    rates = {unit: 1 / (step * factor) for unit, factor in TIME.items()} if step else {}
    fitting = [unit for unit, rate in rates.items() if RATES_HZ[0] <= rate <= RATES_HZ[1]]
    if len(fitting) != 1 or np.isclose(step, 1, rtol=1e-3):
        message = f"{source}: the unit of its times is not certain (steps of {step:.3g})"
        raise ImuError("imu.unknown-time", f"{message}; {fix}")
    return fitting[0]
