"""The clock of the published code, which counts samples in place of reading when they were."""

from typing import Annotated, Literal

import numpy as np

from comodo.core.settings import ADDED_LATER
from comodo.data.imu import ImuError

WindowTimes = Annotated[Literal["clock", "counted"], ADDED_LATER]
"""Whether samples have the times of the file's clock, or the published ones."""
ROUNDING = 1e-9  # of a rate that is a whole number


def counted_times(clock_N: np.ndarray, source: str) -> tuple[np.ndarray, str]:
    """Times (s) as the published code of COMODO (arXiv 2503.07259) counts them: the first sample is
    at 0, and the rate is the mean of the clock (s, ascending), gaps included, cut to whole Hz.

    Also returns a note of how far the last sample is from its time by the clock. Raises ImuError
    for fewer than two samples, or less than one a second.
    """
    if len(clock_N) < 2:
        raise ImuError("imu.too-few-samples", f"{source}: fewer than two IMU samples with a time")
    seconds = float(clock_N[-1] - clock_N[0])
    rate = int((len(clock_N) - 1) / seconds + ROUNDING) if seconds > 0 else 0
    if rate < 1:
        found = f"{len(clock_N)} samples in {seconds:.3g} s cannot be counted at a whole rate in Hz"
        fix = "set window_times: clock"
        raise ImuError("imu.implausible-rate", f"{source}: {found}; {fix}")
    time_N = np.arange(len(clock_N)) / rate
    late = float(time_N[-1] - clock_N[-1])
    return time_N, f"counted at {rate} Hz from 0 s: the last sample is {late:+.2f} s off its clock"
