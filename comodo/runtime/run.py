"""From a sweep file to finished trials: prepares, encodes and packs what is missing, then trains.

The ledger records which trials were requested and how they ended; results are stored with the
trials. So the same command continues where the last run stopped, and Ray's own experiment state is
discarded. Does not know how a stage works.
"""

import time
from functools import partial
from pathlib import Path

from comodo.config import Sweep
from comodo.core.console import console
from comodo.core.lease import RETRY_SECONDS, STALE_SECONDS, Lease, LeaseError
from comodo.core.store import Store
from comodo.data.packing import pack_resized, pack_windows
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import mlflow_pages, report
from comodo.runtime.cluster import await_room, connect, end_idle_actors, machines, refuse_sqlite
from comodo.runtime.progress import stages_recorded
from comodo.runtime.stages import encode_all, lengths_taken, prepare_all, refuse_unlabelled
from comodo.runtime.tune import run_missing
from comodo.search.budget import BudgetTracker
from comodo.search.labels import Labels
from comodo.search.ledger import Ledger
from comodo.search.precheck import evaluation_of
from comodo.search.trial import read_result
from comodo.tracking.runs import tracking_uri
from comodo.tracking.tracker import Tracker


def run_sweep(sweep: Sweep, store: Store, command: str) -> tuple[Results, Path]:
    """Runs what is missing of a sweep; returns its results and the folder of its report, which
    shows `command`: it runs the sweep again.

    Raises ConfigError, DatasetError, PrepareError, EncodeError, ClusterError or StoreError, whose
    text says how to fix it, and LeaseError if another driver runs the sweep: nothing was changed.
    """
    lease = Lease(store, "sweeps", sweep.name)
    _take(lease, sweep.name)
    try:
        return _run_all(sweep, store, command, lease)
    finally:
        lease.release()


def _take(lease: Lease, name: str) -> None:
    """Allows one driver at a time: a second one names the first in its error."""
    reported = False
    while not lease.take():
        if lease.holder_lives:
            raise LeaseError(
                "sweep.already-running",
                f"the sweep '{name}' is being run by {lease.holder}. Wait for it (comodo status "
                f"{name}), or end that process and run the same command again",
            )
        if not reported:
            reported = True
            console.print(
                f"the sweep '{name}' was being run by {lease.holder}; waiting up to "
                f"{STALE_SECONDS:g} s to see whether it still is",
                markup=False,
            )
        time.sleep(RETRY_SECONDS)


def _run_all(sweep: Sweep, store: Store, command: str, lease: Lease) -> tuple[Results, Path]:
    """All stages from recordings to the report; each does only what is missing."""
    with stages_recorded(sweep.name, store):
        connect(dashboard=sweep.resources.workers > 1)
        refuse_sqlite(machines(sweep.resources), tracking_uri(store))  # before a machine is rented
        await_room(sweep.resources)
        lengths = lengths_taken(sweep)  # before hours of preparing
        window_sets = prepare_all(sweep, store)
        refuse_unlabelled(sweep, window_sets)
        packed = {name: pack_windows(store, window_sets[name].key) for name in sweep.evaluate_on}
        evaluation = evaluation_of(sweep, packed, window_sets)
        arrays = encode_all(sweep, window_sets, store)
        for windows in {*packed.values(), *(windows for windows, _ in arrays.values())}:
            for samples in lengths:
                pack_resized(store, windows, samples)
        end_idle_actors()
    ledger = Ledger(sweep, store, arrays, evaluation)
    ledger.record_keys()
    keys = {name: windows.key for name, windows in window_sets.items()}
    record = SweepRecord.of(sweep, command, arrays, evaluation, keys)
    record.write(store)
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"))
    try:
        tracker.begin(
            mlflow_pages.sweep_question(sweep),
            mlflow_pages.running_description(sweep, command),
            partial(mlflow_pages.saved_view, sweep, time.time(), unlabelled=evaluation.unlabelled),
            window_sets,
        )
        limits = BudgetTracker(sweep, ledger.folder)
        try:
            stopped = run_missing(ledger, tracker, limits, lease)
        except KeyboardInterrupt:
            console.print("interrupted; the report is written as far as it is", style="yellow")
            _, folder = _write_report(ledger, tracker, record)
            console.print(f"report:  {folder}/report.html", markup=False)
            raise
        results, folder = _write_report(ledger, tracker, record)
        tracker.close()
    except LeaseError:  # the MLflow runs belong to another driver now
        raise
    except BaseException:
        tracker.close("KILLED")
        raise
    if stopped is not None:
        console.print(f"stopped: {stopped}", style="yellow", markup=False)
    return results, folder


def _write_report(ledger: Ledger, tracker: Tracker, record: SweepRecord) -> tuple[Results, Path]:
    """The results and the folder of the report."""
    _record_ends(ledger, tracker)
    results = record.results(ledger.store)
    try:
        folder = report.write_report(results, record, ledger.store)
    except report.ReportError as error:  # the trials are in the store all the same
        folder = report.report_folder(ledger.sweep.name, ledger.store)
        console.print(str(error), style="yellow", markup=False)
    return results, folder


def _record_ends(ledger: Ledger, tracker: Tracker) -> None:
    """Completes the MLflow runs of all trials; other sweeps or earlier runs have finished some."""
    labels = Labels(ledger.sweep)
    for trial in ledger.trials.values():
        folder = ledger.store.folder("trials", trial.key)
        if (result := read_result(trial, ledger.store)) is not None:
            tracker.finish(trial, labels.trial(trial), result, folder)
        elif (end := ledger.ended.get(trial.key)) is not None and end.state == "pruned":
            tracker.recall(trial, labels.trial(trial), end.reason, folder)
    tracker.settle()
