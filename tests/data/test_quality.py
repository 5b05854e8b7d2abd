"""The measures of a stream, against streams made to have them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.imu import ImuStream
from comodo.data.quality import QUALITY_CHECKS, measure_quality, saturated_share


def stream(time_N: np.ndarray, scale: float = 1.0) -> ImuStream:
    """Gravity on z, a swing on the others."""
    imu_NC = np.stack([0.1 * np.sin(time_N + axis) for axis in range(6)], axis=1)
    imu_NC[:, 2] = 1
    return ImuStream(time_N, (scale * imu_NC).astype(np.float32), ("a note",))


def flags(measured: dict[str, object]) -> set[str]:
    table = pd.DataFrame([measured])
    return {check.column for check in QUALITY_CHECKS if check.flags(table).any()}


def test_a_good_stream_has_no_flags() -> None:
    found = measure_quality(stream(np.arange(500) / 50), 10.02, 0.5)
    assert found["imu_seconds"] == pytest.approx(10)
    assert found["drift"] == pytest.approx(-0.02)
    assert found["rate"] == pytest.approx(50)
    assert found["gravity"] == pytest.approx(1, abs=0.02)
    assert (found["gaps"], found["longest_gap"], found["notes"]) == (0, 0, ["a note"])
    assert flags(found) == set()


def test_what_is_wrong_is_flagged() -> None:
    even = np.arange(500) / 50
    jumped = np.where(even < 5, even, even + 7200)
    found = measure_quality(stream(jumped), 7210, 0.5)
    assert (found["gaps"], found["longest_gap"]) == (1, pytest.approx(7200.02))
    assert flags(found) == {"longest_gap"}
    assert flags(measure_quality(stream(even), 12.0, 0.5)) == {"drift"}
    assert flags(measure_quality(stream(even, scale=9.8), 10.0, 0.5)) == {"gravity"}
    bursts = np.sort(np.concatenate([even, even + 0.002]))  # as samples come by radio
    assert flags(measure_quality(stream(bursts), 10.0, 0.5)) == {"rate_spread"}
    assert measure_quality(stream(even), None, 0.5)["drift"] is None  # no video to differ from


@given(limit=st.floats(2, 16), height=st.floats(1.05, 4), cycles=st.integers(1, 6))
def test_saturation_is_the_share_that_is_clipped(limit: float, height: float, cycles: int) -> None:
    wave_N = limit * height * np.sin(np.linspace(0, 2 * np.pi * cycles, 6000))
    imu_NC = np.zeros((6000, 6), np.float32)
    imu_NC[:, 1] = np.clip(wave_N, -limit, limit)
    assert saturated_share(imu_NC) == pytest.approx((np.abs(wave_N) >= limit).mean(), abs=0.01)
    imu_NC[:, 1] = wave_N
    assert saturated_share(imu_NC) < 0.03  # peaks are no plateau


def test_a_sensor_at_rest_is_not_saturated() -> None:
    rng = np.random.default_rng(0)
    imu_NC = rng.integers(-1, 2, (1000, 6)) * 0.01  # coarse steps: its extremes repeat
    imu_NC[:, 2] += 1
    assert saturated_share(imu_NC.astype(np.float32)) == 0
