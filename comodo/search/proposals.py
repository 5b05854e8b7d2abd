"""Which configurations a sweep tries next: a grid, or Optuna's samplers.

Proposes points of the space and learns how they ended; knows neither seeds nor trials nor Ray.
"""

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import optuna
from optuna import distributions
from optuna.trial import TrialState, create_trial

from comodo.config import Sweep
from comodo.config.space import Choices, Point, Range, canonical

MAX_DRAWS = 50  # without a new point, before the next way to find one is tried


@dataclass(frozen=True)
class Outcome:
    """How a configuration ended."""

    state: Literal["finished", "pruned", "failed", "rejected"]
    """`rejected`: no valid trial; does not count towards the budget."""
    scores: tuple[float, ...] = ()
    """Of a finished one: its mean over seeds and folds, for each objective."""
    reached: tuple[int, float] | None = None
    """Of a pruned one, where known: epochs, and the quality by then, in the direction of the
    objective. Only compared with others that were pruned."""


class Proposals(Protocol):
    def ask(self) -> Point | None:
        """The point to try next; None when there are no more."""

    def adopt(self, point: Point) -> None:
        """Counts a point that another driver has proposed, which `ask` returns before new ones."""

    def tell(self, point: Point, outcome: Outcome) -> None:
        """Learns the outcome of a proposed point."""


class GridProposals:
    """Every combination, in the file's order."""

    def __init__(self, sweep: Sweep) -> None:
        self._points = sweep.grid()

    def ask(self) -> Point | None:
        return next(self._points, None)

    def adopt(self, point: Point) -> None:
        """A grid has all points."""

    def tell(self, point: Point, outcome: Outcome) -> None:
        """A grid learns nothing."""


