"""From a sweep file to finished trials: prepares, encodes and packs what is missing, then trains.

The ledger records which trials were requested and how they ended; results are stored with the
trials. So the same command continues where the last run stopped, and Ray's own experiment state is
discarded. Does not know how a stage works.
"""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from comodo.config import Sweep
from comodo.core.console import console
from comodo.core.lease import RETRY_SECONDS, STALE_SECONDS, Lease, LeaseError
from comodo.core.store import Store
from comodo.data.packing import pack_resized, pack_windows
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import mlflow_pages, mlflow_views, report
from comodo.report.recording import record_ends
from comodo.runtime.cluster import await_room, connect, end_idle_actors, machines, refuse_sqlite
from comodo.runtime.progress import stages_recorded
from comodo.runtime.stages import encode_all, lengths_taken, prepare_all, refuse_unlabelled
from comodo.runtime.tune import run_missing
from comodo.search.budget import BudgetTracker, refuse_shared
from comodo.search.ledger import Ledger
from comodo.search.precheck import evaluation_of
from comodo.search.shared_ledger import SharedLedger, forget_failures
from comodo.tracking.runs import tracking_uri
from comodo.tracking.tracker import Tracker


def run_sweep(
    sweep: Sweep, store: Store, command: str, mlflow: bool = True, shared: bool = False
) -> tuple[Results, Path]:
    """Runs what is missing of a sweep; returns its results and the folder of its report, which
    shows `command`: it runs the sweep again.

    Args:
        mlflow: make records in MLflow; otherwise `report.recording` makes them from the store.
        shared: other drivers may run the sweep's trials at the same time. The first one leads: it
            writes the report and the records, once all trials have ended. The others run trials
            while there are any left; if the leading driver is gone by then, one of them leads.

    Raises ConfigError, DatasetError, PrepareError, EncodeError, ClusterError or StoreError, whose
    text says how to fix it, and LeaseError if another driver runs the sweep and one of the two does
    not share it: nothing was changed.
    """
    if shared:
        refuse_shared(sweep)
    lease = Lease(store, "sweeps", sweep.name, shares=shared)
    run = partial(_run_all, sweep, store, command, lease, shared=shared)
    try:
        if not _take(lease, sweep.name, shared):
            console.print(
                f"the sweep is led by {lease.holder}; its trials are shared", markup=False
            )
            helped = run(mlflow=False, leads=False)
            while not lease.take():
                if lease.holder_lives:
                    left = f"{lease.holder} writes the report"
                    console.print(f"nothing is left to start here; {left}", markup=False)
                    return helped
                time.sleep(RETRY_SECONDS)
        elif shared:
            forget_failures(sweep, store)
        return run(mlflow=mlflow, leads=True)
    finally:
        lease.release()


def _take(lease: Lease, name: str, shared: bool) -> bool:
    """Allows one driver at a time: a second one names the first in its error. False: both share the
    sweep, and the first one leads."""
    reported = False
    while not lease.take():
        if shared and lease.holder_shares:
            return False
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
    return True


def _run_all(
    sweep: Sweep, store: Store, command: str, lease: Lease, mlflow: bool, shared: bool, leads: bool
) -> tuple[Results, Path]:
    """All stages from recordings to the report; each does only what is missing."""
    with stages_recorded(sweep.name, store) if leads else nullcontext():
        connect(dashboard=sweep.resources.workers > 1)
        if mlflow:
            refuse_sqlite(machines(sweep.resources), tracking_uri(store))  # before renting one
        await_room(sweep.resources)
        lengths = lengths_taken(sweep, store)  # before hours of preparing
        window_sets = prepare_all(sweep, store)
        refuse_unlabelled(sweep, window_sets)
        packed = {name: pack_windows(store, window_sets[name].key) for name in sweep.evaluate_on}
        evaluation = evaluation_of(sweep, packed, window_sets)
        arrays = encode_all(sweep, window_sets, store)
        for windows in {*packed.values(), *(windows for windows, _ in arrays.values())}:
            for samples in lengths:
                pack_resized(store, windows, samples)
        end_idle_actors()
    ledger: Ledger
    if shared:
        ledger = SharedLedger(sweep, store, arrays, evaluation, leads)
    else:
        ledger = Ledger(sweep, store, arrays, evaluation)
    ledger.record_keys()
    keys = {name: windows.key for name, windows in window_sets.items()}
    record = SweepRecord.of(sweep, command, arrays, evaluation, keys, mlflow)
    if leads:
        record.write(store)
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"), mlflow)
    try:
        tracker.begin(
            mlflow_pages.sweep_question(sweep),
            mlflow_pages.running_description(sweep, command),
            partial(mlflow_views.trials_view, sweep, time.time(), unlabelled=evaluation.unlabelled),
            window_sets,
        )
        limits = BudgetTracker(sweep, ledger.folder, saves=leads)
        try:
            stopped = run_missing(ledger, tracker, limits, lease)
        except KeyboardInterrupt:
            ledger.release()  # before the report, which takes a while
            if leads:
                console.print("interrupted; the report is written as far as it is", style="yellow")
                _, folder = _write_report(ledger, tracker, record)
                console.print(f"report:  {folder}/report.html", markup=False)
            raise
        if leads:
            results, folder = _write_report(ledger, tracker, record)
        else:
            results, folder = record.results(store), report.report_folder(sweep.name, store)
        tracker.close()
    except LeaseError:  # the MLflow runs belong to another driver now
        raise
    except BaseException:
        tracker.close("KILLED")
        raise
    finally:
        ledger.release()
    if stopped is not None:
        console.print(f"stopped: {stopped}", style="yellow", markup=False)
    return results, folder


def _write_report(ledger: Ledger, tracker: Tracker, record: SweepRecord) -> tuple[Results, Path]:
    """The results and the folder of the report."""
    results = record.results(ledger.store)
    record_ends(results, tracker, ledger.store)
    try:
        folder = report.write_report(results, record, ledger.store, record.mlflow)
    except report.ReportError as error:  # the trials are in the store all the same
        folder = report.report_folder(ledger.sweep.name, ledger.store)
        console.print(str(error), style="yellow", markup=False)
    return results, folder
