"""Finding the trial that a name means."""

from pathlib import Path

import pytest

from comodo.config import read_sweep_file
from comodo.core.store import Store, write_json
from comodo.deploy.selection import SelectionError, resolve_run
from comodo.evaluation.results import TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.search.status import StatusError
from comodo.search.trial import Evaluation, TrialResult
from comodo.tracking.runs import find_runs
from comodo.tracking.tracker import Tracker
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.evaluation.test_sweep_record import saved_of
from tests.helpers import answer, trained_record

QUEUES = {"method.queue_size": [8, 16]}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "store")


@pytest.fixture
def saved(tmp_path: Path, store: Store) -> SweepRecord:
    """A sweep of two queues with seeds 1 and 0, of which nothing has finished."""
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=QUEUES, seeds=[1, 0]))
    saved = saved_of(sweep, Evaluation())
    saved.write(store)
    return saved


def rows_of(saved: SweepRecord, store: Store, queue: int) -> list[TrialRow]:
    rows = saved.results(store).rows
    return [row for row in rows if row.label == f"comodo queue_size={queue}"]


def finish(saved: SweepRecord, store: Store, *shares: float) -> None:
    """Finishes the untrained students, then the trials of both queues, with these accuracies."""
    rows = saved.results(store).rows
    untrained = [row for row in rows if row.label == "untrained"]
    trained = [*rows_of(saved, store, 8), *rows_of(saved, store, 16)]
    for row, share in zip([*untrained, *trained], (0.9, 0.9, *shares), strict=False):
        answer(store, row.trial, share)


def test_of_a_sweep_the_best_trained_configuration(saved: SweepRecord, store: Store) -> None:
    """By the mean over seeds; the luckiest seed and the untrained students select nothing."""
    finish(saved, store, 0.8, 0.2, 0.5, 0.7)
    found = resolve_run("small", store)
    assert (found.row.label, found.row.trial.seed) == ("comodo queue_size=16", 1)
    assert found.results.selected == "untrained"
    assert found.record.sweep.name == found.results.sweep.name == "small"


def test_a_few_seeds_are_not_selected(saved: SweepRecord, store: Store) -> None:
    finish(saved, store, 0.4, 0.4, 0.8)
    assert resolve_run("small", store).row.label == "comodo queue_size=8"


def test_an_objective_may_be_minimised(tmp_path: Path, store: Store) -> None:
    objective = {"metric": "val/acc1", "mode": "min"}
    file = sweep_file(tmp_path, search__space=QUEUES, seeds=[1, 0], objective=objective)
    saved = saved_of(read_sweep_file(file), Evaluation())
    saved.write(store)
    finish(saved, store, 0.8, 0.2, 0.5, 0.7)
    assert resolve_run("small", store).row.label == "comodo queue_size=8"


def test_a_trial_by_its_key(saved: SweepRecord, store: Store) -> None:
    finish(saved, store, 0.8, 0.2)
    for row in saved.results(store).rows[:4]:
        for name in (row.trial.key, row.trial.key[:6]):
            assert resolve_run(name, store).row.trial == row.trial
    key = row.trial.key
    for name in (key[:5], key[1:], f"{key}0"):
        with raises(SelectionError, "selection.unknown"):
            resolve_run(name, store)


def test_an_ambiguous_beginning(
    saved: SweepRecord, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty name, all trials match."""
    monkeypatch.setattr("comodo.deploy.selection.MIN_KEY_LENGTH", 0)
    with raises(SelectionError, "selection.ambiguous"):
        resolve_run("", store)


def test_what_one_sweep_lacks_another_may_have(
    tmp_path: Path, saved: SweepRecord, store: Store
) -> None:
    """A trial is finished in a sweep that needs fewer measures."""
    more = read_sweep_file(sweep_file(tmp_path, name="more", search__space=QUEUES, seeds=[1, 0]))
    saved_of(more, Evaluation(("probe", "knn"))).write(store)
    finish(saved, store, 0.8)
    key = rows_of(saved, store, 8)[0].trial.key
    assert resolve_run(key, store).record.sweep.name == "small"


@pytest.mark.slow
def test_a_run_of_mlflow(saved: SweepRecord, store: Store, tmp_path: Path) -> None:
    finish(saved, store, 0.8, 0.8, 0.5, 0.5)
    row = rows_of(saved, store, 16)[1]
    tracker = Tracker(store, "small", {"name": "small"})
    write_json(tmp_path / "t/student/student.json", {})
    tracker.finish(row.trial, "x", TrialResult(trained_record(row.trial), {}), tmp_path / "t")
    tracker.settle()
    runs = find_runs("small", store)
    assert runs is not None
    assert resolve_run(runs.trials[row.trial.key], store).row.trial == row.trial
    assert resolve_run(runs.parent, store).row.label == "comodo queue_size=8"
    with raises(SelectionError, "selection.unknown"):
        resolve_run("0" * 32, store)


def test_hand_crafted_features_are_never_selected(tmp_path: Path, store: Store) -> None:
    """They have no student, however good they are."""
    references = ["none", "features"]
    file = sweep_file(tmp_path, search__space=QUEUES, seeds=[0], references=references)
    saved = saved_of(read_sweep_file(file), Evaluation())
    saved.write(store)
    for row in saved.results(store).rows:
        answer(store, row.trial, 0.9 if row.trial.is_hand_crafted else 0.5)
    found = resolve_run("small", store)
    assert found.row.label.startswith("comodo")
    assert found.results.selected in found.results.by_label
    assert found.results.selected != "hand-crafted features"
    (features,) = found.results.by_label["hand-crafted features"]
    with raises(SelectionError, "selection.no-student", features.trial.key, "small"):
        resolve_run(features.trial.key, store)


def test_an_unfinished_trial_is_refused(saved: SweepRecord, store: Store) -> None:
    begun, failed = rows_of(saved, store, 8)
    folder = store.folder("trials", begun.trial.key)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    end = {"state": "failed", "reason": "the loss became nan"}
    write_json(store.folder("sweeps", "small") / "ended.json", {failed.trial.key: end})
    with raises(SelectionError, "selection.unfinished"):
        resolve_run(begun.trial.key, store)
    with raises(SelectionError, "selection.unfinished", "the loss became nan"):
        resolve_run(failed.trial.key, store)
    with raises(SelectionError, "selection.none-finished"):
        resolve_run("small", store)


def test_nothing_there(saved: SweepRecord, store: Store, tmp_path: Path) -> None:
    with raises(SelectionError, "selection.unknown"):
        resolve_run("smal", store)
    (store.folder("sweeps", "small") / "sweep.json").unlink()
    with raises(SelectionError, "selection.unknown", "small"):
        resolve_run("abcdef", store)
    with raises(StatusError, "status.no-trials", "sweep.json"):
        resolve_run("small", store)
    with raises(SelectionError, "selection.unknown"):
        resolve_run("small", Store(tmp_path / "empty"))
