"""Times as the published code counts them, against its own formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.imu import ImuError
from comodo.data.readers.counted_clock import counted_times
from tests.errors import raises


@given(st.floats(20, 1100), st.floats(3, 60), st.floats(-5, 500), st.floats(0, 20))
def test_samples_are_counted_at_whole_hertz(
    rate: float, seconds: float, start: float, hole: float
) -> None:
    clock_N = start + np.arange(round(rate * seconds)) / rate
    clock_N[len(clock_N) // 2 :] += hole
    time_N, _ = counted_times(clock_N, "a.csv")
    published = 1 / np.mean(np.diff(clock_N))  # cut to an integer there
    assert time_N[0] == 0
    counted = 1 / (time_N[1] - time_N[0])
    assert counted == pytest.approx(int(published + 1e-9), abs=1e-6)
    np.testing.assert_allclose(np.diff(time_N), 1 / counted)


def test_a_camera_of_197_5_hz_is_seconds_off_after_minutes() -> None:
    clock_N = np.arange(round(19 * 60 * 197.5)) / 197.5
    time_N, note = counted_times(clock_N, "a.csv")
    assert time_N[-1] - clock_N[-1] == pytest.approx(2.89, abs=0.01)
    assert note == "counted at 197 Hz from 0 s: the last sample is +2.89 s off its clock"
    late_N, _ = counted_times(7.5 + clock_N, "a.csv")  # it began after the video
    np.testing.assert_array_equal(late_N, time_N)


@pytest.mark.parametrize("clock", [[], [3.0], [3.0, 3.0], [0.0, 2.0, 4.0]])
def test_what_has_no_whole_rate_is_refused(clock: list[float]) -> None:
    code = "imu.too-few-samples" if len(clock) < 2 else "imu.implausible-rate"
    with raises(ImuError, code, "a.csv"):
        counted_times(np.array(clock), "a.csv")
