"""The settings of students: presets, and what does not fit together."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, read_sweep_file
from comodo.config.student import FAMILIES, STUDENT_PRESETS, StudentConfig, families_with
from tests.config.test_load import sweep_file


@pytest.mark.parametrize("preset", STUDENT_PRESETS)
def test_presets_are_valid_settings_that_say_nothing_needlessly(preset: str) -> None:
    student = StudentConfig.model_validate(STUDENT_PRESETS[preset])
    assert student.model_dump(exclude_defaults=True) == STUDENT_PRESETS[preset]


def test_every_family_has_a_preset() -> None:
    names = {preset["name"] for preset in STUDENT_PRESETS.values()}
    assert names == FAMILIES.keys() - {"hand-crafted"}


def test_the_published_sizes_of_the_baselines() -> None:
    """Those that the names of the published results give, as far as they are not the defaults."""
    informer = StudentConfig.model_validate(STUDENT_PRESETS["informer-published"])
    assert informer.size == {"factor": 1, "distil": 0}
    timesnet = StudentConfig.model_validate(STUDENT_PRESETS["timesnet-published"])
    assert timesnet.size == {"layers": 3}
    assert {informer.samples, timesnet.samples, StudentConfig(name="dlinear").samples} == {1000}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("padding", "batch"),
        ("averaged_patches", "all"),
        ("output_token", "combined"),
        ("return_transf_layer", 1),
    ],
)
def test_settings_of_one_family_are_refused_elsewhere(name: str, key: str, value: Any) -> None:
    settings: dict[str, Any] = {"name": name, key: value}
    if name in (having := families_with(key)):
        assert StudentConfig.model_validate(settings).options == {key: value}
    else:
        with pytest.raises(ValueError, match=f"{key}: only for {having[0]}.*remove {key}"):
            StudentConfig.model_validate(settings)


def test_a_file_of_weights_is_a_path_with_a_size(tmp_path: Path) -> None:
    def student(**settings: Any) -> StudentConfig:
        file = sweep_file(tmp_path, trial__student={"name": "moment", **settings})
        return read_sweep_file(file).trial.student

    with pytest.raises(ConfigError, match=r"model\.pth does not exist"):
        student(weights="model.pth")
    (tmp_path / "model.pth").touch()
    for written in ("model.pth", "./model.pth"):
        found = student(weights=written, size={"d_model": 64})
        assert found.is_checkpoint
        assert found.weights == str(tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="only mantis and moment can be loaded from"):
        student(name="chronos-bolt", weights="model.pth")
    with pytest.raises(ConfigError, match="size is for students from scratch"):
        student(weights="AutonLab/MOMENT-1-small", size={"d_model": 64})


def test_a_baseline_is_always_trained() -> None:
    with pytest.raises(ValueError, match="train_encoder: dlinear starts from scratch"):
        StudentConfig(name="dlinear", train_encoder=False)
