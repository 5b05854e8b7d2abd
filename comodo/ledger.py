"""Which trials a sweep asks for, in which order, and how each ended.

Turns proposed values into one trial for each seed, with the reference students beside them, and
tells the proposals a configuration's mean over seeds. Knows neither Ray nor MLflow.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from comodo.config import ConfigError, Sweep, TeacherConfig
from comodo.console import console
from comodo.proposals import GridProposals, OptunaProposals, Proposals, Values, fits
from comodo.store import Store, read_json, write_json
from comodo.trial import Evaluation, Trial, read_result


@dataclass
class Configuration:
    """Values that were asked, with one trial for each seed."""

    values: Values
    trials: list[Trial]
    scores: dict[str, float | None] = field(default_factory=dict)
    """By trial key, as they end; None when failed or pruned."""


class Ledger:
    """The trials of one sweep.

    Kept in the sweep's folder: `asked.json` (the values, in order) and `ended.json` (trials
    without a result: pruned or failed, with the reason).
    """

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        arrays: dict[tuple[str, TeacherConfig], tuple[str, str]],
        evaluation: Evaluation,
    ) -> None:
        self.sweep, self.store, self._arrays = sweep, store, arrays
        self._evaluation = evaluation
        self._results: dict[str, dict[str, Any]] = {}  # as they are found, for they do not change
        self.folder = store.folder("sweeps", sweep.name)
        self.trials: dict[str, Trial] = {}
        self._waiting: deque[Trial] = deque()
        self._open: list[Configuration] = []
        self._asked: list[Values] = self._read("asked.json", [])
        ended = self._read("ended.json", {}) if sweep.early_stopping is not None else {}
        # What failed is tried again, and what was pruned when nothing prunes any more.
        self.ended = {key: end for key, end in ended.items() if end["state"] == "pruned"}
        self._proposals = self._make_proposals()

    def next_trial(self) -> Trial | None:
        """The next trial to run; None when all are asked. Finished ones are read, not run."""
        while not self._waiting:
            values = self._proposals.ask()
            if values is None:
                return None
            try:
                self._take(values)
            except ConfigError as error:  # a combination that no check of the file has met
                console.print(f"skipped: {error}", style="yellow")
                self._proposals.tell(values, None)
        return self._waiting.popleft()

    def end(self, trial: Trial, state: str, reason: str) -> None:
        """Notes how a running trial ended: `finished`, `pruned` or `failed`."""
        if state != "finished":
            self.ended[trial.key] = {"state": state, "reason": reason}
            write_json(self.folder / "ended.json", self.ended)
        self._score(trial)

    def result(self, trial: Trial) -> dict[str, Any] | None:
        if trial.key not in self._results:
            result = read_result(trial, self.store)
            if result is None:
                return None
            self._results[trial.key] = result
        return self._results[trial.key]

    def is_over(self, trial: Trial) -> bool:
        """Whether the trial has a result, or has been pruned or failed in this run."""
        return trial.key in self.ended or self.result(trial) is not None

    def unfinished(self) -> list[Trial]:
        """Trials that were asked and have not ended."""
        return [trial for trial in self.trials.values() if not self.is_over(trial)]

    def put_back(self, trial: Trial) -> None:
        """Makes the trial the next one again."""
        self._waiting.appendleft(trial)

    def planned(self) -> list[Trial]:
        """All trials of a grid; of a search, which decides as it goes, those asked so far."""
        if self.sweep.search.sampler != "grid":
            return list(self.trials.values())
        trials = [trial for values in self.sweep.grid() for trial in self._trials_of(values)]
        return self._with_references(trials)

    def done(self) -> int:
        """How many of the planned trials are over."""
        return sum(map(self.is_over, self.planned()))

    def _make_proposals(self) -> Proposals:
        if self.sweep.search.sampler == "grid":
            return GridProposals(self.sweep)
        assert self.sweep.budget.trials is not None
        limit = self.sweep.budget.trials // len(self.sweep.seeds)
        earlier = []
        # What was asked before the space was changed says nothing about it.
        for values in [values for values in self._asked if fits(values, self.sweep)]:
            scores = [self._score_of(trial) for trial in self._trials_of(values)]
            whole = [score for score in scores if score is not None]
            earlier.append((values, statistics.mean(whole) if len(whole) == len(scores) else None))
            for trial in self._with_references(self._trials_of(values)):
                if self.is_over(trial):
                    self.trials[trial.key] = trial
        return OptunaProposals(self.sweep, limit, earlier)

    def _trials_of(self, values: Values) -> list[Trial]:
        config = self.sweep.with_values(values)
        windows, features = self._arrays[config.dataset, config.teacher]
        return [
            Trial(config, seed, windows, features, self._evaluation) for seed in self.sweep.seeds
        ]

    def _take(self, values: Values) -> None:
        """Puts what is not done yet of a configuration's trials on the waiting list."""
        trials = self._trials_of(values)
        if values not in self._asked:
            self._asked.append(values)
            write_json(self.folder / "asked.json", self._asked)
        self._open.append(Configuration(values, trials))
        for trial in self._with_references(trials):
            if self.is_over(trial):
                self.trials[trial.key] = trial
                self._score(trial)
            elif trial.key not in self.trials:
                self.trials[trial.key] = trial
                self._waiting.append(trial)

    def _with_references(self, trials: list[Trial]) -> list[Trial]:
        """The trials, after what each student is compared with."""
        twins = {
            "none": [trial.untrained for trial in trials],
            "supervised": [trial.supervised(self.sweep.trial) for trial in trials],
        }
        before = [twin for name in self.sweep.references for twin in twins[name]]
        return list({trial.key: trial for trial in before + trials}.values())

    def _score_of(self, trial: Trial) -> float | None:
        result = self.result(trial)
        return None if result is None else result["metrics"].get(self.sweep.objective.metric)

    def _score(self, trial: Trial) -> None:
        """Tells the search a configuration's mean over seeds once its last trial has ended."""
        for configuration in list(self._open):
            keys = [member.key for member in configuration.trials]
            if trial.key not in keys:
                continue
            configuration.scores[trial.key] = self._score_of(trial)
            if len(configuration.scores) == len(set(keys)):
                scores = [score for score in configuration.scores.values() if score is not None]
                whole = len(scores) == len(configuration.scores)
                self._proposals.tell(
                    configuration.values, statistics.mean(scores) if whole else None
                )
                self._open.remove(configuration)

    def _read(self, name: str, default: Any) -> Any:
        path = self.folder / name
        return read_json(path) if path.exists() else default
