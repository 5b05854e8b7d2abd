"""A sweep's search as an Optuna study in a file, which `optuna-dashboard` opens.

Written from what the store has, and never read: the records stay the truth. One trial of the study
is one configuration of the sweep.
"""

import json
import math
import shutil
import statistics
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from comodo.config import Sweep
from comodo.config.metric import QUICK_ACCURACY
from comodo.config.space import Choices, Range
from comodo.core.redaction import redacted
from comodo.core.store import Store, atomic, fetched
from comodo.evaluation.results import Results, TrialRow
from comodo.search.history import epoch_history
from comodo.search.proposals import distribution
from comodo.search.records import ASKED_FILE, read_asked

STUDY_FILE = "optuna.log"
ENDED = ("finished", "pruned", "failed")


class _Logs(BaseJournalBackend):
    """A journal in memory, to be written at once: Optuna's file is locked, opened twice and
    flushed to the disk for each trial."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.all[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.all += logs


def write_study(results: Results, store: Store, folder: Path) -> None:
    """Writes the study, named as the sweep, into `folder`, in place of an earlier one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep = results.sweep
    with tempfile.TemporaryDirectory() as temporary:
        journal, logs = str(Path(temporary, STUDY_FILE)), _Logs()
        study = optuna.create_study(
            storage=JournalStorage(logs),
            study_name=sweep.name,
            directions=["maximize" if o.mode == "max" else "minimize" for o in sweep.objectives],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([objective.metric for objective in sweep.objectives])
        study.set_user_attr("sampler", sweep.search.sampler)
        study.set_user_attr("sampler's seed", sweep.search.seed)
        study.add_trials(_trials(results, store))
        JournalFileBackend(journal).append_logs(logs.all)
        with atomic(folder / STUDY_FILE) as path:
            shutil.copyfile(journal, path)


def _trials(results: Results, store: Store) -> list[FrozenTrial]:
    """The proposed configurations that are in the space, in the order of the proposals."""
    sweep = results.sweep
    rows = {row.trial.key: row for row in results.rows}
    found = []
    for asked in read_asked(fetched(store.folder("sweeps", sweep.name), ASKED_FILE)):
        own = [rows[key] for key in asked.trials if key in rows]
        if not own or asked.values not in sweep.space:
            continue
        state, scores = _outcome(own, len(asked.trials), sweep)
        one = create_trial(
            state=state,
            values=scores,
            params={key: _plain(value) for key, value in asked.values.items()},
            distributions={key: _distribution(sweep.space.spans[key]) for key in asked.values},
            user_attrs=_about(own),
            intermediate_values=_epochs(own, sweep, store),
        )
        if one.datetime_complete is not None:  # only how long it took is recorded, not when
            seconds = sum(row.trained.seconds for row in own if row.trained is not None)
            one.datetime_start = one.datetime_complete - timedelta(seconds=seconds)
        found.append(one)
    return found


def _outcome(
    own: list[TrialRow], planned: int, sweep: Sweep
) -> tuple[TrialState, list[float] | None]:
    """State and objectives of a configuration with these trials, of `planned` ones."""
    states = {row.state for row in own}
    if states == {"not begun"}:
        return TrialState.WAITING, None
    if not states <= set(ENDED):
        return TrialState.RUNNING, None
    if "failed" in states:
        return TrialState.FAIL, None
    if "pruned" in states or len(own) < planned:  # `hopeless_below` has left out the others
        return TrialState.PRUNED, None
    names = [objective.metric for objective in sweep.objectives]
    scores = [statistics.mean(row.metrics.get(name, math.nan) for row in own) for name in names]
    if all(map(math.isfinite, scores)):
        return TrialState.COMPLETE, scores
    return TrialState.FAIL, None


def _epochs(own: list[TrialRow], sweep: Sweep, store: Store) -> dict[int, float]:
    """The quick accuracy by which a configuration is pruned, of each epoch of the trial that was,
    or of its first trial. Optuna has such values only for a single objective."""
    row = next((row for row in own if row.state == "pruned"), own[0])
    if len(sweep.objectives) > 1 or row.state not in ENDED:
        return {}
    if row.trained is not None:
        history = row.trained.history
    else:
        history = epoch_history(store.folder("trials", row.trial.key))
    return {e["epoch"]: e[QUICK_ACCURACY] for e in history if QUICK_ACCURACY in e}


def _about(own: list[TrialRow]) -> dict[str, Any]:
    """Name, keys of the trials, mean of each metric, and why it did not finish."""
    metrics = dict.fromkeys(name for row in own for name in row.metrics)
    return {
        "configuration": own[0].label,
        **{row.trial.repetition: row.trial.key for row in own},
        **{
            name: statistics.mean(row.metrics[name] for row in own if name in row.metrics)
            for name in metrics
        },
        **{f"reason {row.trial.repetition}": redacted(row.reason) for row in own if row.reason},
    }


def _distribution(span: Choices | Range) -> BaseDistribution:
    if isinstance(span, Choices):
        return CategoricalDistribution([_plain(value) for value in span.values])
    return distribution(span)


def _plain(value: Any) -> Any:
    """Numbers and text as they are, which the search's own study has as JSON; settings as JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
