"""Names of channels, and which of its data set a student sees."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from comodo.config import CHANNELS, ConfigError, read_sweep_file
from comodo.config.channels import axis_of, expanded, in_groups, quantity_of, sensor_of
from comodo.data.readers.folder import FolderDataset
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file
from tests.errors import raises

WRIST = ["wrist.acc", "wrist.gyro_x", "head.acc_z"]


def test_parts_of_a_name() -> None:
    assert [sensor_of(name) for name in ("acc_x", "left_wrist.gyro_z")] == ["", "left_wrist"]
    assert [quantity_of(name) for name in ("acc_x", "left_wrist.gyro_z")] == ["acc", "gyro"]
    assert [axis_of(name) for name in ("acc_x", "left_wrist.gyro_z")] == [0, 2]
    groups = in_groups(["b.acc_x", "a.gyro_z", "b.acc_y"])
    assert groups == {("b", "acc"): [0, 2], ("a", "gyro"): [1]}


def test_short_names_mean_the_axes_that_there_are() -> None:
    assert expanded(["acc", "gyro"]) == CHANNELS
    known = ["hand.acc_x", "hand.acc_y", "hand.gyro_z"]
    assert expanded(["hand.gyro", "hand.acc"], known) == ("hand.gyro_z", "hand.acc_x", "hand.acc_y")
    assert expanded(["foot.acc"], known) == ("foot.acc",)  # refused where it is used


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (["accel_x"], "'accel_x' is no channel; write acc, gyro"),
        (["Wrist.acc"], "'Wrist.acc' is no channel"),
        (["acc_w"], "'acc_w' is no channel"),
        (["mag"], "'mag' is no channel"),
        (["acc", "acc_x"], "list each channel once"),
        ([], "at least 1 item"),
    ],
)
def test_other_names_are_refused(channels: list[str], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        FolderDataset(kind="folder", path=__file__, channels=channels)


def test_a_name_for_the_only_sensor_begins_its_channels() -> None:
    wrist = FolderDataset(kind="folder", path=__file__, channels=("acc",), sensor="wrist")
    assert wrist.imu_channels == ("wrist.acc_x", "wrist.acc_y", "wrist.acc_z")
    with pytest.raises(ValidationError, match="remove sensor"):
        FolderDataset(kind="folder", path=__file__, channels=("a.acc",), sensor="wrist")


def test_six_channels_are_in_no_key_of_windows() -> None:
    default = FolderDataset(kind="folder", path=__file__)
    assert default.imu_channels == CHANNELS
    assert not {"channels", "sensor", "missing"} & default.for_key().keys()


def config_of(path: Path, **changes: Any) -> Any:
    return read_sweep_file(sweep_file(path, **changes)).with_values({})


def test_a_student_sees_the_channels_of_its_data_set(tmp_path: Path) -> None:
    config = config_of(tmp_path, datasets__demo__channels=WRIST)
    seen = ("wrist.acc_x", "wrist.acc_y", "wrist.acc_z", "wrist.gyro_x", "head.acc_z")
    assert config.student.channels == seen
    chosen = {
        "datasets__demo__channels": WRIST,
        "trial__student__channels": ["wrist.gyro", "head.acc"],
    }
    assert config_of(tmp_path, **chosen).student.channels == ("wrist.gyro_x", "head.acc_z")


def test_the_key_of_a_trial_is_that_of_the_channels_written_out(tmp_path: Path) -> None:
    default = config_of(tmp_path)
    written = config_of(tmp_path, trial__student__channels=["acc", "gyro"])
    listed = config_of(tmp_path, trial__student__channels=[*CHANNELS])
    keys = {Trial(config, 0, "w", "f").key for config in (default, written, listed)}
    assert len(keys) == 1


def test_spellings_of_one_set_of_channels_are_one_configuration(tmp_path: Path) -> None:
    space = {"student.channels": [["acc"], [*CHANNELS[:3]], ["acc", "gyro"]]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    assert len(list(sweep.grid())) == 2


def test_a_channel_that_the_data_set_lacks_is_refused(tmp_path: Path) -> None:
    lacking = {"datasets__demo__channels": ["acc"], "trial__student__channels": ["acc", "gyro_x"]}
    with raises(ConfigError, "trial.student.channels", "gyro_x", "demo has acc_x, acc_y, acc_z"):
        config_of(tmp_path, **lacking)
    space = {"student.channels": [["acc"], ["gyro"]]}
    with raises(ConfigError, "search.space.student.channels", "no channel gyro"):
        config_of(tmp_path, datasets__demo__channels=["acc"], search__space=space)


def test_a_data_set_to_measure_on_needs_the_channels_or_says_they_are_zero(tmp_path: Path) -> None:
    wrist = {"kind": "simulated", "channels": ["acc"], "sensor": "wrist"}
    changes = {
        "datasets__demo__channels": WRIST,
        "datasets__other": wrist,
        "evaluate_on": ["other"],
    }
    with raises(ConfigError, "evaluate_on", "wrist.gyro_x, head.acc_z", "datasets.other.missing"):
        config_of(tmp_path, **changes)
    assert config_of(tmp_path, **changes, trial__student__channels=["wrist.acc"])
    changes["datasets__other"] = {**wrist, "missing": "zero"}
    assert config_of(tmp_path, **changes)
