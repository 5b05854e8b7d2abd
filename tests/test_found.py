"""Finding a trial by what a person has at hand."""

from pathlib import Path

import pytest

from comodo.config import read_sweep_file
from comodo.found import FindError, find_run
from comodo.identity import Evaluation
from comodo.results import Row
from comodo.saved import Saved
from comodo.status import StatusError
from comodo.store import Store, write_json
from comodo.tracking.runs import find_runs
from comodo.tracking.tracker import Tracker
from tests.helpers import answer
from tests.test_config import sweep_file
from tests.test_saved import saved_of

QUEUES = {"method.queue_size": [8, 16]}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "store")


@pytest.fixture
def saved(tmp_path: Path, store: Store) -> Saved:
    """A sweep of two queues with seeds 1 and 0, of which nothing has finished."""
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=QUEUES, seeds=[1, 0]))
    saved = saved_of(sweep, Evaluation())
    saved.write(store)
    return saved


def rows_of(saved: Saved, store: Store, queue: int) -> list[Row]:
    rows = saved.results(store).rows
    return [row for row in rows if row.label == f"comodo queue_size={queue}"]


def finish(saved: Saved, store: Store, *shares: float) -> None:
    """Finishes the untrained students, then the trials of both queues, with these accuracies."""
    rows = saved.results(store).rows
    untrained = [row for row in rows if row.label == "untrained"]
    trained = [*rows_of(saved, store, 8), *rows_of(saved, store, 16)]
    for row, share in zip([*untrained, *trained], (0.9, 0.9, *shares), strict=False):
        answer(store, row.trial, share)


def test_of_a_sweep_the_best_trained_configuration(saved: Saved, store: Store) -> None:
    """By the mean over seeds; the luckiest seed and the untrained students select nothing."""
    finish(saved, store, 0.8, 0.2, 0.5, 0.7)
    found = find_run("small", store)
    assert (found.row.label, found.row.trial.seed) == ("comodo queue_size=16", 1)
    assert found.results.selected == "untrained"
    assert found.saved.sweep.name == found.results.sweep.name == "small"


def test_a_few_seeds_are_not_selected(saved: Saved, store: Store) -> None:
    finish(saved, store, 0.4, 0.4, 0.8)
    assert find_run("small", store).row.label == "comodo queue_size=8"


def test_less_may_be_better(tmp_path: Path, store: Store) -> None:
    objective = {"metric": "val/acc1", "mode": "min"}
    file = sweep_file(tmp_path, search__space=QUEUES, seeds=[1, 0], objective=objective)
    saved = saved_of(read_sweep_file(file), Evaluation())
    saved.write(store)
    finish(saved, store, 0.8, 0.2, 0.5, 0.7)
    assert find_run("small", store).row.label == "comodo queue_size=8"


def test_a_trial_by_its_key(saved: Saved, store: Store) -> None:
    finish(saved, store, 0.8, 0.2)
    for row in saved.results(store).rows[:4]:
        for name in (row.trial.key, row.trial.key[:6]):
            assert find_run(name, store).row.trial == row.trial
    key = row.trial.key
    for name in (key[:5], key[1:], f"{key}0"):
        with pytest.raises(FindError, match=f"no sweep, trial or MLflow run '{name}'.*known: sma"):
            find_run(name, store)


def test_a_beginning_of_several(
    saved: Saved, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of one beginning are made by asking for shorter ones."""
    monkeypatch.setattr("comodo.found.SHORTEST", 0)
    with pytest.raises(FindError, match="6 trials begin with ''"):
        find_run("", store)


def test_what_one_sweep_lacks_another_may_have(tmp_path: Path, saved: Saved, store: Store) -> None:
    """A trial is finished in a sweep that asked for less."""
    more = read_sweep_file(sweep_file(tmp_path, name="more", search__space=QUEUES, seeds=[1, 0]))
    saved_of(more, Evaluation(("probe", "knn"))).write(store)
    finish(saved, store, 0.8)
    key = rows_of(saved, store, 8)[0].trial.key
    assert find_run(key, store).saved.sweep.name == "small"


@pytest.mark.slow
def test_a_run_of_mlflow(saved: Saved, store: Store, tmp_path: Path) -> None:
    finish(saved, store, 0.8, 0.8, 0.5, 0.5)
    row = rows_of(saved, store, 16)[1]
    tracker = Tracker(store, "small", {"name": "small"})
    write_json(tmp_path / "t/student/student.json", {})
    tracker.finish(row.trial, "x", {"metrics": {}, "history": []}, tmp_path / "t")
    tracker.settle()
    runs = find_runs("small", store)
    assert runs is not None
    assert find_run(runs.trials[row.trial.key], store).row.trial == row.trial
    assert find_run(runs.parent, store).row.label == "comodo queue_size=8"
    with pytest.raises(FindError, match="no sweep, trial or MLflow run"):
        find_run("0" * 32, store)


def test_what_has_not_finished_is_said(saved: Saved, store: Store) -> None:
    begun, failed = rows_of(saved, store, 8)
    folder = store.folder("trials", begun.trial.key)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    end = {"state": "failed", "reason": "the loss became nan"}
    write_json(store.folder("sweeps", "small") / "ended.json", {failed.trial.key: end})
    told = r"\(comodo queue_size=8 seed 1 of sweep 'small'\) is half done; to run it: comodo sweep"
    with pytest.raises(FindError, match=told):
        find_run(begun.trial.key, store)
    with pytest.raises(FindError, match=r"is failed \(the loss became nan\); to run it: comodo"):
        find_run(failed.trial.key, store)
    with pytest.raises(FindError, match="'small' has no trained .*val/acc1; .*: comodo sweep FILE"):
        find_run("small", store)


def test_nothing_there(saved: Saved, store: Store, tmp_path: Path) -> None:
    with pytest.raises(FindError, match="did you mean 'small'"):
        find_run("smal", store)
    (store.folder("sweeps", "small") / "sweep.json").unlink()
    with pytest.raises(FindError, match=r"could not be read: small"):
        find_run("abcdef", store)
    with pytest.raises(StatusError, match="sweep.json is missing"):
        find_run("small", store)
    with pytest.raises(FindError, match="it has no sweeps yet"):
        find_run("small", Store(tmp_path / "empty"))
