"""Units of acceleration, rotation and time in the spellings of files. Never guesses one."""

import numpy as np

from comodo.data.imu import STANDARD_GRAVITY, ImuError, fitting_units, median_length

ACC = {"g": 1.0, "mg": 1e-3, "m/s^2": 1 / STANDARD_GRAVITY, "1/64 g": 1 / 64}
GYRO = {"deg/s": 1.0, "mdeg/s": 1e-3, "rad/s": 180 / np.pi, "mrad/s": 0.18 / np.pi}
UNITS = {"acc": ACC, "gyro": GYRO}
"""Factors to g and deg/s, by quantity."""
TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Factors to seconds."""

# After `_plain`. Only what has a single meaning for a column of this quantity is here.
_ACC_SPELLINGS = {
    "m/s2": "m/s^2", "m/s/s": "m/s^2", "ms-2": "m/s^2", "m/sec2": "m/s^2", "mps2": "m/s^2",
    "milli-g": "mg", "gs": "g",
}  # fmt: skip
_GYRO_SPELLINGS = {
    "dps": "deg/s", "°/s": "deg/s", "º/s": "deg/s", "deg/sec": "deg/s", "degrees/s": "deg/s",
    "degree/s": "deg/s", "degs-1": "deg/s", "mdps": "mdeg/s", "m°/s": "mdeg/s",
    "rad/sec": "rad/s", "rads-1": "rad/s", "radians/s": "rad/s",
}  # fmt: skip
_TIME_SPELLINGS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "millis": "ms",
    "milliseconds": "ms", "millisecond": "ms", "µs": "us", "μs": "us", "usec": "us",
    "micros": "us", "microseconds": "us", "nsec": "ns", "nanos": "ns", "nanoseconds": "ns",
}  # fmt: skip
_OTHERS = {"unitless", "no_units", "ut", "µt", "gauss", "mgauss", "local_flux", "°c", "deg", "mv",
           "pa", "hpa", "kpa", "mbar", "%", "v", "kohms", "lux"}  # fmt: skip
"""Of columns that are not read, in a row of units."""
_SUPERSCRIPTS = str.maketrans("²⁻¹", "2-1", "^()*·. ")


def acc_or_gyro(quantity: str, written: str) -> str:
    """The unit of UNITS that a spelling means; empty for none. `m/s²`, `m/(s^2)` and `m s-2` are
    `m/s^2`."""
    if written in UNITS[quantity]:
        return written
    plain = written.lower().translate(_SUPERSCRIPTS)
    spellings = _ACC_SPELLINGS if quantity == "acc" else _GYRO_SPELLINGS
    return spellings.get(plain, plain if plain in UNITS[quantity] else "")


def time_unit(written: str) -> str:
    """The unit of TIME that a spelling means; empty for none."""
    plain = written.strip().lower()
    return _TIME_SPELLINGS.get(plain, plain if plain in TIME else "")


def is_unit(written: str) -> bool:
    """Whether a cell is a unit, such as those of a row under the header."""
    if acc_or_gyro("acc", written) or acc_or_gyro("gyro", written) or time_unit(written):
        return True
    return written.lower() in _OTHERS


CODES = (
    "its acceleration is in whole numbers that are never negative: if these are codes of a "
    "converter, convert them to g, mg or m/s^2 first"
)
"""What to do where `are_codes`."""


def are_codes(acc_NA: np.ndarray) -> bool:
    """Whether acceleration seems to be codes of a converter, with an offset: all axes change, in
    whole numbers that are never negative. No unit makes them g."""
    acc_NA = acc_NA[np.isfinite(acc_NA).all(axis=1)]
    if not acc_NA.size or acc_NA.min() < 0:
        return False
    return bool((acc_NA == np.rint(acc_NA)).all() and (np.ptp(acc_NA, axis=0) > 0).all())


def by_gravity(acc_N3: np.ndarray) -> str:
    """The unit in which the median length is about 1 g, for the user to confirm; empty if there is
    none, an axis is missing, or the values seem to be codes."""
    if acc_N3.shape[1] != 3 or are_codes(acc_N3):
        return ""
    fitting = fitting_units(median_length(acc_N3), ACC)
    return fitting[0] if len(fitting) == 1 else ""


def factor(quantity: str, written: str, source: str) -> float:
    """Factor from a unit to g or deg/s. Raises ImuError for an unknown unit."""
    if not (unit := acc_or_gyro(quantity, written)):
        known = ", ".join(UNITS[quantity])
        raise ImuError("imu.unknown-unit", f"{source}: unknown unit '{written}'; known: {known}")
    return UNITS[quantity][unit]