class OptunaProposals:
    """Random search or TPE, by Optuna's ask and tell. The study is in memory, rebuilt from the
    points and scores of the sweep's earlier runs.

    Args:
        sweep: the space, sampler, seed, objectives, and the points to start with.
        limit: how many configurations may be proposed in total, including those of earlier runs.
        earlier: points of earlier runs; those without an outcome are proposed first.
        learnt: points of other sweeps to learn from, which are not proposed again.
    """

    def __init__(
        self,
        sweep: Sweep,
        limit: int,
        earlier: list[tuple[Point, Outcome | None]],
        learnt: Sequence[tuple[Point, Outcome]] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search = sweep.search
        self._study = optuna.create_study(
            directions=["maximize" if o.mode == "max" else "minimize" for o in sweep.objectives],
        )
        self._by_chance = optuna.create_study()
        self._seed(len(earlier))
        self._space = sweep.space
        self._left = limit - len(earlier)
        self._asked = {canonical(point) for point, _ in earlier}
        self._known = {canonical(point) for point, _ in learnt}
        self._running: dict[str, optuna.Trial] = {}
        self._unfinished = deque(point for point, outcome in earlier if outcome is None)
        ended = [(point, outcome) for point, outcome in earlier if outcome is not None]
        for point, outcome in [*learnt, *ended]:
            self._remember(point, outcome)
        self._starts = _not_begun(sweep.search.start_with, [point for point, _ in earlier])

    def _seed(self, asked: int) -> None:
        """Seeds the samplers after so many points: with the same seed suggestions would repeat."""
        samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        seed = (self._search.seed + asked) % 2**32
        self._study.sampler = samplers[self._search.sampler](seed=seed)
        self._by_chance.sampler = optuna.samplers.RandomSampler(seed)

    def adopt(self, point: Point) -> None:
        self._asked.add(canonical(point))
        self._unfinished.append(point)
        self._left -= 1
        self._starts = _not_begun(list(self._starts), [point])
        self._seed(len(self._asked))

    def ask(self) -> Point | None:
        if self._unfinished:
            return self._unfinished.popleft()
        if self._left <= 0:
            return None
        while self._starts:
            start = self._starts.popleft()
            for _ in range(MAX_DRAWS):  # for the keys that the start leaves out
                if (point := self._draw(start, self._asked)) is not None:
                    return point
        taken = self._asked | self._known
        for _ in range(MAX_DRAWS):
            if (point := self._draw({}, taken)) is not None:
                return point
        for _ in range(MAX_DRAWS):  # TPE may repeat itself
            if canonical(point := self._suggestion(self._by_chance.ask())) not in taken:
                return self._draw(point, taken)
        if self._space.is_countable():  # most points are proposed, so a new one is found soon
            for point in self._space.points():
                if canonical(point) not in taken:
                    return self._draw(point, taken)
        return None

    def _draw(self, start: Point, taken: set[str]) -> Point | None:
        """The sampler's suggestion that agrees with `start`; None if it is taken."""
        if start:
            self._study.enqueue_trial(
                {key: _param(self._space.spans[key], value) for key, value in start.items()}
            )
        trial = self._study.ask()
        point = self._suggestion(trial)
        if canonical(point) in taken:
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        self._asked.add(canonical(point))
        self._running[canonical(point)] = trial
        self._left -= 1
        return point

    def _suggestion(self, trial: optuna.Trial) -> Point:
        point: Point = {}
        for key in self._space.order:
            if self._space.is_active(key, point):
                point[key] = _suggest(trial, key, self._space.spans[key])
        return {key: point[key] for key in self._space.spans if key in point}

    def tell(self, point: Point, outcome: Outcome) -> None:
        if outcome.state == "rejected":
            self._left += 1
        if (trial := self._running.pop(canonical(point), None)) is None:
            self._remember(point, outcome)
            return
        state = _state(outcome)
        for epochs, value in self._reached(outcome).items():
            trial.report(value, epochs)
        scores = outcome.scores if state == TrialState.COMPLETE else None
        self._study.tell(trial, scores, state)

    def _remember(self, point: Point, outcome: Outcome) -> None:
        state, spans = _state(outcome), self._space.spans
        self._study.add_trial(
            create_trial(
                state=state,
                params={key: _param(spans[key], value) for key, value in point.items()},
                distributions={key: distribution(spans[key]) for key in point},
                values=outcome.scores if state == TrialState.COMPLETE else None,
                intermediate_values=self._reached(outcome),
            )
        )

    def _reached(self, outcome: Outcome) -> dict[int, float]:
        """As Optuna's intermediate value, which only a study of one objective has."""
        if outcome.reached is None or len(self._study.directions) > 1:
            return {}
        return dict([outcome.reached])


def _not_begun(starts: list[Point], asked: list[Point]) -> deque[Point]:
    """The starting points that no earlier point came from; each earlier point covers one."""
    left: deque[Point] = deque()
    asked = list(asked)
    for start in starts:
        from_it = next((point for point in asked if start.items() <= point.items()), None)
        if from_it is None:
            left.append(start)
        else:
            asked.remove(from_it)
    return left


def _state(outcome: Outcome) -> TrialState:
    if outcome.state == "pruned":
        return TrialState.PRUNED
    good = outcome.state == "finished" and all(map(math.isfinite, outcome.scores))
    return TrialState.COMPLETE if good else TrialState.FAIL


def _suggest(trial: optuna.Trial, key: str, span: Choices | Range) -> Any:
    if isinstance(span, Choices):
        choices = [_param(span, value) for value in span.values]
        return span.values[choices.index(trial.suggest_categorical(key, choices))]
    if span.integer:
        return trial.suggest_int(key, int(span.min), int(span.max), log=span.log)
    return trial.suggest_float(key, span.min, span.max, log=span.log)


def distribution(span: Choices | Range) -> distributions.BaseDistribution:
    if isinstance(span, Choices):
        return distributions.CategoricalDistribution([_param(span, value) for value in span.values])
    if span.integer:
        return distributions.IntDistribution(int(span.min), int(span.max), log=span.log)
    return distributions.FloatDistribution(span.min, span.max, log=span.log)


def _param(span: Choices | Range, value: Any) -> Any:
    """Optuna's choices must be plain values: a mapping is passed as JSON."""
    if not isinstance(span, Choices):
        return value
    return json.dumps(span.values[span.values.index(value)], sort_keys=True)
