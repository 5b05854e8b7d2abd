"""Streams: files, units, clocks, resampling."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comodo.config import CHANNELS
from comodo.data.imu import (
    ACC_UNITS,
    STANDARD_GRAVITY,
    ImuError,
    ImuStream,
    checked_stream,
    has_gap,
    read_csv,
    read_npy,
    resample,
    unit_by_gravity,
)
from tests.conftest import write_imu
from tests.errors import raises


def stream_of(rate: float, seconds: float, hz: float = 1.0) -> ImuStream:
    time_N = np.arange(round(rate * seconds)) / rate
    wave_N = np.sin(2 * np.pi * hz * time_N)
    return ImuStream(time_N, np.repeat(wave_N[:, None], 6, axis=1).astype(np.float32))


def write_csv(path: Path, header: str, rows: np.ndarray) -> Path:
    np.savetxt(path, rows, delimiter=",", header=header, comments="")
    return path


def test_units_of_header_and_manifest_come_out_as_g_and_degrees(tmp_path: Path) -> None:
    rows = np.array([[0, 0, 0, STANDARD_GRAVITY, np.pi, 0, 0], [20, 0, 0, 9.80665, np.pi, 0, 0]])
    units = [" [m/s^2]"] * 3 + [" (rad/s)"] * 3
    header = ",".join(["time_ms", *(c + u for c, u in zip(CHANNELS, units, strict=True))])
    in_header = read_csv(write_csv(tmp_path / "a.csv", header, rows))
    in_manifest = read_csv(
        write_csv(tmp_path / "b.csv", ",".join(["time_ms", *CHANNELS]), rows), "m/s^2", "rad/s"
    )
    for stream in (in_header, in_manifest):
        np.testing.assert_allclose(stream.imu_NC[0], [0, 0, 1, 180, 0, 0], rtol=1e-6)
        np.testing.assert_allclose(stream.time_N, [0, 0.02])


@pytest.mark.parametrize(
    ("acc", "gyro", "factors"),
    [
        ("g", "deg/s", (1, 1)),
        ("g", "dps", (1, 1)),
        ("m/s^2", "rad/s", (1 / 9.80665, 180 / np.pi)),
        ("m/s2", "dps", (1 / 9.80665, 1)),
    ],
)
def test_every_unit_has_its_factor(
    tmp_path: Path, acc: str, gyro: str, factors: tuple[float, float]
) -> None:
    rows = np.arange(1.0, 15).reshape(2, 7)
    stream = read_csv(
        write_csv(tmp_path / "a.csv", ",".join(["time_s", *CHANNELS]), rows), acc, gyro
    )
    np.testing.assert_allclose(stream.imu_NC, rows[:, 1:] * np.repeat(factors, 3), rtol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_clocks_of_every_unit_come_out_as_seconds(tmp_path: Path, unit: str, factor: float) -> None:
    rows = np.ones((3, 7))
    rows[:, 0] = np.array([0.5, 0.75, 1.25]) * factor
    header = ",".join([f"time_{unit}", *CHANNELS])
    stream = read_csv(write_csv(tmp_path / "a.csv", header, rows), "g", "dps")
    np.testing.assert_allclose(stream.time_N, [0.5, 0.75, 1.25])


@pytest.mark.parametrize("shape", [(30, 5), (30,), (6,), (2, 6, 3), ()])
def test_an_array_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    with raises(ImuError, "imu.wrong-shape", "a.npy", str(shape), "[samples, 6]"):
        read_npy(tmp_path / "a.npy", 50, "g", "deg/s")


def test_npy_in_either_layout(tmp_path: Path) -> None:
    imu_NC = np.random.default_rng(0).normal(size=(30, 6))
    for name, array in (("a", imu_NC), ("b", imu_NC.T)):
        np.save(tmp_path / f"{name}.npy", array)
        stream = read_npy(tmp_path / f"{name}.npy", 10, "g", "deg/s")
        np.testing.assert_allclose(stream.imu_NC, imu_NC, rtol=1e-6)
        assert stream.rate == pytest.approx(10)


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


@pytest.mark.parametrize(
    ("header", "code", "name"),
    [
        ("time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", "imu.missing-unit", "acc_x"),
        ("clock,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", "imu.missing-column", "time_s"),
        (
            "time_s,acc_x [g],acc_y [g],acc_z [g],gyro_x [dps],gyro_y [dps],yaw",
            "imu.missing-column",
            "gyro_z",
        ),
        (
            "time_s,acc_x [mg],acc_y [g],acc_z [g],gyro_x [dps],gyro_y [dps],gyro_z [dps]",
            "imu.unknown-unit",
            "'mg'",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, header: str, code: str, name: str) -> None:
    path = write_csv(tmp_path / "imu.csv", header, np.arange(21.0).reshape(3, 7))
    with raises(ImuError, code, "imu.csv", name):
        read_csv(path)


def test_clocks_and_samples_that_cannot_be_used() -> None:
    ones = np.ones((4, 6))
    unusable = {
        "imu.clock-backwards": (np.array([0.0, 1, 0.5, 2]), ones),
        "imu.clock-stopped": (np.zeros(4), ones),
        "imu.zero-sensor": (np.arange(4.0), ones * [1, 1, 1, 0, 0, 0]),
        "imu.too-few-samples": (np.arange(4.0), ones * np.nan),
    }
    for code, (time_N, imu_NC) in unusable.items():
        with raises(ImuError, code, "f: "):
            checked_stream(time_N, imu_NC, "f")
    kept = checked_stream(np.array([0.0, 1, 1, 2]), np.arange(24.0).reshape(4, 6), "f")
    np.testing.assert_array_equal(kept.time_N, [0, 1, 2])


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


@settings(max_examples=40)
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


@given(start=st.floats(-3, 13), seconds=st.floats(0.1, 5), seed=st.integers(0, 99))
def test_a_span_is_interpolated_from_the_samples_around_it(
    start: float, seconds: float, seed: int
) -> None:
    """At the stream's own rate, against interpolation over the whole stream; also at its ends."""
    rng = np.random.default_rng(seed)
    time_N = np.arange(500) / 50
    imu_NC = rng.normal(size=(500, 6)).astype(np.float32)
    found_TC = resample(ImuStream(time_N, imu_NC), start, seconds, 50)
    time_T = start + np.arange(round(seconds * 50)) / 50
    wanted_CT = [np.interp(time_T, time_N, channel) for channel in imu_NC.T]
    np.testing.assert_allclose(found_TC.T, wanted_CT, atol=1e-5)


def test_an_exponent_of_many_digits_does_not_end_the_process(tmp_path: Path) -> None:
    """As pandas' faster way of reading numbers does; in a process of its own, to see it."""
    path = tmp_path / "imu.csv"
    write_imu(path, 1)
    path.write_text(path.read_text().rstrip() + "e+00887753850608\n")
    program = "import sys; from comodo.data.imu import read_csv; read_csv(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=False, capture_output=True
    )
    assert done.returncode in (0, 1)  # read or refused, and no signal
