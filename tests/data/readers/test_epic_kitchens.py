"""EPIC-KITCHENS-100, in files made with the headers of its documented layout."""

from pathlib import Path

import numpy as np
import pytest

from comodo.data.imu import ImuError
from comodo.data.readers.epic_kitchens import (
    EpicKitchensDataset,
    EpicKitchensReader,
    without_overlaps,
)
from comodo.data.recordings import DatasetError
from tests.errors import raises

ACTIONS = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
VERBS = "id,key,instances,category\n0,take,\"['take', 'get']\",retrieve\n1,put,\"['put']\",leave\n"


def action(video: str, start: str, stop: str, verb: int) -> str:
    words = f"00:00:00.000,{start},{stop},1,2,take pan,take,{verb},pan,5,\"['pan']\",[5]\n"
    return f"{video}_0,{video[:3]},{video},{words}"


def make(folder: Path, **settings: object) -> EpicKitchensDataset:
    """A video of the extension in each list, and one of the first edition."""
    train = [
        action("P01_101", "00:00:01.00", "00:00:04.00", 0),
        action("P01_101", "00:00:03.00", "00:00:05.50", 1),
        action("P01_01", "00:00:01.00", "00:00:02.00", 0),
    ]
    (folder / "EPIC_100_train.csv").write_text(ACTIONS + "".join(train))
    test = action("P02_133", "01:01:01.50", "01:01:02.00", 1)
    (folder / "EPIC_100_validation.csv").write_text(ACTIONS + test)
    (folder / "EPIC_100_verb_classes.csv").write_text(VERBS)
    (folder / "P01/meta_data").mkdir(parents=True)
    write_sensor(folder / "P01/meta_data/P01_101-accl.csv", "Accl", 200, 9.80665)
    write_sensor(folder / "P01/meta_data/P01_101-gyro.csv", "Gyro", 400, 1.0)
    options = {"path": str(folder), "annotations": str(folder), **settings}
    return EpicKitchensDataset(kind="epic-kitchens", **options)


def write_sensor(file: Path, name: str, rate: int, value: float) -> None:
    """6 s of a wave in x and a constant in y; the clock starts at 1 s."""
    time_N = np.arange(6 * rate) / rate
    x_N = 0.1 * np.sin(2 * np.pi * time_N)
    rows = np.stack([1000 + time_N * 1000, x_N, np.full(len(time_N), value), x_N], 1)
    header = ",".join(["Milliseconds", *(f"{name}{axis}" for axis in "XYZ")])
    np.savetxt(file, rows, "%.6f", ",", header=header, comments="")


def test_videos_with_sensors_in_two_splits(tmp_path: Path) -> None:
    rows = EpicKitchensReader(make(tmp_path)).recordings()
    assert [(r.id, r.split, r.group, r.intervals) for r in rows] == [
        ("P01_101", "train", "P01", ((1.0, 3.0, "take"), (4.0, 5.5, "put"))),
        ("P02_133", "test", "P02", ((3661.5, 3662.0, "put"),)),
    ]
    assert rows[0].video.endswith("P01/videos/P01_101.MP4")


def test_overlaps_of_two_verbs_have_no_label() -> None:
    spans = [(0.0, 4.0, "a"), (1.0, 2.0, "b"), (3.0, 5.0, "a"), (6.0, 7.0, "b"), (7.0, 8.0, "b")]
    assert without_overlaps(spans) == [
        (0.0, 1.0, "a"),
        (2.0, 3.0, "a"),
        (3.0, 4.0, "a"),
        (4.0, 5.0, "a"),
        (6.0, 7.0, "b"),
        (7.0, 8.0, "b"),
    ]
    assert without_overlaps([]) == []


def test_both_sensors_in_g_and_degrees_on_the_faster_one_s_clock(tmp_path: Path) -> None:
    reader = EpicKitchensReader(make(tmp_path))
    (stream,) = reader.read_imu(reader.recordings()[0])
    assert stream.time_N[0] == pytest.approx(1)
    assert stream.rate == pytest.approx(400)
    np.testing.assert_allclose(stream.imu_NC[:, 1], 1, atol=1e-5)
    np.testing.assert_allclose(stream.imu_NC[:, 4], np.rad2deg(1), rtol=1e-5)
    assert any("m/s^2" in note for note in stream.notes)


def test_one_sensor_alone_needs_no_file_of_the_other(tmp_path: Path) -> None:
    settings = make(tmp_path, channels=("acc",))
    reader = EpicKitchensReader(settings)
    recording = reader.recordings()[0]
    (tmp_path / "P01/meta_data/P01_101-gyro.csv").unlink()
    (stream,) = reader.read_imu(recording)
    assert stream.channels == ("acc_x", "acc_y", "acc_z")
    assert stream.rate == pytest.approx(200)
    both = EpicKitchensReader(settings.model_copy(update={"channels": ("acc", "gyro_x")}))
    with raises(ImuError, "imu.missing-file", "P01_101-gyro.csv"):
        both.read_imu(recording)


def test_other_files_are_refused(tmp_path: Path) -> None:
    reader = EpicKitchensReader(make(tmp_path))
    recording = reader.recordings()[0]
    Path(recording.imu).write_text("Milliseconds,AccX,AccY,AccZ\n0,1,2,3\n")
    with raises(ImuError, "imu.unreadable", "P01_101-accl.csv", "AcclX"):
        reader.read_imu(recording)
    write_sensor(Path(recording.imu), "Accl", 200, 1.0)
    with raises(ImuError, "imu.unknown-unit", "P01_101-accl.csv", "9.80665 as in m/s^2"):
        reader.read_imu(recording)
    Path(recording.imu).unlink()
    with raises(DatasetError, "dataset.no-files", "--metadata"):
        reader.recordings()
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(VERBS.replace("1,put", "3,put"))
    with raises(DatasetError, "dataset.bad-line", "EPIC_100_train.csv: P01_101"):
        EpicKitchensReader(reader.settings).recordings()
    (tmp_path / "EPIC_100_validation.csv").unlink()
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(VERBS)
    with raises(DatasetError, "dataset.unreadable", "EPIC_100_validation.csv"):
        EpicKitchensReader(reader.settings).recordings()
