"""Which swept keys mattered: each key's share of the scores' variance, and its values' means.

Takes points, values of dotted keys, with one score each; knows nothing of seeds, trials or files.
A conditional key may be missing in some points: `ABSENT` then counts as a value of its own.
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

    fANOVA (Hutter et al. 2014) by Optuna, on a forest that learns the scores. Every draw takes as
    many points anew, with replacement, and grows another forest; mean and 5..95 % of the draws.
    Shares always sum to 1: where nothing matters, the keys with most values explain the noise.

    A key's values stand there by their place in order. That weighs each value alike, however
    numbers are spaced; and Optuna's time for a categorical key doubles with each of its choices.

    Returns:
        Nothing for fewer than `FEWEST_POINTS` points or where all scores are equal.
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

    Numbers are sorted and come first; other values stand as they first appear, `ABSENT` last.
    Nothing for fewer than `FEWEST_POINTS` points.
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
