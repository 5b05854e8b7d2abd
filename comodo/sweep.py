"""A sweep file to finished trials: prepare, encode and pack what is missing, then Ray Tune.

What was asked and how it ended is kept by the ledger; results lie with the trials. So running the
same command again goes on where the last run stopped, and Ray's own experiment state is thrown
away.
"""

from pathlib import Path

from comodo import report
from comodo.arrays import pack_windows
from comodo.cluster import await_room, connect
from comodo.config import Sweep
from comodo.console import console
from comodo.identity import Trial, read_result
from comodo.ledger import Ledger
from comodo.limits import Limits
from comodo.names import Names
from comodo.precheck import evaluation_of
from comodo.results import Results, Row
from comodo.stages import encode_all, prepare_all, refuse_students, refuse_unlabelled
from comodo.store import Store
from comodo.tracking import Tracker
from comodo.tuning import run_missing


def run_sweep(sweep: Sweep, store: Store) -> tuple[Results, Path]:
    """Runs what is missing of a sweep; returns its results and the folder of its report.

    Raises:
        ConfigError, DatasetError, PrepareError, EncodeError, ClusterError: with the mend.
    """
    connect(dashboard=sweep.resources.workers > 1)
    concurrent = await_room(sweep.resources)
    window_sets = prepare_all(sweep, store)
    refuse_unlabelled(sweep, window_sets)
    refuse_students(sweep)
    packed = {name: pack_windows(store, window_sets[name].key) for name in sweep.evaluate_on}
    classes = {name: windows.classes.get("train", {}) for name, windows in window_sets.items()}
    evaluation = evaluation_of(sweep, packed, classes)
    ledger = Ledger(sweep, store, encode_all(sweep, window_sets, store), evaluation)
    tracker = Tracker(store, sweep.name, sweep.model_dump(mode="json"))
    try:
        leaks = {name: windows.leaks for name, windows in window_sets.items()}
        return _run(sweep, store, ledger, tracker, concurrent, leaks)
    except BaseException:
        tracker.abandon()
        raise


def _run(
    sweep: Sweep,
    store: Store,
    ledger: Ledger,
    tracker: Tracker,
    concurrent: int,
    leaks: dict[str, dict[str, str]],
) -> tuple[Results, Path]:
    """The trials that are missing, then the records of all, and the report."""
    limits = Limits(sweep, ledger.folder)
    stopped = run_missing(ledger, tracker, limits, concurrent)
    names = Names(sweep)
    for trial in ledger.trials.values():  # what other sweeps or earlier runs finished
        if (result := read_result(trial, store)) is not None:
            folder = store.folder("trials", trial.key)
            tracker.finish(trial, names.trial(trial), result, folder)
    rows = [_row(ledger, names, trial, stopped) for trial in ledger.trials.values()]
    results = Results(sweep, rows, store, leaks)
    folder = report.write(results, ledger.folder)
    tracker.close(folder)
    if stopped is not None:
        console.print(f"stopped: {stopped}", style="yellow", markup=False)
    return results, folder


def _row(ledger: Ledger, names: Names, trial: Trial, stopped: str | None) -> Row:
    result, label = read_result(trial, ledger.store), names.configuration(trial)
    if result is not None:
        return Row(trial, label, "finished", result["metrics"])
    if end := ledger.ended.get(trial.key):
        return Row(trial, label, end["state"], {}, end["reason"])
    folder = ledger.store.folder("trials", trial.key)
    begun = (folder / "checkpoint.pt").exists() or (folder / "trained.json").exists()
    return Row(trial, label, "half done" if begun else "not begun", {}, stopped or "")
