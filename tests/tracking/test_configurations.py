"""Runs of configurations in a real MLflow on SQLite."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from comodo.core.store import Store, write_json
from comodo.search.trial import Trial, TrialResult
from comodo.tracking.configurations import CONFIGURATION, Configuration, record
from comodo.tracking.runs import PARENT, SWEEP_RUN, SweepRuns, find_runs
from comodo.tracking.tracker import Tracker
from tests.helpers import trained_record, trial_config

TRIALS = [
    Trial(trial_config(epochs=epochs), seed, "w", "f") for epochs in (1, 2) for seed in (0, 1)
]
LABELS = ["a", "a", "b", "b"]
LABEL_OF = {trial.key: label for trial, label in zip(TRIALS, LABELS, strict=True)}


def configuration(label: str, **changes: Any) -> Configuration:
    found = Configuration(
        label, f"0.5 {label}", "| table |", {"val/acc1": 0.5}, {"epochs": "1"}, {}
    )
    return replace(found, **changes)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path)


def finish_all(store: Store) -> None:
    write_json(store.root / "t/student/student.json", {})
    tracker = Tracker(store, "s", {})
    for trial, label in zip(TRIALS, LABELS, strict=True):
        result = TrialResult(trained_record(trial), {"val/acc1": 0.5, "test/acc1": 0.4})
        tracker.finish(trial, f"{label} seed {trial.seed}", result, store.root / "t")
    tracker.close()


@pytest.fixture
def recorded(store: Store) -> Iterator[SweepRuns]:
    finish_all(store)
    found = find_runs("s", store)
    assert found is not None
    yield found


def as_the_page_opens(of: SweepRuns) -> list[Run]:
    """The runs without a parent, but for the sweep's, the newest first, as MLflow's page has them;
    one that is left out, or twice there, would be seen."""
    client = MlflowClient(of.uri)
    found = client.search_runs([of.experiment], order_by=["attributes.start_time DESC"])
    return [r for r in found if PARENT not in r.data.tags and r.info.run_id != of.parent]


def parents(of: SweepRuns) -> list[str]:
    """Of each trial, the label of the run that it is below."""
    client = MlflowClient(of.uri)
    above = [client.get_run(of.trials[t.key]).data.tags[PARENT] for t in TRIALS]
    return [client.get_run(id).data.tags.get(CONFIGURATION, "sweep") for id in above]


def test_configurations_are_what_the_page_opens_with(recorded: SweepRuns) -> None:
    best = configuration("b", tags={"selected": "yes"}, metrics={"val/acc1": 0.7})
    for _ in range(2):
        record([best, configuration("a")], LABEL_OF, "view", recorded)
    first, second = as_the_page_opens(recorded)
    assert [first.data.tags[CONFIGURATION], second.data.tags[CONFIGURATION]] == ["b", "a"]
    assert (first.info.run_name, first.info.status) == ("0.5 b", "FINISHED")
    assert first.data.metrics == {"val/acc1": 0.7} and first.data.params == {"epochs": "1"}
    assert first.data.tags["selected"] == "yes"
    assert first.data.tags["mlflow.note.content"] == "| table |"
    assert first.outputs is not None and len(first.outputs.model_outputs) == 2
    assert parents(recorded) == LABELS
    experiment = MlflowClient(recorded.uri).get_experiment(recorded.experiment)
    assert experiment.tags[f"mlflow.sharedViewState.comodo-{recorded.parent}"] == "view"


def test_the_order_is_kept_right(recorded: SweepRuns) -> None:
    a, b = configuration("a"), configuration("b")
    record([b], LABEL_OF, "view", recorded)
    assert parents(recorded) == ["sweep", "sweep", "b", "b"]
    record([b, a], LABEL_OF, "view", recorded)
    before = [run.info.run_id for run in as_the_page_opens(recorded)]
    record([replace(b, name="0.6 b", metrics={"val/acc1": 0.6}), a], LABEL_OF, "view", recorded)
    first, second = as_the_page_opens(recorded)
    assert [first.info.run_id, second.info.run_id] == before, "they are made again for nothing"
    assert (first.info.run_name, first.data.metrics["val/acc1"]) == ("0.6 b", 0.6)
    record([a, b], LABEL_OF, "view", recorded)
    labels = [run.data.tags[CONFIGURATION] for run in as_the_page_opens(recorded)]
    assert labels == ["a", "b"]
    assert parents(recorded) == LABELS


def test_trials_are_found_wherever_they_are(store: Store, recorded: SweepRuns) -> None:
    """Also those of an earlier version, without the tag: they are moved, and not made again."""
    client = MlflowClient(recorded.uri)
    for run in recorded.trials.values():
        client.delete_tag(run, SWEEP_RUN)
    assert find_runs("s", store) == recorded
    record([configuration("a"), configuration("b")], LABEL_OF, "view", recorded)
    assert parents(recorded) == LABELS
    finish_all(store)
    assert find_runs("s", store) == recorded
    assert len(as_the_page_opens(recorded)) == 2
    assert parents(recorded) == LABELS


def test_mlflow_that_is_away_stops_nothing(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    away = SweepRuns("http://127.0.0.1:9", "1", "p", {})
    record([configuration("a")], {}, "view", away)
    assert "configurations are not recorded" in capsys.readouterr().out.replace("\n", " ")
