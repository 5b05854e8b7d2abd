"""Streams: files, units, clocks, resampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.imu import (
    ACC_UNITS,
    STANDARD_GRAVITY,
    ImuError,
    ImuStream,
    checked_stream,
    has_gap,
    join_sensors,
    resample,
    unit_by_gravity,
)
from tests.errors import raises


def stream_of(rate: float, seconds: float, hz: float = 1.0) -> ImuStream:
    time_N = np.arange(round(rate * seconds)) / rate
    wave_N = np.sin(2 * np.pi * hz * time_N)
    return ImuStream(time_N, np.repeat(wave_N[:, None], 6, axis=1).astype(np.float32))


@given(unit=st.sampled_from(["g", "m/s^2"]), seed=st.integers(0, 99), motion=st.floats(0, 0.3))
def test_gravity_tells_the_unit_however_the_sensor_is_turned(
    unit: str, seed: int, motion: float
) -> None:
    rng = np.random.default_rng(seed)
    up_3 = rng.normal(size=3)
    acc_N3 = up_3 / np.linalg.norm(up_3) + rng.normal(0, motion, (200, 3))
    acc_N3[rng.random(200) < 0.1] *= 4  # knocks
    acc_N3[:5] = np.nan
    units = {name: ACC_UNITS[name] for name in ("g", "m/s^2")}
    factor, note = unit_by_gravity(acc_N3 / ACC_UNITS[unit], units, "f")
    assert factor == ACC_UNITS[unit]
    assert note.startswith(f"accelerometer in {unit}, detected from its median length ")


@pytest.mark.parametrize("length", [0.0, 0.4, 3.0, 30.0, np.nan])
def test_acceleration_of_no_unit_is_never_guessed(length: float) -> None:
    acc_N3 = np.full((10, 3), length / np.sqrt(3))
    with raises(ImuError, "imu.unknown-unit", "a.csv", "1 as in g", "9.80665 as in m/s^2"):
        unit_by_gravity(acc_N3, {"g": 1.0, "m/s^2": 1 / STANDARD_GRAVITY}, "a.csv")
    with raises(ImuError, "imu.unknown-unit"):  # where two units fit, neither is taken
        unit_by_gravity(np.ones((10, 3)) / np.sqrt(3), {"one": 1.0, "other": 1.1}, "a.csv")


def test_clocks_and_samples_that_cannot_be_used() -> None:
    ones = np.ones((4, 6))
    unusable = {
        "imu.clock-backwards": (np.array([0.0, 1, 0.5, 2]), ones),
        "imu.clock-stopped": (np.zeros(4), np.arange(1.0, 25).reshape(4, 6)),
        "imu.zero-sensor": (np.arange(4.0), ones * [1, 1, 1, 0, 0, 0]),
        "imu.too-few-samples": (np.arange(4.0), ones * np.nan),
    }
    for code, (time_N, imu_NC) in unusable.items():
        with raises(ImuError, code, "f: "):
            checked_stream(time_N, imu_NC, "f")


def test_samples_that_share_a_time_are_spread_up_to_the_next() -> None:
    imu_NC = np.random.default_rng(0).normal(size=(2000, 6))
    wanted_N = np.arange(2000) / 100
    ticks_N = np.floor(wanted_N * 64) / 64  # a clock of 15.6 ms
    stream = checked_stream(ticks_N, imu_NC, "f")
    assert stream.notes == (
        "720 of 2,000 rows repeat a time and are spread evenly up to the next time",
    )
    assert stream.rate == pytest.approx(100, rel=0.002)
    assert np.abs(stream.time_N - wanted_N).max() < 1 / 64
    # Odd or even, first or last: no sample is lost.
    for count in range(2, 12):
        pairs_N = np.repeat(np.arange(20.0), 2)[:count] / 50
        if count > 2:
            assert len(checked_stream(pairs_N, imu_NC[:count], "f").time_N) == count


@given(
    packet=st.integers(1, 40),
    rate=st.floats(20, 400),
    hole=st.floats(0, 3),
    seed=st.integers(0, 99),
)
def test_packets_are_spread_as_their_samples_were_taken(
    packet: int, rate: float, hole: float, seed: int
) -> None:
    """Against the times at which the samples were taken; a hole stays a hole."""
    count = packet * 30
    taken_N = np.arange(count) / rate
    taken_N[count // 2 // packet * packet :] += hole
    arrived_N = taken_N[np.arange(count) // packet * packet]
    imu_NC = np.random.default_rng(seed).normal(size=(count, 6))
    found = checked_stream(arrived_N, imu_NC, "f")
    np.testing.assert_allclose(found.time_N, taken_N, atol=0.6 * packet / rate)
    assert found.rate == pytest.approx(rate, rel=0.2)


def test_a_clock_that_stands_still_is_refused() -> None:
    imu_NC = np.random.default_rng(0).normal(size=(1000, 6))
    time_N = np.arange(1000) / 100
    for first in (400, 900):
        stopped_N = np.concatenate([time_N[:first], np.full(100, first / 100), time_N[first + 1 :]])
        with raises(ImuError, "imu.clock-stopped", f"sample {first}"):
            checked_stream(stopped_N[:1000], imu_NC, "f")
    # A second's samples with one time, after which the clock catches up, are a coarse clock.
    assert checked_stream(np.floor(time_N), imu_NC, "f").rate == pytest.approx(100)


@pytest.mark.parametrize("rate", [0.1, 1.0, 4.0, 25_000.0])
def test_a_rate_that_no_imu_has_is_refused(rate: float) -> None:
    with raises(ImuError, "imu.implausible-rate", f"{rate:.3g} samples/s"):
        checked_stream(np.arange(100) / rate, np.ones((100, 6)), "f")


@pytest.mark.parametrize("value", [-9999.0, 1e9, np.inf, 0.0])
def test_values_that_no_sensor_measures_are_a_gap(value: float) -> None:
    rng = np.random.default_rng(0)
    imu_NC = rng.normal(size=(1000, 6))
    imu_NC[300:305] = value
    stream = checked_stream(np.arange(1000) / 100, imu_NC, "f")
    assert (stream.impossible, len(stream.time_N)) == (5, 995)
    assert stream.notes[0].startswith("5 of 1,000 rows are all zero or over 100 g")
    imu_NC[:600] = value
    with raises(ImuError, "imu.impossible", "600 of 1000"):
        checked_stream(np.arange(1000) / 100, imu_NC, "f")


def test_rows_that_lack_a_value_or_repeat_are_counted() -> None:
    imu_NC = np.random.default_rng(0).normal(size=(1000, 6))
    imu_NC[10:13, 4] = np.nan
    time_N = np.arange(1000) / 100
    twice = np.sort(np.concatenate([np.arange(1000), np.arange(20, 25)]))
    stream = checked_stream(time_N[twice], imu_NC[twice], "f", ["from the reader"])
    assert stream.notes == (
        "from the reader",
        "3 of 1,005 rows lack a time or a value and are left out",
        "5 of 1,005 rows repeat the row before and are left out",
    )
    assert len(stream.time_N) == 997


@given(
    acc_rate=st.sampled_from([25.0, 50.0, 100.0, 104.0]),
    gyro_rate=st.sampled_from([50.0, 100.0, 197.5]),
    late=st.floats(0, 0.02),
)
def test_sensors_on_rows_of_their_own(acc_rate: float, gyro_rate: float, late: float) -> None:
    """As Android logs them, against the signals at the faster sensor's times."""
    times = (np.arange(round(10 * acc_rate)) / acc_rate,
             late + np.arange(round(10 * gyro_rate)) / gyro_rate)  # fmt: skip

    def wave_N3(time_N: np.ndarray, hz: float) -> np.ndarray:
        return np.sin(2 * np.pi * np.array([hz, 2 * hz, 3 * hz]) * time_N[:, None] + 1)

    stream = join_sensors(times[0], wave_N3(times[0], 1), times[1], 30 * wave_N3(times[1], 2), "f")
    fast_N = times[0] if len(times[0]) > len(times[1]) else times[1]
    inside_N = (stream.time_N > 0.5) & (stream.time_N < 9.4)
    assert np.isin(stream.time_N, fast_N).all()
    time_M = stream.time_N[inside_N]
    np.testing.assert_allclose(stream.imu_NC[inside_N, :3], wave_N3(time_M, 1), atol=0.005)
    np.testing.assert_allclose(stream.imu_NC[inside_N, 3:], 30 * wave_N3(time_M, 2), atol=0.15)
    assert "interpolated" in stream.notes[-1]


