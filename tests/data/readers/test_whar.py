"""Sessions of WHAR-Datasets, in files made as the toolkit's own source writes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError
from comodo.data.readers.whar import WharDataset, WharReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises

COLUMNS = {
    "hand.acc_x": "hand_acc_x",
    "hand.gyro_z": "hand_gyro_z",
    "chest.acc_y": "chest_acc_y",
}
UNITS = {"acc_unit": "m/s^2", "gyro_unit": "rad/s"}


def make(folder: Path, **settings: object) -> WharDataset:
    """Three sessions of 200, 150 and 50 samples at 50 Hz, cached as `cache_common_format` does."""
    (folder / "metadata").mkdir(parents=True)
    (folder / "sessions").mkdir()
    activities = {"activity_id": [0, 1], "activity_name": ["walking", "vacuum cleaning"]}
    pd.DataFrame(activities).to_csv(folder / "metadata/activity_df.csv", index=True)
    about = {"session_id": [0, 1, 2], "subject_id": [0, 0, 1], "activity_id": [1, 0, 0]}
    pd.DataFrame(about).to_csv(folder / "metadata/session_df.csv", index=True)
    parts = []
    for session, count in enumerate((200, 150, 50)):
        clock = pd.to_datetime(np.arange(count) * 20 + 10**12, unit="ms")
        signal = {"hand_heart": 60.0, "hand_acc_x": np.arange(count) * 0.01 + session}
        others = {"hand_gyro_z": 1.0 + np.arange(count) % 2, "chest_acc_y": 9.80665}
        frame = pd.DataFrame({"timestamp": clock, **signal, **others})
        frame = frame.astype({"timestamp": "datetime64[ms]", "hand_acc_x": "float32"})
        parts.append(frame.assign(session_id=session))
    table = pd.concat(parts).sort_values("session_id", kind="stable")
    table.to_parquet(folder / "sessions/sessions.parquet", index=False, engine="pyarrow")
    options = {"columns": COLUMNS, **UNITS, "split_by_group": {"folds": 2}, **settings}
    return WharDataset(kind="whar", path=str(folder), **options)


def test_sessions_are_recordings_of_one_activity(tmp_path: Path) -> None:
    settings = make(tmp_path)
    rows = WharReader(settings).recordings()
    assert [(r.id, r.group, r.label, r.video) for r in rows] == [
        ("session-000000", "subject 0", "vacuum cleaning", ""),
        ("session-000001", "subject 0", "walking", ""),
        ("session-000002", "subject 1", "walking", ""),
    ]
    assert settings.imu_channels == ("hand.acc_x", "hand.gyro_z", "chest.acc_y")


def test_columns_are_channels_of_sensors(tmp_path: Path) -> None:
    reader = WharReader(make(tmp_path))
    hand, chest = reader.read_imu(reader.recordings()[1])
    assert (hand.channels, chest.channels) == (("hand.acc_x", "hand.gyro_z"), ("chest.acc_y",))
    assert (hand.time_N[0], len(hand.time_N)) == (0, 150)
    assert hand.rate == pytest.approx(50)
    np.testing.assert_allclose(hand.imu_NC[[0, 149], 0], np.array([1, 2.49]) / 9.80665, rtol=1e-5)
    np.testing.assert_allclose(hand.imu_NC[:2, 1], np.rad2deg([1, 2]), rtol=1e-6)
    np.testing.assert_allclose(chest.imu_NC[:, 0], 1, rtol=1e-6)


def test_windows_and_rejections(tmp_path: Path) -> None:
    windows, rejected = sliced(make(tmp_path, window_seconds=1.5, channels=("chest.acc_y",)))
    assert {imu_CT.shape for imu_CT in windows.values()} == {(1, 75)}
    assert len(windows) == 4
    assert "shorter than one window" in rejected["session-000002"]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    reader = WharReader(make(tmp_path, columns={"acc_x": "no_such_column"}))
    with raises(ImuError, "imu.unreadable", "session 0", "no_such_column"):
        reader.read_imu(reader.recordings()[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"hand.acc": "a"}}, "columns: 'hand.acc' is no single axis"),
        ({"columns": {"heart": "a"}}, "'heart' is no channel"),
        ({"columns": {"acc_x": "a"}, "acc_unit": None}, "acc_unit: is required for acc_x"),
        ({"columns": {"gyro_x": "a"}, "gyro_unit": None}, "gyro_unit: is required for gyro_x"),
        ({"split_by_group": None}, "split_by_group"),
    ],
)
def test_settings_that_say_too_little(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make(tmp_path, **settings)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    reader = WharReader(make(tmp_path))
    (tmp_path / "metadata/activity_df.csv").write_text(",activity_id,activity_name\n0,0,walking\n")
    with raises(DatasetError, "dataset.bad-line", "activity_df.csv lacks the activity 1"):
        reader.recordings()
    (tmp_path / "metadata/session_df.csv").write_text("session,subject\n1,1\n")
    with raises(DatasetError, "dataset.unreadable", "session_df.csv", "session_id"):
        reader.recordings()
    (tmp_path / "sessions/sessions.parquet").unlink()
    with raises(DatasetError, "dataset.no-files", "sessions.parquet", "with metadata and sessions"):
        reader.recordings()
