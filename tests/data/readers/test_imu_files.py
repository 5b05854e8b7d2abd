"""Recordings of several files: sensors, clocks, units and layouts of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError, ImuStream
from comodo.data.readers import imu_files
from comodo.data.readers.folder import FolderDataset, FolderReader, layout_of
from comodo.data.recordings import DatasetError
from comodo.data.slicing import slice_chunk
from tests.errors import raises

CHANNELS = ("head.acc", "left_wrist.acc", "left_wrist.gyro")


def write(path: Path, header: str, rows: np.ndarray) -> None:
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.6f")


@pytest.fixture
def two_sensors(tmp_path: Path) -> Path:
    """A head's accelerometer at 50 Hz in m/s^2, and a wrist's IMU at 100 Hz in g whose clock is
    1.2 s behind, in names of their own."""
    time_N, time_M = np.arange(500) / 50, np.arange(1000) / 100
    waves = [np.sin(2 * np.pi * hz * time_N + 0.5) for hz in (0.5, 1.0, 1.5)]
    write(tmp_path / "head.csv", "time_s,ax,ay,az", np.stack([time_N, *waves], 1) * [1, *[9.8] * 3])
    wrist = [np.cos(2 * np.pi * hz * (time_M + 1.2)) for hz in (0.5, 1.0, 1.5, 0.4, 0.8, 1.2)]
    names = "time_s,acc_x,acc_y,acc_z,gyro_x [dps],gyro_y [dps],gyro_z [dps]"
    write(tmp_path / "lw.csv", names, np.stack([time_M, *wrist], 1))
    (tmp_path / "m.csv").write_text(
        "imu,split,acc_unit,imu_offset\n"
        "head=head.csv;left_wrist=lw.csv,test,head=m/s^2;left_wrist=g,head=0;left_wrist=1.2\n"
    )
    return tmp_path / "m.csv"


def dataset(path: Path, **keys: Any) -> FolderDataset:
    return FolderDataset(kind="folder", path=str(path), **keys)


def read(path: Path, **keys: Any) -> tuple[ImuStream, ...]:
    reader = FolderReader(dataset(path, **keys))
    return reader.read_imu(reader.recordings()[0])


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"columns": {"accx": "a"}}, ["'accx' names no column", "left_wrist.gyro_z"]),
        ({"columns": {"acc_x": " "}}, ["acc_x", "leave it out"]),
        ({"columns": {}}, ["columns"]),
        ({"preset": "garmin"}, ["preset"]),
        ({"time_unit": "minutes"}, ["time_unit"]),
        ({"acc_unit": {"Left Wrist": "g"}}, ["acc_unit"]),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, keys: dict[str, Any], names: list[str]
) -> None:
    (tmp_path / "m.csv").touch()
    with pytest.raises(ValidationError) as caught:
        dataset(tmp_path / "m.csv", **keys)
    assert all(name in str(caught.value) for name in names)


def test_settings_of_one_sensor_or_of_all(tmp_path: Path) -> None:
    (tmp_path / "m.csv").touch()
    columns = {
        "left_wrist.time": "t",
        "head.gyro_z": "wz",
        "acc_x": "ax",
        "sensor": "kind",
        "x": "X",
    }
    found = dataset(tmp_path / "m.csv", columns=columns, preset={"head": "shimmer"}, time_unit="ms")
    assert found.columns == columns
    assert found.preset == {"head": "shimmer"}


def test_each_sensor_has_its_own_clock_units_and_names(two_sensors: Path) -> None:
    head, wrist = read(two_sensors, channels=CHANNELS)
    assert head.channels == ("head.acc_x", "head.acc_y", "head.acc_z")
    assert wrist.channels[0] == "left_wrist.acc_x" and len(wrist.channels) == 6
    assert (head.time_N[0], wrist.time_N[0]) == (0, pytest.approx(1.2))
    np.testing.assert_allclose(wrist.imu_NC[:, 0], np.cos(np.pi * wrist.time_N), atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        head.imu_NC[:, 0] * 9.80665 / 9.8, np.sin(np.pi * head.time_N + 0.5), atol=1e-5, rtol=0
    )


def test_windows_have_both_sensors_at_the_same_times(two_sensors: Path) -> None:
    settings = dataset(two_sensors, channels=CHANNELS, window_seconds=2, imu_rate=50)
    reader = FolderReader(settings)
    ((rows, about),) = slice_chunk(reader, reader.recordings(), settings, Path("."))
    assert about.get("rejected") is None and len(rows) == 4  # 1.2 s to 10 s
    imu_CT = np.array(rows[1]["imu"]).reshape(9, -1)
    time_T = rows[1]["start"] + np.arange(100) / 50
    np.testing.assert_allclose(imu_CT[0] * 1.00068, np.sin(np.pi * time_T + 0.5), atol=0.01)
    np.testing.assert_allclose(imu_CT[3], np.cos(np.pi * time_T), atol=0.01)


def test_the_file_of_a_sensor_that_is_not_listed_is_not_read(two_sensors: Path) -> None:
    (two_sensors.parent / "head.csv").write_text("no table")
    (wrist,) = read(two_sensors, channels=("left_wrist.acc",))
    assert wrist.channels == ("left_wrist.acc_x", "left_wrist.acc_y", "left_wrist.acc_z")


def test_columns_of_named_sensors_in_one_file(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    rows[:, 0] = np.arange(50) / 50
    write(tmp_path / "a.csv", "time_s,left_wrist.acc_x [g],head.acc_x [g],head.gyro_z [dps]", rows)
    (tmp_path / "m.csv").write_text("imu,split\na.csv,test\n")
    streams = read(tmp_path / "m.csv", channels=("head.acc_x", "head.gyro_z", "left_wrist.acc_x"))
    found = {name: s.values(q)[:, 0] for s in streams for q, name in [("acc", s.channels[0])]}
    np.testing.assert_allclose(found["left_wrist.acc_x"], rows[:, 1], atol=1e-5)
    np.testing.assert_allclose(found["head.acc_x"], rows[:, 2], atol=1e-5)


def test_accelerometer_and_gyroscope_in_files_of_their_own(tmp_path: Path) -> None:
    """As phones' apps write them, with columns x, y, z."""
    time_N, time_M = np.arange(500) / 50, 0.003 + np.arange(1000) / 100
    for name, times, hz in (("acc", time_N, 1.0), ("gyro", time_M, 2.0)):
        wave_N = np.sin(2 * np.pi * hz * times)
        columns = [10**9 * times, times, wave_N, 2 * wave_N, 3 * wave_N]
        write(tmp_path / f"{name}.csv", "time,seconds_elapsed,z,y,x", np.stack(columns, 1))
    (tmp_path / "m.csv").write_text("imu,split\nacc=acc.csv;gyro=gyro.csv,test\n")
    (stream,) = read(tmp_path / "m.csv", preset="sensor-logger")
    assert len(stream.channels) == 6 and stream.rate == pytest.approx(100, rel=1e-3)
    inside = slice(50, -50)
    at = stream.time_N[inside]
    found = stream.imu_NC[inside]
    np.testing.assert_allclose(found[:, 0] * 9.80665, 3 * np.sin(2 * np.pi * at), atol=0.02)
    np.testing.assert_allclose(np.deg2rad(found[:, 5]), np.sin(4 * np.pi * at), atol=1e-3)


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ("head=a.csv;head=b.csv,", ["names a sensor twice"]),
        ("head=a.csv;b.csv,", ["write NAME=VALUE"]),
        ("hip=a.csv;knee=b.csv,", ["hip, knee", "channels: [hip.acc, hip.gyro, knee.acc"]),
        ("head=a.csv;left_wrist=b.csv,foot=1", ["imu_offset of 'foot'", "head, left_wrist"]),
        ("head=a.csv;left_wrist=b.csv,head=soon", ["imu_offset of head 'soon'"]),
        ("head=a.csv;left_wrist=../b.csv,", ["leads out"]),
    ],
)
def test_wrong_cells_are_refused_with_their_row(
    tmp_path: Path, cells: str, names: list[str]
) -> None:
    (tmp_path / "m.csv").write_text(f"imu,imu_offset,split\n{cells},test\n")
    with raises(DatasetError, "dataset.bad-row", "m.csv", "row 2", *names):
        FolderReader(dataset(tmp_path / "m.csv", channels=CHANNELS)).recordings()


