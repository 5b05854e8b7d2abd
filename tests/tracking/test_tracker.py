"""Records in a real MLflow on SQLite."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient

from comodo.core.provenance import commit
from comodo.core.store import Store, write_json
from comodo.data.window_sets import WindowSet
from comodo.search.trial import Evaluation, Trial, TrialResult
from comodo.tracking.runs import (
    STORE,
    SweepRuns,
    attach,
    find_runs,
    tracking_uri,
)
from comodo.tracking.runs import TRIAL as TRIAL_TAG
from comodo.tracking.tracker import Tracker
from tests.helpers import trained_record, trial_config

HISTORY: list[dict[str, Any]] = [
    {"epoch": epoch, "train/loss": 1 / epoch, "val/quick_acc1": 0.1 * epoch} for epoch in (1, 2, 3)
]
TRIAL = Trial(trial_config(), 3, "w", "f")
RESULT = TrialResult(trained_record(TRIAL, history=HISTORY), {"val/acc1": 0.5, "test/acc1": 0.4})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished trial's folder."""
    write_json(tmp_path / "t/student/student.json", {})
    return tmp_path / "t"


def runs(store: Store) -> tuple[Any, list[Any]]:
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    parents = [run for run in found if "comodo.sweep" in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in found if TRIAL_TAG in run.data.tags]


