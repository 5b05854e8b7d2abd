"""What a sweep file may say about IMU files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from comodo.config.datasets import FolderDataset


def dataset(folder: Path, **keys: object) -> FolderDataset:
    (folder / "m.csv").touch()
    return FolderDataset.model_validate({"kind": "folder", "path": str(folder / "m.csv"), **keys})


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
    tmp_path: Path, keys: dict[str, object], names: list[str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        dataset(tmp_path, **keys)
    assert all(name in str(caught.value) for name in names)


def test_settings_of_one_sensor_or_of_all(tmp_path: Path) -> None:
    columns = {
        "left_wrist.time": "t",
        "head.gyro_z": "wz",
        "acc_x": "ax",
        "sensor": "kind",
        "x": "X",
    }
    found = dataset(tmp_path, columns=columns, preset={"head": "shimmer"}, time_unit="ms")
    assert found.columns == columns
    assert found.preset == {"head": "shimmer"}
