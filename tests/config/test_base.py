"""What all settings share: paths, and errors that name the line and the key."""

from pathlib import Path

import pytest

from comodo.config import ConfigError, Sweep, TrialConfig, read_sweep_file
from comodo.config.base import dotted_key
from comodo.data.readers.folder import FolderDataset
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import trial_config


def test_line_is_that_of_the_key(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__learning_rate=-1)
    with raises(ConfigError, "trial.learning_rate") as error:
        read_sweep_file(path)
    number = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert "learning_rate" in path.read_text().splitlines()[number - 1]


def test_paths_are_relative_to_the_file_and_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.csv").write_text("video,imu\n")
    monkeypatch.setenv("MY_DATA", "data")
    for written in ("data/manifest.csv", "$MY_DATA/manifest.csv"):
        path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": written})
        mine = read_sweep_file(path).datasets["mine"]
        assert isinstance(mine, FolderDataset)
        assert mine.path == str(tmp_path / "data/manifest.csv")
    path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": "$ABSENT_VARIABLE/x"})
    with raises(ConfigError, "datasets.mine.path", "export ABSENT_VARIABLE"):
        read_sweep_file(path)


def test_sweeps_that_ran_with_numbers_as_text_are_read_back(tmp_path: Path) -> None:
    """YAML 1.1 took 1e-3 for text, which earlier versions converted."""
    settings = read_sweep_file(sweep_file(tmp_path)).model_dump(mode="json", exclude_unset=True)
    settings["trial"]["learning_rate"] = "1e-3"
    settings["search"] = {"space": {"warmup": ["1e-1", 0.2]}}
    sweep = Sweep.model_validate(settings, context={"read_back": True})
    assert sweep.trial.learning_rate == 1e-3
    assert [sweep.with_values(point).warmup for point in sweep.grid()] == [0.1, 0.2]


def test_paths_in_the_space_are_relative_to_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    (tmp_path / "weights").mkdir()
    space = {
        "teacher": [{"name": "precomputed", "path": "features.npz"}],
        "student": [{"name": "mantis", "weights": "weights"}],
    }
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    (trial,) = map(sweep.with_values, sweep.grid())
    assert trial.teacher is not None and trial.teacher.path == str(tmp_path / "features.npz")
    assert trial.student.weights == str(tmp_path / "weights")


def test_a_setting_that_was_added_is_in_keys_where_it_means_something_else() -> None:
    """Published trials computed what corrected ones do before `imu_units` was added."""
    corrected, published = trial_config(), trial_config(protocol="published")
    assert (corrected.imu_units, published.imu_units) == ("g, deg/s", "published")
    assert "imu_units" not in corrected.for_key()
    assert published.for_key()["imu_units"] == "published"
    as_before = trial_config(protocol="published", imu_units="g, deg/s")
    assert "imu_units" not in as_before.for_key()
    read_back = TrialConfig.model_validate(as_before.model_dump(mode="json"))
    assert read_back.imu_units == "g, deg/s"


def test_an_error_may_be_of_an_item_that_the_file_does_not_have() -> None:
    """Smoke mode adds a recipe; an error in the last one ended in an IndexError."""
    assert dotted_key(("recipes", 1, "set"), {"recipes": [{"set": {}}]})[0] == "recipes.1.set"
