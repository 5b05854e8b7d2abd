"""Students as logged models in a real MLflow on SQLite."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModel
from mlflow.tracking import MlflowClient

from comodo.core.store import Store, write_json
from comodo.data.window_sets import WindowSet
from comodo.search.trial import Evaluation, Trial, TrialResult
from comodo.tracking.runs import find_runs, tracking_uri
from comodo.tracking.tracker import Tracker
from tests.helpers import trained_record, trial_config
from tests.paths import ROOT

HERE = Trial(trial_config(learning_rate=0.01), 0, "w", "f", Evaluation(targets={"other": "p"}))
THERE = Trial(trial_config(dataset="other"), 0, "p", "g", Evaluation(targets={"d": "w"}))
MEASURED = (
    (
        HERE,
        "comodo learning_rate=0.012345678 seed 0",
        {"test/acc1": 0.7, "on/other/test/acc1": 0.6, "student/parameters": 9.0},
    ),
    (THERE, "comodo other seed 0", {"test/acc1": 0.9, "on/d/test/acc1": 0.5}),
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_json(tmp_path / "t/student/student.json", {})
    return Store(tmp_path)


def finish_all(store: Store) -> None:
    tracker = Tracker(store, "s", {})
    windows = {
        name: WindowSet(16 * digit, store.root / name, {"test": 2}, {}, {}, {})
        for name, digit in (("d", "1"), ("other", "2"))
    }
    tracker.begin("asked", "described", str, windows, load=False)
    for trial, name, metrics in MEASURED:
        tracker.finish(trial, name, TrialResult(trained_record(trial), metrics), store.root / "t")
    tracker.close()


def best_on(dataset: str, above: float, store: Store) -> list[LoggedModel]:
    """By the query that docs/mlflow.md shows."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/mlflow.md").read_text(), re.DOTALL | re.MULTILINE
    )
    for shown, here in (
        ("sqlite:///.comodo/mlflow/mlflow.db", tracking_uri(store)),
        ("> 0.5", f"> {above}"),
        ('"demo"', f'"{dataset}"'),
    ):
        assert shown in code
        code = code.replace(shown, here)
    names: dict[str, Any] = {}
    try:
        exec(code, names)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # as nothing was set
    return list(names["best"])


def test_the_best_student_on_a_data_set_is_one_query(store: Store) -> None:
    for _ in range(2):  # as when the same command is run again
        finish_all(store)
    runs = find_runs("s", store)
    assert runs is not None
    here, there = best_on("d", 0, store)
    assert here.source_run_id == runs.trials[HERE.key]
    assert there.source_run_id == runs.trials[THERE.key]
    assert [m.source_run_id for m in best_on("other", 0, store)] == [
        there.source_run_id,
        here.source_run_id,
    ]
    assert [model.model_id for model in best_on("d", 0.65, store)] == [here.model_id]
    assert here.name == "comodo learning_rate=0_01235 seed 0" and here.model_type == "student"
    assert here.status == "READY" and here.tags["comodo.trial"] == HERE.key
    assert here.params["learning_rate"] == "0.01" and here.params["seed"] == "0"
    found = {(m.key, m.dataset_name, m.dataset_digest): m.value for m in here.metrics or ()}
    assert len(here.metrics or ()) == 3
    assert found == {
        ("test/acc1", "d", 16 * "1"): 0.7,
        ("test/acc1", "other", 16 * "2"): 0.6,
        ("student/parameters", "d", 16 * "1"): 9.0,
    }
    client = MlflowClient(runs.uri)
    run = client.get_run(runs.trials[HERE.key])
    assert run.data.metrics["test/acc1"] == 0.7
    assert len(client.get_metric_history(run.info.run_id, "test/acc1")) == 1
    names = [r.info.run_name for r in client.search_runs([runs.experiment])]
    assert sorted(name for name in names if name.startswith("students")) == [
        "students on d",
        "students on other",
    ]


def test_a_student_of_an_earlier_version_gets_its_model(store: Store) -> None:
    finish_all(store)
    client = MlflowClient(tracking_uri(store))
    for model in best_on("d", 0, store):
        client.delete_logged_model(model.model_id)
    runs = find_runs("s", store)
    assert runs is not None and best_on("d", 0, store) == []
    # An earlier version has not even noted that there was one.
    with sqlite3.connect(tracking_uri(store).removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM inputs WHERE source_type = 'RUN_OUTPUT'")
    finish_all(store)
    assert len(best_on("d", 0, store)) == 2
    assert find_runs("s", store) == runs


def test_hand_crafted_features_are_no_student(store: Store) -> None:
    tracker = Tracker(store, "s", {})
    trial = HERE.hand_crafted
    tracker.finish(
        trial, "t", TrialResult(trained_record(trial), {"test/acc1": 0.8}), store.root / "t"
    )
    tracker.close()
    assert best_on("d", 0, store) == []
