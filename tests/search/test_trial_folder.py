"""One trial's folder, before, while and after it is trained."""

from pathlib import Path

import pytest
import torch

from comodo.core.store import Store, write_json
from comodo.search.history import epoch_history
from comodo.search.records import MeasuringRecord
from comodo.search.trial import Evaluation, Trial
from comodo.search.trial_folder import TrialFolder, read_result
from tests.helpers import trained_record, trial_config

EPOCH = {"epoch": 1, "train/loss": 2.5}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_trial_that_trains_has_the_history_of_its_checkpoint(store: Store) -> None:
    path = store.folder("trials", "k")
    folder = TrialFolder(path)
    assert (epoch_history(folder), folder.measuring) == ([], None)
    path.mkdir(parents=True)
    torch.save({"history": [EPOCH], "student": torch.zeros(2)}, path / "checkpoint.pt")
    assert epoch_history(TrialFolder(path)) == [EPOCH]


def test_a_trained_one_has_its_own(store: Store) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    path = store.folder("trials", trial.key)
    trained_record(trial, history=[EPOCH]).write(path)
    MeasuringRecord(["measures/w/probe"], 3.0).write(path)
    folder = TrialFolder(path)
    assert epoch_history(folder) == [EPOCH]
    assert folder.trained == trained_record(trial, history=[EPOCH])
    assert folder.measuring is not None and folder.measuring.seconds == 3.0


def test_a_result_needs_every_measure_on_every_data_set(store: Store) -> None:
    evaluation = Evaluation(("probe", "direct"), {"other": "v"})
    trial = Trial(trial_config(), 0, "w", "f", evaluation)
    folder = TrialFolder(store.folder("trials", trial.key))
    written = {
        ("d", "probe"): {"test/acc1": 0.1, "probe/C": 1.0},
        ("other", "probe"): {"test/acc1": 0.2, "probe/C": 2.0},
        ("other", "direct"): {"direct/test/acc1": 0.3, "direct/probe/C": 4.0},
    }
    assert read_result(trial, store) is None
    trained_record(trial, parameters=7).write(folder.path)
    for dataset, measure, place in trial.measures():
        assert read_result(trial, store) is None
        write_json(folder.metrics_file(place), written[dataset, measure])
    result = read_result(trial, store)
    assert result is not None and result.trained.parameters == 7
    assert result.metrics == {
        "student/parameters": 7,
        "test/acc1": 0.1,
        "probe/C": 1.0,
        "on/other/test/acc1": 0.2,
        "on/other/probe/C": 2.0,
        "on/other/direct/test/acc1": 0.3,
        "on/other/direct/probe/C": 4.0,
    }


def test_a_baseline_is_read_by_its_classifier(store: Store) -> None:
    config = trial_config(student={"name": "dlinear"}, method={"name": "supervised"})
    trial = Trial(config, 0, "w", "f")
    folder = TrialFolder(store.folder("trials", trial.key))
    trained_record(trial).write(folder.path)
    ((_, measure, place),) = trial.measures()
    assert measure == "classifier"
    write_json(folder.metrics_file(place), {"classifier/test/acc1": 0.5})
    result = read_result(trial, store)
    assert result is not None
    assert result.metrics == {
        "student/parameters": 9, "classifier/test/acc1": 0.5, "test/acc1": 0.5
    }  # fmt: skip
