"""ActRecTut's gestures: small files of the documented layout, and the real one where it is."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import savemat

from comodo.data.imu import ImuError, has_gap
from comodo.data.readers import list_recordings
from comodo.data.readers.actrectut import ActRecTutDataset, ActRecTutReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises

ROUND = [1] * 32 + [2] * 96 + [1] * 32 + [3] * 64
"""4 s before and 7 s of gestures: 1 s of null, 3 s of a window, 1 s of null, 2 s of a drink."""


def signal(rows: int) -> np.ndarray:
    """`[N, 15]` of mg and counts: gravity in z of each sensor, with the sensor's number in x."""
    data_ND = np.zeros((rows, 15))
    for place in range(3):
        data_ND[:, 5 * place] = 100 * (place + 1) + np.arange(rows) % 7
        data_ND[:, 5 * place + 2] = 1000
        data_ND[:, 5 * place + 3 : 5 * place + 5] = 415
    return data_ND


def make(folder: Path, data: np.ndarray | None = None, **settings: object) -> ActRecTutDataset:
    """Three rounds by one person and one by another."""
    for person, rounds in ((1, 3), (2, 1)):
        label_N = np.array(ROUND * rounds, np.uint8)
        content = {"data": signal(len(label_N)), "labels": label_N[:, None]}
        if data is not None and person == 1:
            content["data"] = data
        (folder / f"subject{person}_gesture").mkdir(parents=True)
        savemat(folder / f"subject{person}_gesture/data.mat", content)
    options = {"split_by_group": {"folds": 2}, **settings}
    return ActRecTutDataset(kind="actrectut", path=str(folder), **options)


def test_rounds_are_recordings_of_one_file(tmp_path: Path) -> None:
    settings = make(tmp_path)
    rows = ActRecTutReader(settings).recordings()
    assert [(r.id, r.group, r.start, r.end) for r in rows] == [
        ("subject1-round01", "subject 1, round 01", 0.0, 7.5),
        ("subject1-round02", "subject 1, round 02", 7.5, 14.5),
        ("subject1-round03", "subject 1, round 03", 14.5, 21.0),
        ("subject2-round01", "subject 2, round 01", 0.0, 7.0),
    ]
    assert rows[1].intervals == (
        (7.5, 8.0, "null class"),
        (8.0, 11.0, "open window"),
        (11.0, 12.0, "null class"),
        (12.0, 14.0, "drink"),
        (14.0, 14.5, "null class"),
    )
    people = settings.model_copy(update={"groups": "people"})
    assert {r.group for r in ActRecTutReader(people).recordings()} == {"subject 1", "subject 2"}


def test_three_accelerometers_in_g(tmp_path: Path) -> None:
    reader = ActRecTutReader(make(tmp_path))
    streams = reader.read_imu(reader.recordings()[1])
    assert [stream.channels[0] for stream in streams] == [
        "hand.acc_x",
        "lower_arm.acc_x",
        "upper_arm.acc_x",
    ]
    for place, stream in enumerate(streams):
        np.testing.assert_allclose(stream.imu_NC[1], [0.1 * (place + 1) + 0.001, 0, 1], atol=1e-6)
        np.testing.assert_allclose(stream.time_N, np.arange(3 * len(ROUND)) / 32)
        assert any("mg" in note for note in stream.notes)


def test_windows_have_the_label_of_their_largest_part(tmp_path: Path) -> None:
    windows, rejected = sliced(make(tmp_path))
    assert not rejected
    assert {imu_CT.shape for imu_CT in windows.values()} == {(9, 64)}
    assert [id for id in windows if id.startswith("subject1-round02")] == [
        f"subject1-round02:{i}" for i in range(3)
    ]


def test_a_row_that_is_held_for_long_is_a_gap(tmp_path: Path) -> None:
    data_ND = signal(3 * len(ROUND))
    data_ND[320:352, 5:10] = data_ND[320, 5:10]  # 1 s of the lower arm, from 10 s on
    data_ND[100:110, 0:5] = data_ND[100, 0:5]  # short
    settings = make(tmp_path, data_ND)
    reader = ActRecTutReader(settings)
    hand, lower_arm, upper_arm = reader.read_imu(reader.recordings()[0])
    assert has_gap(lower_arm, 9.5, 11.5, 0.5) and len(lower_arm.time_N) == len(data_ND) - 31
    assert any("lower_arm: 31 rows repeat" in note for note in lower_arm.notes)
    assert len(hand.time_N) == len(upper_arm.time_N) == len(data_ND)
    windows, _ = sliced(settings)
    assert [id[-2:] for id in windows if id.startswith("subject1-round02")] == [":0", ":2"]


def test_gyroscopes_and_settings_without_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="split_by_group"):
        ActRecTutDataset(**{"kind": "actrectut", "path": str(tmp_path)})
    _, rejected = sliced(make(tmp_path, channels=("hand.acc", "hand.gyro_x")))
    assert all("no hand.gyro_x" in reason for reason in rejected.values()) and len(rejected) == 4


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        ({"data": np.zeros((10, 20)), "labels": np.ones((10, 1))}, "imu.wrong-shape", "(10, 20)"),
        ({"data": np.zeros((10, 15)), "labels": np.ones((9, 1))}, "imu.wrong-shape", "(9,)"),
        ({"data": np.zeros((9, 15)), "labels": np.full(9, 13)}, "imu.wrong-shape", "from 1 to 12"),
        ({"data": np.zeros((9, 15))}, "imu.unreadable", "labels"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, content: dict[str, np.ndarray], code: str, reason: str
) -> None:
    reader = ActRecTutReader(make(tmp_path))
    recording = reader.recordings()[0]
    savemat(recording.imu, content)
    with raises(ImuError, code, "data.mat", reason):
        reader.read_imu(recording)
    with raises(DatasetError, "dataset.unreadable", "data.mat", reason):
        reader.recordings()


def test_values_in_another_unit_are_refused(tmp_path: Path) -> None:
    reader = ActRecTutReader(make(tmp_path, signal(3 * len(ROUND)) / 1000))  # g
    with raises(ImuError, "imu.unknown-unit", "data.mat, hand", "1000 as in mg"):
        reader.read_imu(reader.recordings()[0])
    (tmp_path / "none").mkdir()
    settings = {"path": str(tmp_path / "none"), "split_by_group": {"folds": 2}}
    with raises(DatasetError, "dataset.no-files", "folder with subject1_gesture"):
        ActRecTutReader(ActRecTutDataset(kind="actrectut", **settings)).recordings()


def test_the_real_recording(shared_data: Path) -> None:
    folder = shared_data / "actrectut"
    if not folder.is_dir():
        pytest.skip(f"no ActRecTut at {folder}")
    settings = ActRecTutDataset(
        kind="actrectut", path=str(folder), split_by_group={"folds": 5}, boundary=0.8
    )
    rows = list_recordings(settings, Path())
    assert len(rows) == len({r.group for r in rows}) == 26
    for row in rows:
        assert row.intervals is not None
        assert Counter(label for _, _, label in row.intervals)["smash"] == 1
        assert set(row.labels) == {
            "null class", "open window", "drink", "water plant", "close window", "cut", "chop",
            "stir", "book", "forehand", "backhand", "smash",
        }  # fmt: skip
    streams = ActRecTutReader(settings).read_imu(rows[0])
    gravity = [np.median(np.linalg.norm(stream.imu_NC, axis=1)) for stream in streams]
    np.testing.assert_allclose(gravity, 1.03, atol=0.01)
