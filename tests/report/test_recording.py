"""Records that are made from the store, in a real MLflow on SQLite."""

from collections import Counter
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from comodo.core.store import Store, write_json
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.report.recording import record_from_store
from comodo.search.ledger import Ledger
from comodo.search.records import ProgressRecord
from comodo.search.trial import Evaluation
from comodo.tracking.runs import SWEEP, TRIAL, tracking_uri
from tests.chaos.toy import ledger_of, sweep_of
from tests.helpers import answer, make_arrays


def sweep_in(store: Store, mlflow: bool) -> Ledger:
    """Four trials that were run: two have results, one has failed, one is not begun."""
    make_arrays(store)
    sweep = sweep_of({"seeds": [0, 1, 2, 3]})
    arrays = {("d", sweep.trial.teacher): ("w", "f")}
    SweepRecord.of(sweep, "comodo sweep FILE", arrays, Evaluation(), {}, mlflow).write(store)
    ledger = ledger_of(store, sweep)
    for _ in range(2):
        finish(ledger, store)
    failed = ledger.next_trial()
    assert failed is not None
    ledger.end(failed, "failed", "out of memory")
    progress(ledger, "running", "2026-01-01T00:00:00+00:00")
    return ledger


def finish(ledger: Ledger, store: Store) -> None:
    trial = ledger.next_trial()
    assert trial is not None
    answer(store, trial, 0.5)
    write_json(store.folder("trials", trial.key) / "student/student.json", {})
    ledger.end(trial, "finished", "")


def progress(ledger: Ledger, state: str, updated: str) -> None:
    record = ProgressRecord(updated=updated, state=state, pid=1, host="n1", done=0, planned=4)
    record.write(ledger.folder)


def states(store: Store) -> tuple[str, Counter[str]]:
    """The status of the sweep's run, and how many trials have each."""
    client = MlflowClient(tracking_uri(store))
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if SWEEP in run.data.tags)
    assert "report/report.html" in {
        file.path for file in client.list_artifacts(parent.info.run_id, "report")
    }
    return parent.info.status, Counter(r.info.status for r in runs if TRIAL in r.data.tags)


def test_a_sweep_without_mlflow_is_recorded_as_far_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path)
    ledger = sweep_in(store, mlflow=False)
    assert not read_sweep_record("toy", store).mlflow
    record_from_store(store)
    assert states(store) == ("RUNNING", {"FINISHED": 2, "FAILED": 1})
    assert "recording toy in MLflow" in capsys.readouterr().out
    record_from_store(store)
    assert "recording" not in capsys.readouterr().out, "what is recorded is recorded again"
    finish(ledger, store)
    progress(ledger, "finished", "2026-01-01T01:00:00+00:00")
    record_from_store(store)
    assert states(store) == ("FINISHED", {"FINISHED": 3, "FAILED": 1})


def test_a_sweep_that_its_driver_records_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path)
    sweep_in(store, mlflow=True)
    record_from_store(store)
    assert not (tmp_path / "mlflow").exists()
