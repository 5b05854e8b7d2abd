"""Which configurations a sweep tries next: a grid, or Optuna's samplers.

Proposes values for the dotted keys of the space and learns from scores; knows neither seeds nor
Ray nor what a trial is.
"""

import json
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from comodo.config import Range, Sweep

Values = dict[str, Any]


class Proposals(Protocol):
    def ask(self) -> Values | None:
        """Values to try next; None when there are no more."""

    def tell(self, values: Values, score: float | None) -> None:
        """The score of values that were asked; None when they failed or were given up."""


class GridProposals:
    """Every combination, in the file's order."""

    def __init__(self, sweep: Sweep) -> None:
        self._points = sweep.grid()

    def ask(self) -> Values | None:
        return next(self._points, None)

    def tell(self, values: Values, score: float | None) -> None:
        """A grid learns nothing."""


class OptunaProposals:
    """Random search or TPE, by Optuna's ask and tell.

    The study lives in memory and is rebuilt from what earlier runs of the sweep asked and scored,
    so there is no second record to keep in step with the store.

    Args:
        sweep: the space, sampler, seed and direction.
        limit: how many configurations may be asked in all, those of earlier runs included.
        earlier: values and scores of earlier runs; without a score they are proposed first.
    """

    def __init__(
        self, sweep: Sweep, limit: int, earlier: list[tuple[Values, float | None]]
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = sweep.search.seed + len(earlier)  # or the first suggestions would come again
        samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        self._study = optuna.create_study(
            sampler=samplers[sweep.search.sampler](seed=seed),
            direction="maximize" if sweep.objective.mode == "max" else "minimize",
        )
        self._space = sweep.search.space
        self._distributions = {key: _distribution(span) for key, span in self._space.items()}
        self._left = limit - len(earlier)
        self._asked: dict[str, optuna.Trial | None] = {}
        self._unfinished = []
        for values, score in earlier:
            self._asked[_name(values)] = None
            if score is None:
                self._unfinished.append(values)
            else:
                self._remember(values, score)

    def ask(self) -> Values | None:
        if self._unfinished:
            return self._unfinished.pop(0)
        for _ in range(100):  # a small space runs out of new points
            if self._left <= 0:
                return None
            trial = self._study.ask(self._distributions)
            values = {key: _value(self._space[key], trial.params[key]) for key in self._space}
            if _name(values) not in self._asked:
                self._asked[_name(values)] = trial
                self._left -= 1
                return values
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def tell(self, values: Values, score: float | None) -> None:
        trial = self._asked.get(_name(values))
        if trial is not None:
            state = TrialState.FAIL if score is None else TrialState.COMPLETE
            self._study.tell(trial, score, state)
        elif score is not None:
            self._remember(values, score)

    def _remember(self, values: Values, score: float) -> None:
        params = {key: _param(self._space[key], values[key]) for key in self._space}
        self._study.add_trial(
            create_trial(params=params, distributions=self._distributions, value=score)
        )


def fits(values: Values, sweep: Sweep) -> bool:
    """Whether values, perhaps of an earlier version of the file, lie in the space."""
    space = sweep.search.space
    return values.keys() == space.keys() and all(
        value in span if isinstance(span, list) else span.min <= value <= span.max
        for value, span in ((values[key], span) for key, span in space.items())
    )


def _distribution(span: list[Any] | Range) -> BaseDistribution:
    if isinstance(span, list):
        return CategoricalDistribution([_param(span, value) for value in span])
    if span.integer:
        return optuna.distributions.IntDistribution(int(span.min), int(span.max), log=span.log)
    return optuna.distributions.FloatDistribution(span.min, span.max, log=span.log)


def _param(span: list[Any] | Range, value: Any) -> Any:
    """Optuna's choices are plain values: a mapping stands there as JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(span, list) else value


def _value(span: list[Any] | Range, param: Any) -> Any:
    return json.loads(param) if isinstance(span, list) else param


def _name(values: Values) -> str:
    return json.dumps(values, sort_keys=True)