def test_resampling_keeps_slow_waves_and_removes_what_the_rate_cannot_carry() -> None:
    time_N = 2 + np.arange(250) / 50
    slow = resample(stream_of(200, 10, hz=3), 2, 5, 50)
    np.testing.assert_allclose(slow[:, 0], np.sin(2 * np.pi * 3 * time_N), atol=0.02)
    fast = resample(stream_of(200, 10, hz=45), 2, 5, 50)  # would fold to 5 Hz
    assert np.abs(fast).max() < 0.02
    up = resample(stream_of(50, 10, hz=3), 2, 5, 200)
    np.testing.assert_allclose(up[:, 0], np.sin(2 * np.pi * 3 * (2 + np.arange(1000) / 200)),
                               atol=0.05)  # fmt: skip


@pytest.mark.parametrize(("native", "rate", "hz"), [(100, 75, 48), (200, 120, 95), (50, 30, 20)])
def test_rates_of_any_ratio_hold_back_what_they_cannot_carry(
    native: float, rate: float, hz: float
) -> None:
    assert np.abs(resample(stream_of(native, 10, hz), 2, 5, rate)).max() < 0.001


@pytest.mark.parametrize(("native", "rate", "hz"), [(50, 65, 18), (50, 70, 15), (100, 130, 30)])
def test_rates_of_any_ratio_keep_what_the_stream_carries(
    native: float, rate: float, hz: float
) -> None:
    time_N = 2 + np.arange(5 * rate) / rate
    found_N = resample(stream_of(native, 10, hz), 2, 5, rate)[:, 0]
    np.testing.assert_allclose(found_N, np.sin(2 * np.pi * hz * time_N), atol=0.002)


