"""comodo inspect --file: what it prints is pasted into a sweep file, and prepare reads the file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from comodo.data.imu import ImuError
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.slicing import slice_chunk
from comodo.report.quality.file_view import view_file
from tests.errors import raises
from tests.paths import ROOT, SHARED

FOREIGN = SHARED / "faults/foreign"
SWEEP = """name: pasted
{pasted}
trial: {{dataset: mine, teacher: efficientnet-lite0, student: mantis-8m,
  method: {{name: comodo, queue_size: 4}}}}
"""


def pasted(file: Path, folder: Path) -> dict[str, object]:
    """The data set that inspect prints, with a manifest of the file alone."""
    (folder / "manifest.csv").write_text(f"imu,split\n{file.name},test\n")
    keys = yaml.safe_load(view_file(file).data_set)["datasets"]["mine"]
    return {**keys, "path": str(folder / "manifest.csv")}


@pytest.mark.parametrize(
    "name",
    ["accel_names", "timestamp_col", "Time_capital", "iso", "semicolon", "tabsep", "decimal_comma",
     "unit_mg", "unit_mps2", "unit_row", "comment_lines", "spaces_header", "upper_header",
     "six_cols_only_acc", "zero_gyro", "shimmer", "xsens_dot", "e4_ACC", "android_events",
     "sensorlogger_merged"],
)  # fmt: skip
def test_what_is_printed_makes_windows(tmp_path: Path, name: str) -> None:
    if not FOREIGN.is_dir():
        pytest.skip(f"needs {FOREIGN}")
    file = tmp_path / f"{name}.csv"
    file.write_bytes((FOREIGN / file.name).read_bytes())
    settings = FolderDataset(**pasted(file, tmp_path), window_seconds=2, imu_rate=50)
    windows, rejected = rows_of(settings)
    assert rejected == {} and windows >= 7


def rows_of(settings: FolderDataset) -> tuple[int, dict[str, str]]:
    reader = FolderReader(settings)
    rows = [r for rows, _ in slice_chunk(reader, reader.recordings(), settings, Path("."))
            for r in rows]  # fmt: skip
    return (
        sum("window" in row for row in rows),
        {row["recording"]: row["rejected"] for row in rows if "rejected" in row},
    )


def write(path: Path, header: str, count: int = 6) -> Path:
    rows = np.column_stack(
        [np.arange(200) / 50, np.random.default_rng(0).normal(0, 0.1, (200, count))]
    )
    rows[:, 3] += 9.81
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.5f")
    return path


def test_a_unit_that_gravity_shows_is_suggested_and_one_that_nothing_shows_is_asked_for(
    tmp_path: Path,
) -> None:
    view = view_file(write(tmp_path / "a.csv", "timestamp,ax,ay,az,gx,gy,gz"))
    keys = yaml.safe_load(view.data_set)["datasets"]["mine"]
    assert keys["acc_unit"] == "m/s^2" and "gyro_unit" not in keys
    assert keys["columns"]["gyro_x"] == "gx"
    assert "gyro_unit: write deg/s or rad/s" in view.data_set
    assert any("not read yet" in fact for fact in view.facts)
    settings = FolderDataset(**pasted(tmp_path / "a.csv", tmp_path))
    reader = FolderReader(settings)
    with raises(ImuError, "imu.missing-unit", "gyro_unit"):
        reader.read_imu(reader.recordings()[0])


def test_codes_of_a_converter_are_noted_and_get_no_unit(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(25, 50, (200, 3))
    text = "".join(f"{i / 50} {x} {y} {z}\n" for i, (x, y, z) in enumerate(rows))
    (tmp_path / "b.csv").write_text(f"time_s acc_x acc_y acc_z\n{text}")
    view = view_file(tmp_path / "b.csv")
    keys = yaml.safe_load(view.data_set)["datasets"]["mine"]
    assert keys["channels"] == ["acc"] and "acc_unit" not in keys
    assert "separated by blanks" in view.text() and "codes of a converter" in view.data_set
    settings = FolderDataset(**pasted(tmp_path / "b.csv", tmp_path), acc_unit="mg")
    reader = FolderReader(settings)
    (stream,) = reader.read_imu(reader.recordings()[0])
    assert any("codes of a converter" in note for note in stream.notes)


def test_a_clock_that_does_not_start_with_a_video(tmp_path: Path) -> None:
    header = "time_s,acc_x [g],acc_y [g],acc_z [g]"
    assert "imu_offset" not in view_file(write(tmp_path / "a.csv", header, 3)).data_set
    rows = "".join(f"{4294 + i / 50},0.1,0.2,{1 + i % 3}\n" for i in range(100))
    (tmp_path / "b.csv").write_text(f"{header}\n{rows}")
    view = view_file(tmp_path / "b.csv")
    assert "starts at 4294.000 s; in the manifest, imu_offset: -4294.000" in view.data_set


def test_the_units_that_a_preset_takes_are_shown(tmp_path: Path) -> None:
    header = "SampleTimeFine,Acc_X,Acc_Y,Acc_Z,Gyr_X,Gyr_Y,Gyr_Z"
    view = view_file(write(tmp_path / "a.csv", header))
    assert any("time in us, acc in m/s^2, gyro in deg/s" in fact for fact in view.facts)


def test_columns_of_sensors_become_channels(tmp_path: Path) -> None:
    names = [f"left_wrist.acc_{axis} [m/s^2]" for axis in "xyz"]
    view = view_file(write(tmp_path / "a.csv", ",".join(["time_s", *names, "hip.gyro_x [dps]"]), 4))
    keys = yaml.safe_load(view.data_set)["datasets"]["mine"]
    assert keys["channels"] == ["left_wrist.acc", "hip.gyro_x"]


def test_gravity_that_was_removed_is_told(tmp_path: Path) -> None:
    header = "time_s," + ",".join(f"acc_{axis} [g]" for axis in "xyz")
    view = view_file(write(tmp_path / "a.csv", header, 3))
    assert any("1 g is usual" in fact for fact in view.facts)


@pytest.mark.slow
def test_the_command_and_prepare_of_what_it_printed(tmp_path: Path) -> None:
    file = write(tmp_path / "a b.csv", "Time,Accelerometer X,Accelerometer Y,Accelerometer Z", 3)

    def comodo(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "comodo", *arguments], cwd=tmp_path, text=True,
            capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    printed = comodo("inspect", "--file", file.name).split("For the sweep file:")[1]
    (tmp_path / "manifest.csv").write_text("imu,label,split\na b.csv,walk,train\n")
    (tmp_path / "s.yaml").write_text(SWEEP.format(pasted=printed.strip("\n")))
    comodo("prepare", "s.yaml", "--store", str(tmp_path / "store"), "--set",
           "datasets.mine.window_seconds=1")  # fmt: skip
    assert "4" in comodo("inspect", "mine", "--store", str(tmp_path / "store"), "--offsets", "0")
