"""Augmentation: off by default without changing a key, swept like any key, refused where it cannot
be made."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import CHANNELS, Augmentation, ConfigError, TrialConfig, read_sweep_file
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import TINY_MANTIS, trial_config


def key(config: TrialConfig) -> str:
    return Trial(config, 3, "w", "f").key


def test_off_it_is_in_no_key_and_on_it_is() -> None:
    assert "augment" not in trial_config().for_key()
    off = trial_config(augment={"rotation": 0, "noise": 0.0})
    assert key(off) == key(trial_config())
    keys = {key(trial_config(augment={name: 0.5})) for name in Augmentation.model_fields}
    assert len(keys | {key(off)}) == 1 + len(Augmentation.model_fields)
    assert key(trial_config(augment={"noise": 1})) == key(trial_config(augment={"noise": 1.0}))


def test_untrained_students_are_the_same_with_any() -> None:
    trials = [Trial(trial_config(augment=a), 0, "w", "f") for a in ({}, {"rotation": 15})]
    assert trials[0].untrained.key == trials[1].untrained.key
    assert trials[0].key != trials[1].key


def test_the_supervised_reference_has_the_trials_own() -> None:
    trial = Trial(trial_config(augment={"noise": 0.1}), 0, "w", "f")
    assert trial.supervised(trial_config()).config.augment == Augmentation(noise=0.1)


@pytest.mark.parametrize(
    "space",
    [
        {"augment.rotation": [0, 15]},
        {"augment": [{"rotation": 0}, {"rotation": 15}]},
        {"augment.rotation": [0, 0.0, 15]},
    ],
)
def test_it_is_swept_like_any_key(tmp_path: Path, space: dict[str, Any]) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    found = [sweep.with_values(point).augment for point in sweep.grid()]
    assert found == [Augmentation(), Augmentation(rotation=15)]


def test_a_swept_value_leaves_the_others(tmp_path: Path) -> None:
    space = {"augment.rotation": [0, 15]}
    path = sweep_file(tmp_path, trial__augment={"noise": 0.02}, search__space=space)
    sweep = read_sweep_file(path)
    found = [sweep.with_values(point).augment for point in sweep.grid()]
    assert found == [Augmentation(noise=0.02), Augmentation(noise=0.02, rotation=15)]


def student(*channels: str) -> dict[str, Any]:
    return {**TINY_MANTIS, "channels": channels}


@pytest.mark.parametrize(
    ("augment", "channels", "texts"),
    [
        ({"rotation": 15}, ("acc_x", "gyro_x", "gyro_y", "gyro_z"),
         ("rotation", "accelerometer", "only acc_x", "give student.channels acc,")),
        ({"rotation": 15}, (*CHANNELS[:3], "gyro_z"), ("rotation", "give student.channels gyro,")),
        ({"drop_sensor": 0.1}, CHANNELS[:3], ("drop_sensor", "gyroscope")),
        ({"drop_sensor": 0.1}, ("gyro_x",), ("drop_sensor", "accelerometer")),
    ],
)  # fmt: skip
def test_changes_that_need_other_channels_are_refused(
    tmp_path: Path, augment: dict[str, float], channels: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    path = sweep_file(tmp_path, trial__augment=augment, trial__student=student(*channels))
    with raises(ConfigError, "trial.augment", "student.channels", f"remove {texts[0]}", *texts):
        read_sweep_file(path)


@pytest.mark.parametrize(
    ("augment", "channels"),
    [
        ({"rotation": 15}, CHANNELS[:3]),
        ({"rotation": 15}, ("gyro_z", "gyro_x", "gyro_y")),
        ({"scale": 0.1, "shift": 0.1, "noise": 0.1}, ("acc_x",)),
        ({"drop_sensor": 0.1}, ("acc_x", "gyro_y")),
    ],
)
def test_other_subsets_of_channels_are_accepted(
    augment: dict[str, float], channels: tuple[str, ...]
) -> None:
    assert trial_config(augment=augment, student=student(*channels)).augment.model_fields_set


def test_swept_channels_that_do_not_fit_are_refused_too(tmp_path: Path) -> None:
    space = {"student.channels": [list(CHANNELS), ["acc_x"]]}
    path = sweep_file(tmp_path, trial__augment={"rotation": 15}, search__space=space)
    with raises(ConfigError, "search.space.student.channels", "trial.augment", "remove rotation"):
        read_sweep_file(path)


@pytest.mark.parametrize(
    "augment", [{"rotation": 181}, {"scale": 1}, {"shift": 1}, {"noise": -1}, {"drop_sensor": 2}]
)
def test_limits(tmp_path: Path, augment: dict[str, float]) -> None:
    (name,) = augment
    with raises(ConfigError, f"trial.augment.{name}"):
        read_sweep_file(sweep_file(tmp_path, trial__augment=augment))
