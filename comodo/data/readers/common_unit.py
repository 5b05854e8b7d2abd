"""The unit of acceleration that all recordings of a data set share, found from gravity.

Recording by recording, vigorous ones would have none, or another one's. Knows no files.
"""

import numpy as np

from comodo.data.imu import ImuError, fitting_units

MOST_OTHERS = 0.25  # of the recordings may look like another unit


def common_unit(
    median_of: dict[str, float], units: dict[str, float], source: str, key: str
) -> tuple[str, str]:
    """The unit, and a note of what it was found from.

    Args:
        median_of: median length of the raw acceleration of each recording, by its id.
        units: the possible units with their factors to g.
        source: what has the recordings, for errors.
        key: the setting that gives the unit, for errors.

    Half of the recordings are below the median over them, which has to be 3/4 to 4/3 g in exactly
    one unit. Raises ImuError, with the recordings' numbers, if it is not, or if over a quarter of
    them is that in another unit.
    """
    median = float(np.median(list(median_of.values())))
    fitting = fitting_units(median, units)
    alone: dict[str, list[str]] = {unit: [] for unit in units}
    for id, length in median_of.items():
        for unit in fitting_units(length, units):
            alone[unit].append(id)
    others = sum(len(ids) for unit, ids in alone.items() if unit not in fitting)
    count = len(median_of)
    if len(fitting) != 1 or others > MOST_OTHERS * count:
        found = [f"{len(ids)} are 1 g in {unit}{_example(ids)}" for unit, ids in alone.items()]
        message = f"median length {median:.4g} over {count} recordings, of which {', '.join(found)}"
        fix = f"write {key}: one of {', '.join(units)}"
        text = f"{source}: unknown unit of acceleration: {message}; {fix}"
        raise ImuError("imu.unknown-unit", text)
    (unit,) = fitting
    agree = f"{len(alone[unit])} of {count} recordings, median length {median:.4g}"
    return unit, f"accelerometer in {unit}, found from all recordings together: 1 g in {agree}"


def _example(ids: list[str]) -> str:
    return f" ({ids[0]})" if ids else ""
