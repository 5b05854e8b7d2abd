"""Streams: files, units, clocks, resampling."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import CHANNELS
from comodo.data import imu_tables
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
from comodo.data.imu_tables import read_npy
from tests.conftest import write_imu
from tests.errors import raises


def stream_of(rate: float, seconds: float, hz: float = 1.0) -> ImuStream:
    time_N = np.arange(round(rate * seconds)) / rate
    wave_N = np.sin(2 * np.pi * hz * time_N)
    return ImuStream(time_N, np.repeat(wave_N[:, None], 6, axis=1).astype(np.float32))


def read_csv(path: Path, *units: str) -> ImuStream:
    """The stream of a table of one sensor."""
    (stream,) = imu_tables.read_csv(path, CHANNELS, *units)
    return stream


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
        write_csv(tmp_path / "a.csv", ",".join(["time_ms", *CHANNELS]), rows), acc, gyro
    )
    np.testing.assert_allclose(stream.imu_NC, rows[:, 1:] * np.repeat(factors, 3), rtol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_clocks_of_every_unit_come_out_as_seconds(tmp_path: Path, unit: str, factor: float) -> None:
    rows = np.ones((3, 7))
    rows[:, 0] = np.array([0.5, 0.55, 0.65]) * factor
    header = ",".join([f"time_{unit}", *CHANNELS])
    stream = read_csv(write_csv(tmp_path / "a.csv", header, rows), "g", "dps")
    np.testing.assert_allclose(stream.time_N, [0.5, 0.55, 0.65])


@pytest.mark.parametrize("shape", [(30, 5), (30,), (6,), (2, 6, 3), ()])
def test_an_array_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    with raises(ImuError, "imu.wrong-shape", "a.npy", str(shape), "[samples, 6]"):
        read_npy(tmp_path / "a.npy", CHANNELS, 50, "g", "deg/s")


def test_npy_in_either_layout(tmp_path: Path) -> None:
    imu_NC = np.random.default_rng(0).normal(size=(30, 6))
    for name, array in (("a", imu_NC), ("b", imu_NC.T)):
        np.save(tmp_path / f"{name}.npy", array)
        stream = read_npy(tmp_path / f"{name}.npy", CHANNELS, 10, "g", "deg/s")
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
        ("time_s,ax,ay,az,gx,gy,gz", "imu.missing-column", "acc_x"),
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


SWING = np.column_stack([np.arange(40) / 50, np.random.default_rng(0).normal(size=(40, 6))])
HEADER = ",".join(["time_s", *(f"{c} [g]" if c[0] == "a" else f"{c} [dps]" for c in CHANNELS)])


def test_rows_with_another_number_of_cells_than_the_header(tmp_path: Path) -> None:
    path, rows = tmp_path / "imu.csv", [",".join(map(str, row)) for row in SWING]
    for end in ("", ",", "\r"):  # a comma after the last cell is no column
        path.write_text("\n".join([HEADER, *(row + end for row in rows)]))
        np.testing.assert_allclose(read_csv(path).imu_NC, SWING[:, 1:], rtol=1e-6)
    path.write_text("\n".join([f"{HEADER},{HEADER.split(',')[1]}", *(f"{row},1" for row in rows)]))
    with raises(ImuError, "imu.two-columns", "acc_x"):
        read_csv(path)
    path.write_text("\n".join([HEADER, *(f"{row},31.5" for row in rows)]))
    with raises(ImuError, "imu.unreadable", "more cells than the header"):
        read_csv(path)
    path.write_text("\n".join([HEADER, *rows[:20], f"{rows[20]},31.5", *rows[21:]]))
    with raises(ImuError, "imu.unreadable", "line 22"):
        read_csv(path)
    path.write_text("\n".join([HEADER, *rows[:20], rows[20].rpartition(",")[0], *rows[21:]]))
    assert read_csv(path).notes == ("1 of 40 rows lack a time or a value and are left out",)


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


def test_a_log_with_rows_for_each_sensor(tmp_path: Path) -> None:
    time_N = np.arange(500) / 100
    acc = [f"{t},{np.sin(t)},0.1,1,,," for t in time_N]
    gyro = [f"{t + 0.002},,,,{np.cos(t + 0.002)},20,3" for t in time_N]
    path = tmp_path / "imu.csv"
    path.write_text(
        "\n".join([HEADER, *(row for pair in zip(acc, gyro, strict=True) for row in pair)])
    )
    stream = read_csv(path)
    assert 498 <= len(stream.time_N) <= 500
    np.testing.assert_allclose(stream.imu_NC[:, 0], np.sin(stream.time_N), atol=1e-3)
    np.testing.assert_allclose(stream.imu_NC[:, 3], np.cos(stream.time_N), atol=1e-3)


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


def test_an_exponent_of_many_digits_does_not_end_the_process(tmp_path: Path) -> None:
    """As pandas' faster way of reading numbers does; in a process of its own, to see it."""
    path = tmp_path / "imu.csv"
    write_imu(path, 1)
    path.write_text(path.read_text().rstrip() + "e+00887753850608\n")
    program = "import sys; from comodo.data.imu_tables import read_csv; "
    program += "read_csv(sys.argv[1], ('acc_x',))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=False, capture_output=True
    )
    assert done.returncode in (0, 1)  # read or refused, and no signal