def test_a_trial_is_one_child_run_with_everything(store: Store, folder: Path) -> None:
    trial = Trial(trial_config(), 3, "w", "f")
    tracker = Tracker(store, "s", {"name": "s"})
    tracker.start(trial, "comodo seed 3")
    tracker.epoch(trial, HISTORY[0])
    tracker.finish(trial, "comodo seed 3", RESULT, folder)
    tracker.settle()
    for _ in range(2):  # as when the same command is run again
        again = Tracker(store, "s", {"name": "s"})
        again.finish(trial, "comodo seed 3", RESULT, folder)
        again.settle()
    parent, (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "comodo seed 3"
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    for made in (parent, run):
        assert made.info.user_id == made.data.tags["mlflow.user"] != "unknown"
        assert made.data.tags["mlflow.source.name"] == "comodo"
        known = (commit() or "").removesuffix("-dirty")
        assert made.data.tags.get("mlflow.source.git.commit", "") == known
    assert run.data.params["method.queue_size"] == "10"
    assert run.data.params["seed"] == "3"
    assert run.data.metrics["test/acc1"] == 0.4
    client = MlflowClient(tracking_uri(store))
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert len(client.get_metric_history(run.info.run_id, "test/acc1")) == 1
    assert sorted((m.step, m.value) for m in losses) == [(1, 1), (2, 0.5), (3, 1 / 3)]
    paths = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert paths == {"result.json", "student"}
    (stored,) = store.root.glob("mlflow/artifacts/**/student.json")
    assert stored.samefile(folder / "student/student.json")  # it is on the disk once
    assert run.info.artifact_uri.startswith(str(store.root / "mlflow"))


def test_what_a_killed_driver_left_is_closed_and_gone_on_with(store: Store, folder: Path) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    killed = Tracker(store, "s", {})
    killed.start(trial, "t")
    killed.settle()
    again = Tracker(store, "s", {})
    again.settle()
    assert runs(store)[1][0].info.status == "KILLED"
    again.start(trial, "t")
    again.settle()
    assert runs(store)[1][0].info.status == "RUNNING"
    again.end(trial, "FAILED", "because ![p](http://evil/p.png)")
    again.settle()
    (run,) = runs(store)[1]
    reason = run.data.tags["comodo.reason"]
    assert (run.info.status, reason) == ("FAILED", "because ![p](http://evil/p.png)")
    assert run.data.tags["mlflow.note.content"] == r"because !\[p\](http://evil/p.png)"
    third = Tracker(store, "s", {})
    third.start(trial, "t")  # tried again
    third.settle()
    (run,) = runs(store)[1]
    assert not {"mlflow.note.content", "comodo.reason"} & run.data.tags.keys()


def test_an_unreachable_tracker_stops_nothing(
    store: Store,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    trial = Trial(trial_config(), 0, "w", "f")
    tracker = Tracker(store, "s", {})
    tracker.start(trial, "t")
    tracker.epoch(trial, HISTORY[0])
    tracker.close()
    said = capsys.readouterr().out
    assert said.count("training goes on") == 1
    assert "MLflow: 4 records could not be made; the same command, run again" in said
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    later = Tracker(store, "s", {})
    later.finish(trial, "t", RESULT, folder)
    later.settle()
    (run,) = runs(store)[1]
    history = MlflowClient(tracking_uri(store)).get_metric_history(run.info.run_id, "train/loss")
    assert len(history) == 3


def test_what_mlflow_refuses_is_left_out_and_the_rest_recorded(
    store: Store, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    tracker = Tracker(store, "s", {})
    tracker.start(trial, "t")
    tracker.epoch(trial, {"epoch": 1, "no/name?": 1.0})
    tracker.finish(trial, "t", RESULT, folder)
    tracker.close()
    assert capsys.readouterr().out.count("this is not recorded") == 1
    (run,) = runs(store)[1]
    assert (run.info.status, run.data.metrics["test/acc1"]) == ("FINISHED", 0.4)


def test_a_mistake_in_the_package_is_not_taken_for_an_outage(store: Store) -> None:
    tracker = Tracker(store, "s", {})
    tracker.epoch(None, {})  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        tracker.settle()


def test_what_was_pruned_while_mlflow_was_away_is_recorded_later(store: Store) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    folder = store.folder("trials", trial.key)
    folder.mkdir(parents=True)
    torch.save({"history": HISTORY}, folder / "checkpoint.pt")
    for _ in range(2):
        tracker = Tracker(store, "s", {})
        tracker.recall(trial, "t", "pruned", "stopped after epoch 3", folder)
        tracker.close()
    (run,) = runs(store)[1]
    assert (run.info.status, run.data.tags["comodo.reason"]) == ("KILLED", "stopped after epoch 3")
    history = MlflowClient(tracking_uri(store)).get_metric_history(run.info.run_id, "train/loss")
    assert len(history) == 3


def planted(folder: Path, kind: str) -> Path:
    """A file of a pruned trial that is not what the package writes."""
    name = (
        "history.json"
        if kind == "json"
        else "trained.json"
        if kind == "trained"
        else "checkpoint.pt"
    )
    path = folder / name
    if kind == "code":
        torch.save({"history": [folder]}, path)  # an object, which could run code
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "other":
        torch.save([torch.zeros(2)], path)
    elif kind == "strings":
        torch.save({"history": [{"epoch": "one"}]}, path)
    elif kind == "json":
        path.write_text('{"epoch": 1}')
    else:
        record = trained_record(Trial(trial_config(), 0, "w", "f"))
        replace(record, history="none").write(folder)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("kind", ["code", "text", "other", "strings", "json", "trained"])
def test_a_planted_file_of_a_pruned_trial_is_named_and_counts_as_absent(
    store: Store, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial(trial_config(), 0, "w", "f")
    folder = store.folder("trials", trial.key)
    folder.mkdir(parents=True)
    path = planted(folder, kind)
    tracker = Tracker(store, "s", {})
    tracker.recall(trial, "t", "pruned", "stopped after epoch 3", folder)
    tracker.close()
    (run,) = runs(store)[1]
    assert (run.info.status, run.data.tags["comodo.reason"]) == ("KILLED", "stopped after epoch 3")
    assert f"{path} cannot be read" in capsys.readouterr().out.replace("\n", "")


def test_a_database_that_was_cut_off_is_never_used(store: Store, tmp_path: Path) -> None:
    """The process is killed while MLflow makes its tables."""
    program = (
        "import sys; from comodo.core.store import Store; "
        "from comodo.tracking.tracker import Tracker; "
        "Tracker(Store(sys.argv[1]), 's', {}).settle()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    while not list((tmp_path / "mlflow").glob("*")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    process.wait()
    tracker = Tracker(store, "s", {})
    tracker.start(Trial(trial_config(), 0, "w", "f"), "t")
    tracker.settle()
    parent, (run,) = runs(store)
    assert (parent.info.status, run.info.status) == ("RUNNING", "RUNNING")


def test_the_report_finds_the_runs_and_is_attached(store: Store, folder: Path) -> None:
    assert find_runs("s", store) is None
    assert not store.folder("mlflow", "mlflow.db").exists()  # looking has made nothing
    trial = Trial(trial_config(), 3, "w", "f")
    tracker = Tracker(store, "s", {"name": "s"})
    tracker.finish(trial, "comodo seed 3", RESULT, folder)
    tracker.settle()
    assert find_runs("other", store) is None
    found = find_runs("s", store)
    parent, (run,) = runs(store)
    assert found is not None
    assert (found.parent, found.trials) == (parent.info.run_id, {trial.key: run.info.run_id})
    assert found.is_local
    place = f"experiments/{parent.info.experiment_id}/runs/{run.info.run_id}"
    assert found.link(found.run_page(run.info.run_id)) == f"http://127.0.0.1:5000/#/{place}"
    for name in ("report.html", "accuracy.png", "accuracy.svg"):
        (folder / name).touch()
    attach(folder, found, "the **best**", "the **answer**")
    client = MlflowClient(tracking_uri(store))
    names = {file.path for file in client.list_artifacts(found.parent, "report")}
    assert "report/report.html" in names
    (figure,) = client.list_artifacts(found.parent, "figures")
    assert figure.path == "figures/accuracy.png"
    assert client.get_run(found.parent).data.tags["mlflow.note.content"] == "the **best**"
    experiment = client.get_experiment(found.experiment)
    assert experiment.tags["mlflow.note.content"] == "the **answer**"


def test_trials_say_what_they_are_and_what_they_read(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    counts = {"train": 7, "val": 2, "test": 2}
    classes = {"train": {"walk": 3, "run": 4}}
    windows = {
        name: WindowSet(key, tmp_path / key, counts, classes, {}, {})
        for name, key in (("d", "1" * 16), ("other", "2" * 16), ("unused", "3" * 16))
    }
    evaluation = Evaluation(targets={"other": "p"})
    trial = Trial(trial_config(), 3, "w", "f", evaluation)
    tracker = Tracker(store, "s", {"name": "s"})
    tracker.begin("asked", "a **sweep**", str, windows)
    name = "comodo temperature=0.12345678901 seed 3"
    cost: dict[str, Any] = {
        "seconds": 2.5,
        "threads": 1,
        "workers": 2,
        "peak_memory": {"cpu": 3_000_000},
    }
    result = replace(RESULT, trained=replace(RESULT.trained, **cost))
    for _ in range(2):
        tracker.finish(trial, name, result, folder)
    tracker.close()
    parent, (run,) = runs(store)
    assert parent.data.tags["mlflow.note.content"] == "a **sweep**"
    experiment = MlflowClient(tracking_uri(store)).get_experiment_by_name("s")
    assert experiment is not None and experiment.tags["mlflow.note.content"] == "asked"
    id = parent.info.run_id
    assert experiment.tags[f"mlflow.sharedViewState.comodo-{id}-trials"] == id
    assert run.info.run_name == "comodo temperature=0.1235 seed 3"
    told = {key: value for key, value in run.data.tags.items() if "." not in key}
    assert told == {
        "dataset": "d",
        "teacher": "efficientnet-lite0",
        "student": "mantis",
        "method": "comodo",
        "protocol": "corrected",
        "configuration": "comodo temperature=0.12345678901",
    }
    inputs = {i.dataset.name: (i.dataset, i.tags[0].value) for i in run.inputs.dataset_inputs}
    assert {name: context for name, (_, context) in inputs.items()} == {
        "d": "training",
        "other": "testing",
    }
    assert inputs["d"][0].digest == "1" * 16
    assert json.loads(inputs["d"][0].profile) == {"windows": counts, "classes": 2}
    system = {key: value for key, value in run.data.metrics.items() if key.startswith("system/")}
    assert system == {
        "system/training_seconds": 2.5,
        "system/threads": 1,
        "system/workers": 2,
        "system/peak_memory_megabytes_cpu": 3,
    }


def test_the_machine_is_watched_until_the_sweep_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watchers() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name == "SystemMetricsMonitor"]

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1")
    used = "system/cpu_utilization_percentage"

    def steps() -> set[int]:
        run = runs(store)[0].info.run_id
        history = MlflowClient(tracking_uri(store)).get_metric_history(run, used)
        assert all(0 <= metric.value <= 100 for metric in history)
        return {metric.step for metric in history}

    known = set[int]()
    for status in ("FINISHED", "KILLED"):
        tracker = Tracker(store, "s", {})
        tracker.begin("", "", str, {})
        tracker.settle()
        assert len(watchers()) == 1
        for _ in range(300):
            if steps() > known:  # the second run of the command continues after the first
                break
            time.sleep(0.1)
        tracker.close(status)
        assert watchers() == []
        assert runs(store)[0].info.status == status
        assert steps() > known
        known = steps()


def test_the_load_of_a_short_sweep_is_recorded(store: Store) -> None:
    """It ends before the first mean over several readings."""
    tracker = Tracker(store, "s", {})
    tracker.begin("", "", str, {})
    tracker.settle()
    machine = tracker._machine
    assert machine is not None
    for _ in range(300):
        if all(monitor.metrics for monitor in machine.monitors):
            break
        time.sleep(0.1)
    tracker.close("FINISHED")
    run = runs(store)[0]
    assert "system/cpu_utilization_percentage" in run.data.metrics


def test_records_outlive_the_cache_of_a_bucket(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that an earlier version kept there, with the artifacts that they name."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store = Store("memory://lab")
    earlier = Tracker(Store(store.root), "s", {})  # its files are where the cache is
    earlier.finish(TRIAL, "t", RESULT, folder)
    earlier.close()
    assert (store.root / "mlflow/mlflow.db").exists()
    again = Tracker(store, "s", {})
    again.finish(TRIAL, "t", RESULT, folder)
    again.close()
    shutil.rmtree(tmp_path / "cache")
    found = find_runs("s", store)
    assert found is not None and found.trials.keys() == {TRIAL.key}
    client = MlflowClient(tracking_uri(store))
    files = {file.path for file in client.list_artifacts(found.trials[TRIAL.key])}
    assert files == {"result.json", "student"}


def test_two_stores_with_a_sweep_of_one_name_share_a_server(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, theirs = Trial(trial_config(), 0, "w", "f"), Store(tmp_path / "theirs")
    first = Tracker(store, "s", {})
    first.start(trial, "t")
    first.settle()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(store))  # a server for the other one
    second = Tracker(theirs, "s", {})
    second.finish(trial, "t", RESULT, folder)
    second.close()
    ours, other = find_runs("s", store), find_runs("s", theirs)
    assert ours is not None and other is not None
    assert ours.experiment == other.experiment and ours.parent != other.parent
    client = MlflowClient(tracking_uri(store))
    for found, status in ((ours, "RUNNING"), (other, "FINISHED")):
        assert found.trials.keys() == {trial.key}
        assert client.get_run(found.trials[trial.key]).info.status == status
        assert client.get_run(found.parent).info.status == status
    assert ours.runs_page() != other.runs_page()
    first.close()
    # As an earlier version made it. Whose it is, is known in the store's own database only.
    client.delete_tag(ours.parent, STORE)
    Tracker(store, "s", {}).close()
    assert find_runs("s", store) == ours
    assert find_runs("s", Store(tmp_path / "third")) is None


def test_a_password_is_not_for_reports() -> None:
    runs = SweepRuns("http://anna:secret@host:5000", "1", "p", {})
    assert runs.link("#/x") == "http://host:5000/#/x"


def test_an_experiment_that_was_deleted_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Tracker(store, "s", {}).close()
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    Tracker(store, "s", {}).close()
    assert client.get_experiment(experiment.experiment_id).lifecycle_stage == "active"
