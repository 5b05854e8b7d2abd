"""WHARF: small files of its documented layout, and the real ones where they are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError
from comodo.data.readers import list_recordings
from comodo.data.readers.wharf import WharfDataset, WharfReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises

WALK = "Accelerometer-2011-03-24-09-51-07-walk-f1.txt"
DRINK = "Accelerometer-2011-06-02-17-21-57-drink_glass-m11.txt"


def make(folder: Path, **files: str) -> WharfDataset:
    """Two recordings of 3 s: all codes in x, and the codes next to 0 g in y and z."""
    for place, name in (("Walk", WALK), ("Drink_glass", DRINK)):
        (folder / "Data" / place).mkdir(parents=True)
        codes = [f"{i % 64} 31  {32 - i % 2} " for i in range(96)]
        (folder / "Data" / place / name).write_text("\n".join(codes) + "\n")
    return WharfDataset(kind="wharf", path=str(folder), split_by_group={"folds": 2})


def test_person_and_activity_are_in_the_name(tmp_path: Path) -> None:
    settings = make(tmp_path)
    rows = sorted(WharfReader(settings).recordings(), key=lambda row: row.id)
    assert [(r.id, r.group, r.label, r.video) for r in rows] == [
        ("2011-03-24-09-51-07-walk-f1", "f1", "walk", ""),
        ("2011-06-02-17-21-57-drink_glass-m11", "m11", "drink_glass", ""),
    ]
    assert settings.imu_channels == ("acc_x", "acc_y", "acc_z")
    with pytest.raises(ValidationError, match="split_by_group"):
        WharfDataset(**{"kind": "wharf", "path": str(tmp_path)})  # it has no splits of its own


def test_codes_are_g_at_32_hz(tmp_path: Path) -> None:
    reader = WharfReader(make(tmp_path))
    (stream,) = reader.read_imu(reader.recordings()[0])
    assert stream.channels == ("acc_x", "acc_y", "acc_z")
    np.testing.assert_allclose(stream.imu_NC[[0, 21, 63], 0], [-1.5, -0.5, 1.5], atol=1e-6)
    np.testing.assert_allclose(stream.imu_NC[0, 1:], [-1.5 / 63, 1.5 / 63], atol=1e-6)
    np.testing.assert_allclose(stream.time_N, np.arange(96) / 32)


def test_windows_have_three_channels(tmp_path: Path) -> None:
    windows, rejected = sliced(make(tmp_path))
    assert not rejected
    assert {imu_CT.shape for imu_CT in windows.values()} == {(3, 80)}
    asked = make(tmp_path / "again").model_copy(update={"channels": ("acc", "gyro_x")})
    windows, rejected = sliced(asked)
    assert not windows
    assert all("no gyro_x" in reason for reason in rejected.values())


def test_the_copies_in_models_are_left_out(tmp_path: Path) -> None:
    settings = make(tmp_path)
    models = tmp_path / "Data/MODELS/Walk_MODEL"
    models.mkdir(parents=True)
    (models / WALK).write_text("1 2 3\n")
    assert len(WharfReader(settings).recordings()) == 2
    elsewhere = make(tmp_path / "MODELS" / "wharf")  # a folder above the data set may have the name
    assert len(WharfReader(elsewhere).recordings()) == 2
    (tmp_path / "Data/Drink_glass" / WALK).write_text("1 2 3\n")
    with raises(DatasetError, "dataset.duplicate-id", "2 files", WALK):
        WharfReader(settings).recordings()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 2 64\n" * 90, "whole numbers from 0 to 63"),
        ("1 2 -1\n" * 90, "whole numbers from 0 to 63"),
        ("0.5 0.2 0.1\n" * 90, "whole numbers from 0 to 63"),
        ("1 2 nan\n" * 90, "whole numbers from 0 to 63"),
        ("1 2\n" * 90, "whole numbers from 0 to 63"),
        ("1 2 3\n1 2\n", "cannot be read as rows of x, y, z"),
        ("x y z\n", "cannot be read as rows of x, y, z"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, reason: str) -> None:
    reader = WharfReader(make(tmp_path))
    (recording,) = (row for row in reader.recordings() if row.label == "walk")
    Path(recording.imu).write_text(content)
    with raises(ImuError, "imu.unreadable", WALK, reason):
        reader.read_imu(recording)


def test_other_names_and_folders_are_refused(tmp_path: Path) -> None:
    reader = WharfReader(make(tmp_path))
    (tmp_path / "Data/Walk/Accelerometer-2011-walk.txt").touch()
    with raises(DatasetError, "dataset.bad-name", "Accelerometer-2011-walk.txt"):
        reader.recordings()
    (tmp_path / "none").mkdir()
    settings = {"kind": "wharf", "path": str(tmp_path / "none"), "split_by_group": {"folds": 2}}
    with raises(DatasetError, "dataset.no-files", "path is the folder with Data"):
        WharfReader(WharfDataset(**settings)).recordings()


def test_the_real_recordings(shared_data: Path) -> None:
    folder = shared_data / "wharf"
    if not folder.is_dir():
        pytest.skip(f"no WHARF at {folder}")
    settings = WharfDataset(kind="wharf", path=str(folder), split_by_group={"folds": "all"})
    rows = list_recordings(settings, Path())
    people, activities = Counter(r.group for r in rows), Counter(r.label for r in rows)
    assert (len(rows), len(people), len(activities)) == (892, 17, 14)
    assert (people["f1"], activities["eat_soup"], activities["drink_glass"]) == (347, 3, 115)
    reader = WharfReader(settings)
    streams = [reader.read_imu(row)[0] for row in rows[::20]]
    gravity = [np.median(np.linalg.norm(stream.imu_NC, axis=1)) for stream in streams]
    assert min(gravity) > 0.9 and max(gravity) < 1.12  # of all 892: 0.90 to 1.12
