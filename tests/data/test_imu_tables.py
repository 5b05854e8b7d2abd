"""CSV files and arrays, from a path to streams: header, units, clocks, rows."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from comodo.config import CHANNELS
from comodo.data import imu_tables
from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream
from comodo.data.imu_tables import read_npy
from comodo.data.tables.presets import Layout, literal
from tests.conftest import write_imu
from tests.errors import raises
from tests.paths import SHARED

TEN_HZ = Layout(rate=10, acc_unit="g", gyro_unit="deg/s")


def read_csv(path: Path, acc_unit: str = "", gyro_unit: str = "") -> ImuStream:
    """The stream of a table of one sensor."""
    layout = Layout(acc_unit=acc_unit, gyro_unit=gyro_unit)
    (stream,) = imu_tables.read_csv(path, CHANNELS, layout)
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
        read_npy(tmp_path / "a.npy", CHANNELS, TEN_HZ)


def test_npy_in_either_layout(tmp_path: Path) -> None:
    imu_NC = np.random.default_rng(0).normal(size=(30, 6))
    for name, array in (("a", imu_NC), ("b", imu_NC.T)):
        np.save(tmp_path / f"{name}.npy", array)
        stream = read_npy(tmp_path / f"{name}.npy", CHANNELS, TEN_HZ)
        np.testing.assert_allclose(stream.imu_NC, imu_NC, rtol=1e-6)
        assert stream.rate == pytest.approx(10)


@pytest.mark.parametrize(
    ("header", "code", "name"),
    [
        ("time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", "imu.missing-unit", "acc_x"),
        ("moment,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", "imu.missing-column", "time_s"),
        (
            "time_s,acc_x [kg],acc_y [g],acc_z [g],gyro_x [dps],gyro_y [dps],gyro_z [dps]",
            "imu.unknown-unit",
            "'kg'",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, header: str, code: str, name: str) -> None:
    path = write_csv(tmp_path / "imu.csv", header, np.arange(21.0).reshape(3, 7))
    with raises(ImuError, code, "imu.csv", name):
        read_csv(path)


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
    with raises(ImuError, "imu.unreadable", "line 22: 8 cells, the header has 7"):
        read_csv(path)
    path.write_text("\n".join([HEADER, *rows[:20], rows[20].rpartition(",")[0], *rows[21:]]))
    assert read_csv(path).notes == ("1 of 40 rows lack a time or a value and are left out",)


def test_the_mapping_of_a_log_with_a_sensor_in_each_row_is_suggested(tmp_path: Path) -> None:
    """It was `acc_x: x`, with which rows of the gyroscope would have been read as acceleration."""
    path, lines = tmp_path / "imu.csv", ["time_ms,sensor,x,y,z"]
    for i in range(100):
        lines.append(f"{20 * i},TYPE_ACCELEROMETER,{np.sin(i / 9)},0.5,9.8")
        lines.append(f"{20 * i + 3},TYPE_GYROSCOPE,{np.cos(i / 9)},0.2,0.3")
    path.write_text("\n".join(lines))
    with raises(ImuError, "imu.missing-column", "columns: {") as caught:
        read_csv(path, "m/s^2", "rad/s")
    written = re.search(r"columns: (\{.*?\})", str(caught.value))
    assert written is not None
    layout = Layout(literal(yaml.safe_load(written[1])), acc_unit="m/s^2", gyro_unit="rad/s")
    (stream,) = imu_tables.read_csv(path, CHANNELS, layout)
    assert stream.rate == pytest.approx(50, rel=0.01)
    assert np.median(stream.values("acc")[:, 2]) == pytest.approx(1, abs=0.01)


def test_a_file_without_times_says_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "imu.csv"
    path.write_text("".join(f"{i},{i % 7},9\n" for i in range(60)))
    fix = "columns: {time: NAME, acc_x: NAME}, or imu_rate in the manifest if it has no times"
    with raises(ImuError, "imu.missing-column", "it has 1, 2, 3", fix):
        read_csv(path)


def test_rows_without_a_complete_one_say_what_is_empty(tmp_path: Path) -> None:
    path, header = tmp_path / "imu.csv", ",".join(["time_s", *CHANNELS])
    path.write_text("\n".join([header, *(f"{i / 50},0.1,{i},1,,," for i in range(60))]))
    with raises(ImuError, "imu.too-few-samples", "none of 60 rows has gyro_x, gyro_y, gyro_z"):
        read_csv(path, "g", "dps")
    one_each = ["0.1,,,,,", ",0.2,,,,", ",,1,,,", ",,,1,,", ",,,,2,", ",,,,,3"]
    path.write_text("\n".join([header, *(f"{i / 50},{one_each[i % 6]}" for i in range(60))]))
    with raises(ImuError, "imu.too-few-samples", "of 60 rows: acc_x in 10, ", "in one row"):
        read_csv(path, "g", "dps")


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


@pytest.fixture
def foreign() -> Path:
    folder = SHARED / "faults/foreign"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("accel_names", ["acc_x from 'accel_x [m/s^2]'"]),
        ("timestamp_col", ["the column 'timestamp'", "is read in s, 100 samples/s"]),
        ("Time_capital", ["the column 'Time'", "is read in s, 100 samples/s"]),
        ("iso", ["the column 'timestamp'", "without a time zone are read as UTC"]),
        *((name, []) for name in ("semicolon", "tabsep", "decimal_comma", "unit_mg", "unit_mps2",
                                  "unit_row", "comment_lines", "spaces_header", "upper_header")),
    ],
)  # fmt: skip
def test_one_recording_in_other_forms(foreign: Path, name: str, notes: list[str]) -> None:
    good, found = read_csv(foreign / "good.csv"), read_csv(foreign / f"{name}.csv")
    np.testing.assert_allclose(found.imu_NC, good.imu_NC, atol=2e-6)
    np.testing.assert_allclose(found.time_N - found.time_N[0], good.time_N, atol=1e-6)
    assert len(found.notes) == len(notes)
    for note, wanted in zip(found.notes, notes, strict=True):
        assert wanted in note


def test_an_accelerometer_alone_has_three_channels(foreign: Path) -> None:
    found, good = read_csv(foreign / "six_cols_only_acc.csv"), read_csv(foreign / "good.csv")
    assert found.channels == CHANNELS[:3]
    np.testing.assert_array_equal(found.imu_NC, good.values("acc"))


def test_counts_of_an_actigraph_are_no_samples(foreign: Path) -> None:
    with raises(ImuError, "imu.counts", "ActiGraph13"):
        read_csv(foreign / "ActiGraph13_timestamps_headers.csv")
