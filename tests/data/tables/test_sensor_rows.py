"""Logs with one sensor a row: refused until the mapping names it, never read as one sensor."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from comodo.config import CHANNELS
from comodo.data.imu import ImuError
from comodo.data.imu_tables import read_csv
from comodo.data.tables.presets import Layout, literal
from comodo.report.quality.file_view import view_file
from tests.errors import raises

ACC = ("acc_x", "acc_y", "acc_z")
PLAIN = {"acc_x": "x", "acc_y": "y", "acc_z": "z"}


def log(path: Path, column: str, kinds: tuple[str, ...]) -> Path:
    """A log of accelerometer rows at 50 Hz, and of rows of other sensors 4 ms after each."""
    lines = [f"time_ms,{column},x,y,z"]
    for i in range(200):
        lines.append(f"{20 * i},{kinds[0]},{np.sin(i / 9):.4f},0.5,9.8")
        lines += [f"{20 * i + 4 * n},{kind},5,7,9" for n, kind in enumerate(kinds[1:], start=1)]
    path.write_text("\n".join(lines) + "\n")
    return path


def layout(columns: dict[str, str]) -> Layout:
    return Layout(literal(columns), acc_unit="m/s^2", gyro_unit="rad/s")


@pytest.mark.parametrize(
    ("column", "kinds", "acc"),
    [
        ("sensor", ("ACC", "GYRO"), "ACC"),
        ("what", ("android.sensor.accelerometer", "android.sensor.gyroscope"),
         "android.sensor.accelerometer"),
        ("type", ("Accelerometer", "LinearAcceleration", "Magnetometer"), "Accelerometer"),
        ("sensor_type", ("1", "4"), "NAME"),
        ("sensorName", ("left", "right"), "NAME"),
    ],
)  # fmt: skip
def test_explicit_columns_are_refused_with_the_mapping_to_write(
    tmp_path: Path, column: str, kinds: tuple[str, ...], acc: str
) -> None:
    path = log(tmp_path / "a.csv", column, kinds)
    for columns in (PLAIN, {"time": "time_ms", **PLAIN}):
        with raises(ImuError, "imu.mixed-rows", f"column '{column}'", kinds[1]) as caught:
            read_csv(path, ACC, layout(columns))
    written = re.search(r"columns: (\{.*?\})", str(caught.value))
    assert written is not None
    mapping = yaml.safe_load(written[1])
    assert mapping["acc"] == acc and mapping["sensor"] == column
    (stream,) = read_csv(path, ACC, layout({**mapping, "acc": kinds[0]}))
    assert stream.rate == pytest.approx(50, rel=0.01)
    np.testing.assert_allclose(stream.values("acc")[:, 1], 0.5 / 9.80665, rtol=1e-6)


def test_acceleration_and_rotation_from_the_same_columns_are_refused(tmp_path: Path) -> None:
    path = log(tmp_path / "a.csv", "sensor", ("ACC", "GYRO"))
    both = {**PLAIN, "gyro_x": "x", "gyro_y": "y", "gyro_z": "z"}
    with raises(ImuError, "imu.mixed-rows", "acc: ACC", "gyro: GYRO"):
        read_csv(path, CHANNELS, layout(both))


@pytest.mark.parametrize(
    ("column", "kinds"),
    [("sensor", ("ACC",)), ("activity", ("walking", "accelerating", "racing")), ("step", "12")],
)
def test_other_text_is_no_sensor(tmp_path: Path, column: str, kinds: tuple[str, ...]) -> None:
    path = log(tmp_path / "a.csv", column, kinds)
    (stream,) = read_csv(path, ACC, layout(PLAIN))
    assert len(stream.time_N) == 200 * len(kinds)


def test_inspect_suggests_the_mapping_with_which_the_rows_are_read(tmp_path: Path) -> None:
    """It suggested `acc_x: x`."""
    view = view_file(log(tmp_path / "a.csv", "sensor", ("ACC", "GYRO")))
    keys = yaml.safe_load(view.data_set)["datasets"]["mine"]
    x, y, z = "xyz"
    assert keys["columns"] == {
        "time": "time_ms", "sensor": "sensor", "acc": "ACC", "gyro": "GYRO", x: x, "y": y, z: z
    }  # fmt: skip
    assert any("imu.mixed" not in fact and "acc_unit" in fact for fact in view.facts)
