"""Hyperparameter importance: each swept key's share of the scores' variance, and the mean score of
each of its values.

Takes points (values by dotted keys) with one score each; knows nothing of seeds, trials or files.
A conditional key may be missing in some points; `ABSENT` then counts as a value.
"""

import json
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from comodo.evaluation.stats import Interval

ABSENT = "–"
MIN_CONFIGURATIONS = 4
TREES = 32

Configuration = dict[str, Any]


def importances(
    points: list[Configuration], scores: list[float], draws: int = 20, seed: int = 0
) -> dict[str, Interval]:
    """Each varying key's share of the variance that keys explain one by one, largest first.

    fANOVA (Hutter et al. 2014) by Optuna, on a random forest fitted to the scores. Each draw
    resamples the points with replacement and fits another forest; the interval is the mean and the
    5 to 95 % range of the draws. Shares always sum to 1: where no key has an effect, the keys with
    most values explain the noise.

    Values are replaced by their rank, so that all have the same weight however numbers are spaced.
    With categorical keys Optuna's time would double with each choice.

    Returns:
        Nothing for fewer than `MIN_CONFIGURATIONS` points or where all scores are equal.
    """
    choices = _choices(points)
    if len(points) < MIN_CONFIGURATIONS or len(set(scores)) == 1 or not choices:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each study announces itself
    spans: dict[str, BaseDistribution] = {
        key: IntDistribution(0, len(values) - 1) for key, values in choices.items()
    }
    trials = [
        create_trial(
            params={key: list(values).index(_name(point, key)) for key, values in choices.items()},
            distributions=spans,
            value=score,
        )
        for point, score in zip(points, scores, strict=True)
    ]
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {key: [] for key in choices}
    for _ in range(draws):
        sample = [trials[0]]
        while len({trial.value for trial in sample}) == 1:  # would explain nothing
            sample = [trials[i] for i in generator.integers(len(trials), size=len(trials))]
        study = optuna.create_study()
        study.add_trials(sample)
        forest = FanovaImportanceEvaluator(n_trees=TREES, seed=int(generator.integers(2**31)))
        for key, share in get_param_importances(study, evaluator=forest).items():
            drawn[key].append(float(share))
    found = {
        key: Interval(float(np.mean(shares)), *map(float, np.quantile(shares, [0.05, 0.95])))
        for key, shares in drawn.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def main_effects(
    points: list[Configuration], scores: list[float]
) -> dict[str, list[tuple[Any, list[float]]]]:
    """For each varying key its values in order, each with the scores of its points.

    Numbers come first, sorted; other values follow in order of appearance, `ABSENT` last.
    Nothing for fewer than `MIN_CONFIGURATIONS` points.
    """
    effects: dict[str, list[tuple[Any, list[float]]]] = {}
    if len(points) < MIN_CONFIGURATIONS:
        return effects
    for key, values in _choices(points).items():
        of_value: dict[str, list[float]] = {name: [] for name in values}
        for point, score in zip(points, scores, strict=True):
            of_value[_name(point, key)].append(score)
        effects[key] = [(value, of_value[name]) for name, value in values.items()]
    return effects


def _choices(points: list[Configuration]) -> dict[str, dict[str, Any]]:
    """Varying key: name to value of each value that it takes, in order."""
    choices: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for point in points for key in point):
        values: dict[str, Any] = {}
        for point in points:
            values.setdefault(_name(point, key), point.get(key, ABSENT))
        if len(values) > 1:
            choices[key] = dict(sorted(values.items(), key=_rank))
    return choices


def _name(point: Configuration, key: str) -> str:
    """The same for 1 and 1.0, whatever the order in mappings."""
    if key not in point:
        return ABSENT  # no JSON
    value = point[key]
    return json.dumps(float(value) if _is_number(value) else value, sort_keys=True)


def _rank(item: tuple[str, Any]) -> tuple[int, float]:
    name, value = item
    return (0, value) if _is_number(value) else (2 if name == ABSENT else 1, 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