def test_a_path_with_an_equals_sign_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "subject=1").mkdir()
    (tmp_path / "m.csv").write_text("imu,split\nsubject=1/a.csv,test\n")
    (found,) = FolderReader(dataset(tmp_path / "m.csv")).recordings()
    assert found.imu == str(tmp_path / "subject=1/a.csv") and not found.sensors


def test_a_clock_of_the_day_next_to_a_video_needs_an_offset(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    rows = np.random.default_rng(0).normal(size=(50, 4))
    rows[:, 0] = 1_711_846_770.25 + np.arange(50) / 50
    write(tmp_path / "a.csv", "time_s,acc_x [g],acc_y [g],acc_z [g]", rows)
    for offset, video in (("", ""), ("-1711846770.25", "v/a.mp4")):
        (tmp_path / "m.csv").write_text(
            f"imu,video,imu_offset,split\na.csv,{video},{offset},test\n"
        )
        assert read(tmp_path / "m.csv", channels=("acc",))
    (tmp_path / "m.csv").write_text("imu,video,split\na.csv,v/a.mp4,test\n")
    with raises(ImuError, "imu.wall-clock", "2024-03-31 00:59:30.250", "-1711846770.250"):
        read(tmp_path / "m.csv", channels=("acc",))


def test_what_a_row_says_is_before_the_data_set_and_that_before_the_preset(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("imu,split,acc_unit\na.csv,test,mg\n")
    settings = dataset(
        tmp_path / "m.csv", preset="xsens-dot", acc_unit="g",
        columns={"acc_x": "AX", "head.time": "T"},
    )  # fmt: skip
    (recording,) = FolderReader(settings).recordings()
    layout = layout_of(recording, settings)
    assert (layout.acc_unit, layout.time_unit) == ("mg", "us")
    assert (layout.columns["acc_x"], layout.columns["acc_y"]) == ("AX", "Acc_Y")
    assert layout_of(recording, settings, "head").columns["time"] == "T"


def test_files_that_are_not_read_say_how_to_convert_them(tmp_path: Path) -> None:
    for suffix, fix in imu_files.CONVERT.items():
        (tmp_path / f"a{suffix}").touch()
        (tmp_path / "m.csv").write_text(f"imu,split\na{suffix},test\n")
        with raises(ImuError, "imu.unreadable", f"a{suffix}", fix):
            read(tmp_path / "m.csv")


def test_keys_of_windows_without_the_new_fields_are_as_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "m.csv").write_text("imu,split\na.csv,test\n")
    settings = dataset(tmp_path / "m.csv")
    (recording,) = FolderReader(settings).recordings()
    assert not {"sensors", "time_unit"} & set(recording.for_key())
    assert not {"columns", "preset", "time_unit", "acc_unit", "gyro_unit"} & set(settings.for_key())
    other = dataset(tmp_path / "m.csv", columns={"acc_x": "ax"})
    assert settings.for_key() != other.for_key()


def test_a_real_video_camera_imu_and_a_second_sensor(shared_data: Path, tmp_path: Path) -> None:
    """The camera phone's accelerometer and an IMU shaken in its picture, clocks 51 years apart."""
    for name in ("imu_synchronization_LF", "imu_synchronization_camera_imu"):
        (tmp_path / f"{name}.csv.gz").symlink_to(shared_data / f"sevivi/{name}.csv.gz")
    camera, shaken = "imu_synchronization_camera_imu.csv.gz", "imu_synchronization_LF.csv.gz"
    (tmp_path / "m.csv").write_text(
        "imu,split,acc_unit,imu_offset\n"
        f"camera={camera};foot={shaken},test,camera=m/s^2;foot=g,"
        "camera=-159538.629079887;foot=-1634808058.216642589\n"
    )
    settings = dataset(
        tmp_path / "m.csv", root="/", channels=("camera.acc", "foot.acc", "foot.gyro"),
        gyro_unit="deg/s", columns={"camera.time": "Unnamed: 0"}, imu_rate=50,
    )  # fmt: skip
    reader = FolderReader(settings)
    streams = reader.read_imu(reader.recordings()[0])
    assert [round(s.rate, 1) for s in streams] == [105.8, 64.0]
    assert all(abs(s.time_N[0]) < 1e-3 for s in streams)
    for stream in streams:
        median = np.median(np.linalg.norm(stream.values("acc"), axis=1))
        assert median == pytest.approx(1, abs=0.05)
