"""The weights that training starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comodo.config import ConfigError
from comodo.config.source import KEY, SourceTrial
from comodo.core.errors import ChangedError
from comodo.core.store import Store
from comodo.models.students import build_student, load_student, save_student
from comodo.search.records import TrainedRecord
from comodo.search.trial import Trial
from comodo.training.start import any_student, starting_student
from tests.config.test_source import settings_of, source, started
from tests.errors import raises
from tests.helpers import (
    TINY_MANTIS,
    ignore,
    make_arrays,
    run_whole,
    trial_config,
    weights_equal,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def first(store: Store) -> Trial:
    """A trained trial."""
    trial = Trial(trial_config(epochs=1), 0, *make_arrays(store))
    run_whole(trial, store, ignore)
    return trial


def test_the_first_step_begins_with_the_weights_of_the_source(store: Store, first: Trial) -> None:
    """Bitwise; untrained, the student is the source, with its features and accuracy."""
    found = source(SourceTrial(first.key, 0))
    trial = Trial(started(found, epochs=1), 7, first.windows, first.features)
    theirs = load_student(store.folder("trials", first.key) / "student")
    assert weights_equal(starting_student(trial, store), theirs)
    assert weights_equal(any_student(trial.config.student, store), theirs)
    result = run_whole(trial.untrained, store, ignore)
    mine = load_student(store.folder("trials", trial.untrained.key) / "student")
    imu_BCT = torch.randn(3, 6, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mine.eval()(imu_BCT), theirs.eval()(imu_BCT))
    same_seed = run_whole(replace(trial, seed=0).untrained, store, ignore)
    recorded = run_whole(first, store, ignore)
    assert same_seed.metrics["test/acc1"] == recorded.metrics["test/acc1"]
    assert result.trained.start == {"trial": first.key} and result.trained.history == []


def test_training_goes_on_from_there_in_any_method(store: Store, first: Trial) -> None:
    found = source(SourceTrial(first.key, 0))
    for method in ("supervised", "infonce"):
        trial = Trial(started(found, method=method, epochs=1), 0, first.windows, first.features)
        trained = run_whole(trial, store, ignore).trained
        assert trained.start == {"trial": first.key} and len(trained.history) == 1
        student = load_student(store.folder("trials", trial.key) / "student")
        assert not weights_equal(student, starting_student(trial, store))


def test_weights_that_were_replaced_are_refused(store: Store, first: Trial) -> None:
    folder = store.folder("trials", first.key)
    trial = Trial(started(source(SourceTrial(first.key, 0))), 0, first.windows, first.features)
    record = TrainedRecord.read(folder)
    assert len(record.weights or "") == 64
    torch.manual_seed(9)
    save_student(build_student(first.config.student), folder / "student")
    with raises(ChangedError, KEY, "model.safetensors was replaced", "run its sweep again"):
        starting_student(trial, store)
    replace(record, weights=None).write(folder)  # an earlier version recorded nothing
    assert starting_student(trial, store).dim
    (folder / TrainedRecord.FILE).unlink()
    with raises(ConfigError, KEY, f"trial {first.key} is no longer in"):
        starting_student(trial, store)


def test_a_folder_is_known_by_its_weights(store: Store, first: Trial, tmp_path: Path) -> None:
    student = build_student(first.config.student)
    content = save_student(student, tmp_path / "x")
    found = source(trials=(), folder=str(tmp_path / "x"), content=content)
    trial = Trial(started(found), 0, first.windows, first.features)
    assert weights_equal(starting_student(trial, store), student)
    assert trial.start == {"content": content}
    save_student(starting_student(replace(trial, config=first.config), store), tmp_path / "x")
    with raises(ChangedError, KEY, "run the same command again"):
        starting_student(trial, store)


def test_other_units_are_refused(store: Store, first: Trial, tmp_path: Path) -> None:
    student = build_student(first.config.student, ("m/s^2", "rad/s"))
    content = save_student(student, tmp_path / "x")
    found = source(trials=(), folder=str(tmp_path / "x"), content=content)
    trial = Trial(started(found), 0, first.windows, first.features)
    with raises(ConfigError, KEY, "saw m/s^2 and rad/s, but here it sees g and deg/s"):
        starting_student(trial, store)


def test_no_random_weights_in_place_of_trained_ones() -> None:
    with pytest.raises(ValueError, match="from: first has the weights"):
        build_student(started(source()).student)
    assert build_student(started(source()).student.network).dim
    assert settings_of(TINY_MANTIS)["name"] == "mantis"
