"""The measures of a stream, against streams made to have them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.frames import VideoTrack
from comodo.data.imu import ImuStream
from comodo.data.quality import (
    QUALITY_CHECKS,
    flag_lines,
    has_constant_channel,
    measure_quality,
    saturated_share,
)


def stream(time_N: np.ndarray, scale: float = 1.0) -> ImuStream:
    """Gravity on z, a swing on the others."""
    imu_NC = np.stack([0.1 * np.sin(time_N + axis) for axis in range(6)], axis=1)
    imu_NC[:, 2] = 1
    return ImuStream(time_N, (scale * imu_NC).astype(np.float32), ("a note",))


def flags(measured: dict[str, object]) -> set[str]:
    table = pd.DataFrame([{"constant_windows": 0, "labels_outside": 0} | measured])
    return {check.column for check in QUALITY_CHECKS if check.flags(table).any()}


def test_a_good_stream_has_no_flags() -> None:
    found = measure_quality([stream(np.arange(500) / 50)], VideoTrack(10.02, ()))
    assert found["imu_seconds"] == pytest.approx(10)
    assert found["drift"] == pytest.approx(-0.02)
    assert found["rate"] == pytest.approx(50)
    assert found["gravity"] == pytest.approx(1, abs=0.02)
    assert (found["gaps"], found["longest_gap"], found["notes"]) == (0, 0, ["a note"])
    assert flags(found) == set()


def test_what_is_wrong_is_flagged() -> None:
    even = np.arange(500) / 50
    jumped = np.where(even < 5, even, even + 7200)
    found = measure_quality([stream(jumped)], VideoTrack(7210, ()))
    assert (found["gaps"], found["longest_gap"]) == (1, pytest.approx(7200.02))
    assert flags(found) == {"longest_gap"}
    assert flags(measure_quality([stream(even)], VideoTrack(12.0, ()))) == {"drift"}
    assert flags(measure_quality([stream(even, scale=9.8)], VideoTrack(10.0, ()))) == {"gravity"}
    bursts = np.sort(np.concatenate([even, even + 0.002]))  # as samples come by radio
    assert flags(measure_quality([stream(bursts)], VideoTrack(10.0, ()))) == {"rate_spread"}
    assert measure_quality([stream(even)], None)["drift"] is None  # no video to differ from


def moving(seconds: float = 20) -> np.ndarray:
    """A sensor that moves as a person's does, `[N, 6]` at 100 Hz."""
    time_N1 = np.arange(round(100 * seconds))[:, None] / 100
    rng = np.random.default_rng(0)
    acc_N3 = np.sin(2 * np.pi * np.array([1.3, 0.7, 2.1]) * time_N1) * [0.3, 0.2, 0.25] + [0, 0, 1]
    gyro_N3 = np.sin(2 * np.pi * np.array([0.9, 1.7, 0.5]) * time_N1) * [40, 30, 20]
    imu_NC = np.concatenate([acc_N3, gyro_N3], axis=1) + rng.normal(0, 0.001, (len(time_N1), 6))
    return imu_NC.astype(np.float32)


