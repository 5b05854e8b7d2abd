"""Records finished trials in MLflow from the store: at the end of a sweep, and of sweeps that were
run without MLflow. Starts nothing."""

import time
from functools import partial

from comodo.core.console import console
from comodo.core.store import Store
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.report import mlflow_pages, mlflow_views
from comodo.report.report import ReportError, write_report
from comodo.search.labels import Labels
from comodo.search.status import StatusError, read_status, sweep_names
from comodo.search.trial import read_result
from comodo.tracking import runs
from comodo.tracking.tracker import Tracker


def record_ends(results: Results, tracker: Tracker, store: Store) -> None:
    """Completes the MLflow runs of all trials that have ended; other sweeps or earlier runs have
    finished some."""
    labels = Labels(results.sweep)
    for row in results.rows:
        name, folder = labels.trial(row.trial), store.folder("trials", row.trial.key)
        if row.state == "finished":
            result = read_result(row.trial, store)
            assert result is not None
            tracker.finish(row.trial, name, result, folder)
        elif row.state in ("pruned", "failed"):
            tracker.recall(row.trial, name, row.state, row.reason, folder)
    tracker.settle()


def record_from_store(store: Store) -> None:
    """Records the sweeps that were run with `--no-mlflow`, as far as they are; what is recorded
    already is left as it is."""
    for name in sweep_names(store):
        try:
            record = read_sweep_record(name, store)
        except StatusError:  # no trials yet, or of another version
            continue
        progress = read_status(name, store).progress
        if record.mlflow or progress is None:
            continue
        try:
            if runs.recorded(name, store) == progress.updated:
                continue
        except runs.FAILURES as error:
            runs.print_failure(error, "the sweeps of the store are not recorded")
            return
        console.print(f"recording {name} in MLflow, from the store", markup=False)
        _record(record, store, progress.state, progress.updated)


def _record(record: SweepRecord, store: Store, state: str, updated: str) -> None:
    sweep, results = record.sweep, record.results(store)
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"))
    tracker.begin(
        mlflow_pages.sweep_question(sweep),
        mlflow_pages.running_description(sweep, record.command),
        partial(
            mlflow_views.trials_view, sweep, time.time(), unlabelled=record.evaluation.unlabelled
        ),
        record.window_sets(store),
        load=False,  # of this machine, which has not run it
    )
    record_ends(results, tracker, store)
    try:
        write_report(results, record, store)
    except ReportError as error:
        console.print(str(error), style="yellow", markup=False)
    tracker.close({"finished": "FINISHED", "running": "RUNNING"}.get(state, "KILLED"), updated)