@given(
    native=st.floats(20, 1000),
    rate=st.sampled_from([20.0, 25.0, 50.0, 100.0, 200.0]),
    seconds=st.floats(0.5, 5),
)
def test_resampled_length_and_level_for_any_rates(
    native: float, rate: float, seconds: float
) -> None:
    count = int(native * (seconds + 1)) + 2
    level = ImuStream(np.arange(count) / native, np.full((count, 6), 0.5, np.float32))
    out = resample(level, 0.0, seconds, rate)
    assert out.shape == (round(seconds * rate), 6)
    np.testing.assert_allclose(out, 0.5, atol=0.01)


def test_jitter_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    even = stream_of(100, 6, hz=2)
    time_N = even.time_N + rng.uniform(-0.002, 0.002, len(even.time_N))
    jittered = ImuStream(time_N, np.sin(2 * np.pi * 2 * time_N)[:, None].repeat(6, 1))
    np.testing.assert_allclose(resample(jittered, 1, 4, 50), resample(even, 1, 4, 50), atol=0.02)


def test_gap() -> None:
    time_N = np.concatenate([np.arange(100) / 100, 2 + np.arange(100) / 100])
    stream = ImuStream(time_N, np.ones((200, 6), np.float32))
    assert has_gap(stream, 0, 3, 0.5)
    assert not has_gap(stream, 2, 3, 0.5)
    even = ImuStream(np.arange(5.0), np.ones((5, 6), np.float32))
    assert not has_gap(even, 0, 4, 1.0)  # as long as it may be, and no longer
    assert has_gap(even, 0, 4, 0.99)


@given(start=st.floats(-0.1, 8), seconds=st.floats(0.1, 5), seed=st.integers(0, 99))
def test_a_span_is_computed_from_the_samples_around_it(
    start: float, seconds: float, seed: int
) -> None:
    """Against the same, computed from the whole stream; also at its ends."""
    rng = np.random.default_rng(seed)
    stream = ImuStream(np.arange(2000) / 50, rng.normal(size=(2000, 6)).astype(np.float32))
    whole_TC = resample(stream, start, 38, 50)
    found_TC = resample(stream, start, seconds, 50)
    np.testing.assert_allclose(found_TC, whole_TC[: len(found_TC)], atol=1e-5)
