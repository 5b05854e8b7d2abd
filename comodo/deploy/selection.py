"""Finds the trial that a person means by a trial's key, an MLflow run or a sweep's name.

Reads the store; asks MLflow only about names that look like one of its run ids.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comodo.core.errors import ComodoError, nearest
from comodo.core.store import Store
from comodo.search.status import StatusError, read_all, sweep_names

if TYPE_CHECKING:  # slow to import, and a wrong name is refused without them
    from comodo.evaluation.results import Results, TrialRow
    from comodo.evaluation.sweep_record import SweepRecord

MIN_KEY_LENGTH = 6  # letters of the beginning of a key
HEX = re.compile("[0-9a-f]*")
MLFLOW_RUN = re.compile("[0-9a-f]{32}")


class SelectionError(ComodoError, ValueError):
    """No single finished trial has this name."""


@dataclass(frozen=True)
class Selection:
    """A finished trial, with the sweep that it was found in."""

    record: "SweepRecord"
    results: "Results"
    row: "TrialRow"


def resolve_run(run: str, store: Store) -> Selection:
    """The finished trial that `run` names.

    `run` is a sweep's name, a trial's key (column `trial` of results.parquet) or at least its
    first six letters, or the id of a trial's or a sweep's run in MLflow. For a sweep, it is the
    first seed of the trained configuration with the best mean of the first objective over all
    seeds. The best seed would be a matter of luck.

    Raises SelectionError if no trial has this name, several have, it has not finished, or it has no
    student (hand-crafted features), and StatusError if the sweep of this name cannot be read.
    """
    names = sweep_names(store)
    if run in names:
        return _best_of(run, store)
    if len(run) < MIN_KEY_LENGTH or not HEX.fullmatch(run):
        raise SelectionError("selection.unknown", _unknown(run, names, store))
    readable = dict(_readable(store))
    sweep, keys = _from_mlflow(run, readable, store) if MLFLOW_RUN.fullmatch(run) else ("", set())
    if sweep:
        return _best_of(sweep, store)
    keys = keys | {run}
    matches = [
        Selection(record, results, row)
        for record, results in readable.values()
        for row in results.rows
        if row.trial.key.startswith(tuple(keys))
    ]
    found = sorted({match.row.trial.key for match in matches})
    if not found:
        unread = [name for name in names if name not in readable]
        more = f" (could not be read: {', '.join(unread)})" if unread else ""
        raise SelectionError("selection.unknown", _unknown(run, names, store) + more)
    if len(found) > 1:
        text = f"{len(found)} trials begin with '{run}': {', '.join(found)}; give more letters"
        raise SelectionError("selection.ambiguous", text)
    if matches[0].row.trial.is_hand_crafted:
        raise SelectionError(
            "selection.no-student",
            f"trial {found[0]} of sweep '{matches[0].record.sweep.name}' measures hand-crafted "
            "features, a reference without a student: there is no program to export or to profile; "
            "name a student's trial, or the sweep for its best one",
        )
    # A trial may be finished for one sweep while another sweep needs more measures.
    for match in matches:
        if match.row.state == "finished":
            return match
    record, row = matches[0].record, matches[0].row
    raise SelectionError(
        "selection.unfinished",
        f"trial {row.trial.key} ({row.label} {row.trial.repetition} of sweep "
        f"'{record.sweep.name}') is {row.state}{f' ({row.reason})' if row.reason else ''}; "
        f"to run it: {record.command}",
    )


def _best_of(name: str, store: Store) -> Selection:
    from comodo.evaluation.sweep_record import read_sweep_record

    record = read_sweep_record(name, store)
    results = record.results(store)
    label = results.best_trained
    if label is None:
        raise SelectionError(
            "selection.none-finished",
            f"sweep '{name}' has no trained configuration whose seeds have all finished with "
            f"{record.sweep.objectives[0].metric}; to continue it: {record.command}",
        )
    of_first_seed = [r for r in results.by_label[label] if r.trial.seed == record.sweep.seeds[0]]
    return Selection(record, results, min(of_first_seed, key=lambda row: row.trial.number))


def _readable(store: Store) -> Iterator[tuple[str, tuple["SweepRecord", "Results"]]]:
    """The sweeps that can be read, the latest first."""
    from comodo.evaluation.sweep_record import read_sweep_record

    for name in (status.name for status in read_all(store)):
        try:
            record = read_sweep_record(name, store)
        except StatusError:  # it has no trials yet, or another version of comodo ran it
            continue
        yield name, (record, record.results(store))


def _from_mlflow(run: str, sweeps: Iterable[str], store: Store) -> tuple[str, set[str]]:
    """The sweep, or else the keys of the trials, that this MLflow run recorded."""
    from comodo.tracking.runs import find_runs  # slow to import, and seldom needed

    keys = set()
    for name in sweeps:
        if (runs := find_runs(name, store)) is not None:
            if run == runs.parent:
                return name, set()
            keys |= {key for key, id in runs.trials.items() if id == run}
    return "", keys


def _unknown(run: str, names: list[str], store: Store) -> str:
    known = nearest(run, names) if names else "; it has no sweeps yet"
    return f"no sweep, trial or MLflow run '{run}' in {store}{known}"
