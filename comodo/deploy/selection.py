"""Which student a person means: by a trial's key, an MLflow run or a sweep's name.

Reads the store; MLflow is asked only for what looks like one of its run ids.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from comodo.config.base import nearest
from comodo.core.errors import ComodoError
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord, read_sweep_record
from comodo.search.status import StatusError, read_all

MIN_KEY_LENGTH = 6  # letters of a key's beginning
MLFLOW_RUN = re.compile("[0-9a-f]{32}")


class SelectionError(ComodoError, ValueError):
    """No finished trial goes by this name."""


@dataclass(frozen=True)
class Selection:
    """A finished trial, with the sweep that it was found in."""

    saved: SweepRecord
    results: Results
    row: TrialRow


def resolve_run(run: str, store: Store) -> Selection:
    """The finished trial that `run` names.

    `run` is a sweep's name, a trial's key (column `trial` of results.parquet) or at least six
    letters that only it begins with, or the id of a trial's or a sweep's run in MLflow.

    Of a sweep it is the trial that its first objective selects: of all trained configurations
    the best by the mean over seeds, as far as they have all seeds, and of that the first seed. Not
    the best seed, which would be the luckiest.

    Raises:
        FindError: nothing or more than one trial goes by this name, or it has not finished.
        StatusError: the sweep of this name cannot be read.
    """
    names = [status.name for status in read_all(store)]
    if run in names:
        return _best_of(run, store)
    readable = dict(_read_all(names, store))
    asked = {run} if len(run) >= MIN_KEY_LENGTH else set()
    if MLFLOW_RUN.fullmatch(run):
        from comodo.tracking.runs import find_runs  # seconds, which the others need not pay

        for name in readable:
            if (runs := find_runs(name, store)) is not None:
                if run == runs.parent:
                    return _best_of(name, store)
                asked |= {key for key, id in runs.trials.items() if id == run}
    matches = [
        Selection(saved, results, row)
        for saved, results in readable.values()
        for row in results.rows
        if row.trial.key.startswith(tuple(asked))
    ]
    keys = sorted({match.row.trial.key for match in matches})
    if not keys:
        known = nearest(run, names) if names else "; it has no sweeps yet"
        unread = [name for name in names if name not in readable]
        more = f" (could not be read: {', '.join(unread)})" if unread else ""
        raise SelectionError(f"no sweep, trial or MLflow run '{run}' in {store}{known}{more}")
    if len(keys) > 1:
        raise SelectionError(f"{len(keys)} trials begin with '{run}': {', '.join(keys)}")
    # What one sweep has measured whole may miss a measure of another.
    for match in matches:
        if match.row.state == "finished":
            return match
    raise SelectionError(_unfinished(matches[0]))


def _best_of(name: str, store: Store) -> Selection:
    saved = read_sweep_record(name, store)
    results = saved.results(store)
    label = results.best_trained
    if label is None:
        raise SelectionError(
            f"sweep '{name}' has no trained configuration of which all seeds have finished and "
            f"have {saved.sweep.objectives[0].metric}; to go on with it: {saved.command}"
        )
    by_seed = {row.trial.seed: row for row in results.by_label[label]}
    return Selection(saved, results, by_seed[saved.sweep.seeds[0]])


def _read_all(names: list[str], store: Store) -> Iterator[tuple[str, tuple[SweepRecord, Results]]]:
    """The sweeps that can be read, the latest first."""
    for name in names:
        try:
            saved = read_sweep_record(name, store)
        except StatusError:  # it has not come to its trials, or another version ran it
            continue
        yield name, (saved, saved.results(store))


def _unfinished(found: Selection) -> str:
    row, saved = found.row, found.saved
    why = f" ({row.reason})" if row.reason else ""
    return (
        f"trial {row.trial.key} ({row.label} seed {row.trial.seed} of sweep "
        f"'{saved.sweep.name}') is {row.state}{why}; to run it: {saved.command}"
    )