def stuck(imu_NC: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    imu_NC = imu_NC.copy()
    imu_NC[rows, columns] = imu_NC[rows.start, columns]
    return imu_NC


IMU_NC = moving()


@pytest.mark.parametrize(
    ("imu_NC", "flagged"),
    [
        (IMU_NC, set()),
        (IMU_NC * np.repeat([1, 180 / np.pi], 3), {"peak_gyro", "turning"}),
        (IMU_NC * np.repeat([1, np.pi / 180], 3), {"turning"}),
        (stuck(IMU_NC, slice(500, 2000), slice(0, 6)), {"held", "constant_windows"}),
        (stuck(IMU_NC, slice(500, 2000), slice(3, 6)), {"held", "constant_windows"}),
        (stuck(IMU_NC, slice(1000, 1500), slice(4, 5)), {"constant_windows"}),
        (IMU_NC[:, [0, 0, 0, 3, 4, 5]] + [0, 0, 0, 0, 0, 0], {"twins"}),
        (IMU_NC[:, [0, 1, 2, 3, 3, 5]], {"twins"}),
        (np.repeat(IMU_NC[::2], 2, axis=0), {"held"}),  # slower than its rows
        (IMU_NC + np.array([40, 0, 0, 0, 0, 0]), {"gravity", "peak_acc"}),
    ],
)
def test_sensors_that_are_dead_or_impossible_are_flagged(
    imu_NC: np.ndarray, flagged: set[str]
) -> None:
    found = ImuStream(np.arange(len(imu_NC)) / 100, imu_NC.astype(np.float32))
    measured = measure_quality([found], VideoTrack(20.0, ()))
    spans = [(start, start + 5.0) for start in (0, 5, 10, 15)]
    measured["constant_windows"] = sum(has_constant_channel([found], *span) for span in spans)
    assert flags(measured) - {"gravity"} == flagged - {"gravity"}


def test_the_worst_recording_is_named() -> None:
    rows = [
        {"recording": name, **measure_quality([ImuStream(np.arange(2000) / 100, imu_NC)], None)}
        for name, imu_NC in (("good", IMU_NC), ("bad", 60 * IMU_NC), ("worse", 90 * IMU_NC))
    ]
    lines = flag_lines(pd.DataFrame(rows).assign(constant_windows=0, labels_outside=0))
    (line,) = [line for line in lines if "rotation (deg/s)" in line]
    assert line.startswith("2 of 3 recordings flagged: largest rotation (deg/s) 36")
    assert " in worse: " in line


@pytest.mark.parametrize(
    ("factors", "cause"),
    [
        ([9.80665, 1], "looks like m/s^2 declared as g; correct acc_unit"),
        ([1 / 9.80665, 1], "looks like g declared as m/s^2; correct acc_unit"),
        ([1, np.pi / 180], "looks like rad/s declared as deg/s"),
        ([1, 180 / np.pi], "looks like deg/s declared as rad/s; correct gyro_unit"),
    ],
)
def test_the_unit_that_is_meant_is_named(factors: list[float], cause: str) -> None:
    moved = ImuStream(np.arange(2000) / 100, IMU_NC * np.repeat(factors, 3).astype(np.float32))
    row = {"recording": "a", "constant_windows": 0, "labels_outside": 0}
    lines = flag_lines(pd.DataFrame([row | measure_quality([moved], None)]))
    assert any(cause in line for line in lines), lines


def test_a_picture_that_stands_still_is_flagged() -> None:
    track = VideoTrack(20.0, ((6.0, 14.0),))
    found = measure_quality([ImuStream(np.arange(2000) / 100, IMU_NC)], track)
    assert found["still_seconds"] == 8
    assert flags(found | {"constant_windows": 0}) == {"still_seconds"}


@given(limit=st.floats(2, 16), height=st.floats(1.05, 4), cycles=st.integers(1, 6))
def test_saturation_is_the_share_that_is_clipped(limit: float, height: float, cycles: int) -> None:
    wave_N = limit * height * np.sin(np.linspace(0, 2 * np.pi * cycles, 6000))
    imu_NC = np.zeros((6000, 6), np.float32)
    imu_NC[:, 1] = np.clip(wave_N, -limit, limit)
    time_N, clipped = np.arange(6000) / 100, (np.abs(wave_N) >= limit).mean()
    assert saturated_share(ImuStream(time_N, imu_NC)) == pytest.approx(clipped, abs=0.01)
    imu_NC[:, 1] = wave_N
    assert saturated_share(ImuStream(time_N, imu_NC)) < 0.03  # peaks are no plateau


def test_a_sensor_at_rest_is_not_saturated() -> None:
    rng = np.random.default_rng(0)
    imu_NC = rng.integers(-1, 2, (1000, 6)) * 0.01  # coarse steps: its extremes repeat
    imu_NC[:, 2] += 1
    assert saturated_share(ImuStream(np.arange(1000) / 100, imu_NC.astype(np.float32))) == 0
