"""Names of columns: which are certain, which are accepted with a note, and which are refused."""

import pytest

from comodo.config import CHANNELS
from comodo.data.imu import ImuError
from comodo.data.tables import columns
from comodo.data.tables.presets import literal
from tests.errors import raises


def read(header: list[str], channel: str, mapping: dict[str, str] | None = None) -> tuple[str, str]:
    found, note = columns.channel_column(
        columns.columns_of(header), channel, literal(mapping or {}), "a.csv"
    )
    return (found.name if found else ""), note


@pytest.mark.parametrize(
    ("name", "channel", "noted"),
    [
        ("acc_x", "acc_x", False), ("Acc_X (g)", "acc_x", False), (" ACC_X [mg]", "acc_x", False),
        ("AccX", "acc_x", True), ("accel_x", "acc_x", True), ("ax", "acc_x", True),
        ("Accelerometer X (m/s²)", "acc_x", True), ("Acceleration x (m/s^2)", "acc_x", True),
        ("wz", "gyro_z", True), ("Gyr_Z", "gyro_z", True),
        ("rotationRateY", "gyro_y", True), ("angular velocity y (deg/s)", "gyro_y", True),
        ("left_wrist.acc_x [g]", "left_wrist.acc_x", False),
        ("left_wrist_accel_x", "left_wrist.acc_x", True),
    ],
)  # fmt: skip
def test_a_name_with_one_reading(name: str, channel: str, noted: bool) -> None:
    found, note = read(["time_s", name], channel)
    assert found == name
    assert (note != "") is noted


@pytest.mark.parametrize("name", ["gx", "x", "linear_acceleration_x", "gravity_x", "UserAccX",
                                  "FreeAcc_X", "mag_x", "right.acc_x", "acc"])  # fmt: skip
def test_a_name_with_another_reading_is_not_taken(name: str) -> None:
    assert read(["time_s", name], "acc_x")[0] == read(["time_s", name], "gyro_x")[0] == ""


def test_several_columns_of_one_channel_are_refused() -> None:
    with raises(ImuError, "imu.ambiguous-column", "'ax' and 'accel_x'", "columns: {acc_x: ax}"):
        read(["ax", "accel_x"], "acc_x")
    assert read(["acc_x", "accel_x"], "acc_x") == ("acc_x", "")
    assert read(["ax", "accel_x"], "acc_x", {"acc_x": "accel_x"}) == ("accel_x", "")
    with raises(ImuError, "imu.two-columns", "acc_x"):
        read(["acc_x [g]", "Acc_X"], "acc_x")
    with raises(ImuError, "imu.missing-column", "'z' is no column"):
        read(["ax", "accel_x"], "acc_x", {"acc_x": "z"})


def test_a_mapping_by_full_name_or_without_the_unit() -> None:
    assert read(["Raw X (g)"], "acc_x", {"acc_x": "Raw X (g)"})[0] == "Raw X (g)"
    assert read(["X+ [g]"], "acc_x", {"acc_x": "X+"})[0] == "X+ [g]"


def test_what_is_suggested_also_has_names_with_two_readings() -> None:
    found = columns.suggested(
        columns.columns_of(["t", "x", "y", "z", "gx", "gy", "gz", "temp"]), CHANNELS
    )
    assert found == dict(zip(CHANNELS, ["x", "y", "z", "gx", "gy", "gz"], strict=True))
    assert columns.mapping_text({"acc_x": "a: b"}) == "columns: {acc_x: 'a: b'}"
