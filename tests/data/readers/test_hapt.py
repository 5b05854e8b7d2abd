"""UCI HAPT, in small files of its documented layout: clean ones and broken ones."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError
from comodo.data.readers.hapt import HaptDataset, HaptReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises

ACTIVITIES = "1 WALKING  \n7 STAND_TO_SIT \n"
LABELS = "1 1 1 11 160\n1 1 7 161 200\n3 2 1 1 300\n"


def signal(samples: int, slope: float) -> np.ndarray:
    """`[N, 3]`: the sample's number in x, so that a stretch tells where it was cut."""
    return np.stack([np.arange(1, samples + 1) * slope, np.ones(samples), np.zeros(samples)], 1)


def make(folder: Path, labels: str = LABELS, **settings: object) -> HaptDataset:
    """Users 1 (train) and 2 (test), 300 samples of each of two experiments."""
    for name in ("RawData", "Train", "Test"):
        (folder / name).mkdir()
    for name in ("exp01_user01", "exp03_user02"):
        np.savetxt(folder / f"RawData/acc_{name}.txt", signal(300, 1e-3))
        np.savetxt(folder / f"RawData/gyro_{name}.txt", signal(300, 1e-2))
    (folder / "RawData/labels.txt").write_text(labels)
    (folder / "activity_labels.txt").write_text(ACTIVITIES)
    (folder / "Train/subject_id_train.txt").write_text("1\n1\n1\n")
    (folder / "Test/subject_id_test.txt").write_text("2\n2\n")
    return HaptDataset(kind="hapt", path=str(folder), **settings)


def test_stretches_labels_and_the_authors_splits(tmp_path: Path) -> None:
    settings = make(tmp_path)
    rows = HaptReader(settings).recordings()
    assert [(r.id, r.split, r.group, r.label, r.video) for r in rows] == [
        ("exp01_user01_00011-00160", "train", "user 01", "WALKING", ""),
        ("exp01_user01_00161-00200", "train", "user 01", "STAND_TO_SIT", ""),
        ("exp03_user02_00001-00300", "test", "user 02", "WALKING", ""),
    ]
    assert (settings.window_seconds, settings.imu_rate) == (2.56, 50.0)
    with pytest.raises(ValidationError, match="does not exist"):
        HaptDataset(kind="hapt", path="/nowhere")


def test_a_stretch_is_cut_out_in_g_and_degrees(tmp_path: Path) -> None:
    reader = HaptReader(make(tmp_path))
    (stream,) = reader.read_imu(reader.recordings()[0])
    assert len(stream.time_N) == 150
    assert stream.rate == pytest.approx(50)
    assert stream.time_N[0] == 0
    np.testing.assert_allclose(stream.imu_NC[[0, -1], 0], [0.011, 0.160], rtol=1e-6)
    np.testing.assert_allclose(
        stream.imu_NC[0, 3:], [0.11 * 180 / np.pi, 180 / np.pi, 0], rtol=1e-6
    )


def test_windows_and_rejections(tmp_path: Path) -> None:
    labels = LABELS + "3 2 7 290 310\n4 2 1 1 300\n5 1 1 1 200\n6 1 1 1 200\n7 1 1 1 200\n"
    settings = make(tmp_path, labels, window_seconds=1.0, imu_rate=25.0)
    acc = tmp_path / "RawData/acc_exp05_user01.txt"
    acc.write_text("0 1 0\n" * 99 + "0 1\n" * 101)
    for name, columns in (("exp06_user01", 2), ("exp07_user01", 3)):
        np.savetxt(tmp_path / f"RawData/acc_{name}.txt", signal(300, 1e-3)[:, :columns])
    gyro_N3 = signal(300, 1e-2)
    gyro_N3[60:100] = np.nan
    np.savetxt(tmp_path / "RawData/gyro_exp07_user01.txt", gyro_N3)
    windows, rejected = sliced(settings)
    stretch = {"a": "exp01_user01_00011-00160", "b": "exp03_user02_00001-00300"}
    gap = "exp07_user01_00001-00200"
    assert windows.keys() == {
        *(f"{stretch['a']}:{i}" for i in range(3)),
        *(f"{stretch['b']}:{i}" for i in range(6)),
        *(f"{gap}:{i}" for i in (0, 2, 3)),  # not the second, of which 0.8 s are missing
    }
    assert {imu_CT.shape for imu_CT in windows.values()} == {(6, 25)}
    assert windows[f"{stretch['b']}:2"][0].mean() == pytest.approx(0.125, abs=0.002)
    reasons = {
        "exp01_user01_00161-00200": "0.8 s are shorter than one window",
        "exp03_user02_00290-00310": "needs three columns and 310 samples",
        "exp04_user02_00001-00300": "acc_exp04_user02.txt",
        "exp05_user01_00001-00200": "acc_exp05_user01.txt: cannot be read as rows of x, y, z",
        "exp06_user01_00001-00200": "shape (300, 2)",
    }
    assert rejected.keys() == reasons.keys()
    for id, reason in reasons.items():
        assert reason in rejected[id]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("1 1 9 1 50", "activity 9"),
        ("1 8 1 1 50", "user 8"),
        ("1 1 1 50", "'1 1 1 50'"),
        ("1 1 1 50 fifty", "'1 1 1 50 fifty'"),
        ("1 1 1 0 50", "0 to 50"),
        ("1 1 1 50 50", "50 to 50"),
        ("1 1 7 11 160", "twice"),
    ],
)
def test_other_labels_are_refused(tmp_path: Path, line: str, name: str) -> None:
    with raises(DatasetError, "dataset.bad-line", "labels.txt, line 4", name):
        HaptReader(make(tmp_path, LABELS + line)).recordings()


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("Test/subject_id_test.txt", "2\n1\n", "dataset.bad-line"),  # user 1 is in train
        ("Test/subject_id_test.txt", "two\n", "dataset.bad-line"),
        ("Test/subject_id_test.txt", None, "dataset.unreadable"),
        ("activity_labels.txt", "1 WALKING UP\n", "dataset.bad-line"),
        ("activity_labels.txt", None, "dataset.unreadable"),
        ("RawData/labels.txt", None, "dataset.unreadable"),
        ("RawData/labels.txt", "", "dataset.no-files"),
        ("RawData/labels.txt", "9 1 1 1 50\n", "dataset.no-files"),
    ],
)
def test_wrong_folders_are_refused_at_once(
    tmp_path: Path, file: str, content: str | None, code: str
) -> None:
    settings = make(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    place = "RawData" if code == "dataset.no-files" else file
    with raises(DatasetError, code, place):
        HaptReader(settings).recordings()


def test_gyroscope_that_is_missing(tmp_path: Path) -> None:
    reader = HaptReader(make(tmp_path))
    (tmp_path / "RawData/gyro_exp01_user01.txt").unlink()
    with raises(ImuError, "imu.unreadable", "gyro_exp01_user01.txt"):
        reader.read_imu(reader.recordings()[0])
