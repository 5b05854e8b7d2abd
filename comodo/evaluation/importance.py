"""Hyperparameter importance: how much of the variance of scores each swept key explains, and the
scores for each of its values.

Takes configurations (values of dotted keys; `ABSENT` for a conditional key that is missing) with
one score each; knows nothing of seeds, trials or files.
"""

import json
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from comodo.config.space import Point
from comodo.evaluation.stats import Interval

ABSENT = "–"
MIN_CONFIGURATIONS = 4
TREES = 32


def importances(
    configurations: list[Point], scores: list[float], resamples: int = 20, seed: int = 0
) -> dict[str, Interval]:
    """Importance of each varying key, largest first: its fraction of the variance that the main
    effects of all keys explain.

    fANOVA (Hutter et al. 2014, "An efficient approach for assessing hyperparameter importance"),
    by Optuna, from a random forest regression of the scores. Mean and percentile interval (5 to
    95 %) over bootstrap resamples of the configurations, each with a forest of its own. Importances
    sum to 1 even if no key has an effect: the keys with the most values then fit the noise.

    Values of a key are encoded by their rank: as categories, Optuna's time would double with each.
    Empty for fewer than `MIN_CONFIGURATIONS` configurations, if all scores are equal, or if no key
    varies.
    """
    levels = _levels(configurations)
    if len(configurations) < MIN_CONFIGURATIONS or len(set(scores)) == 1 or not levels:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or every study logs its creation
    distributions: dict[str, BaseDistribution] = {
        key: IntDistribution(0, len(names) - 1) for key, names in levels.items()
    }
    trials = []
    for configuration, score in zip(configurations, scores, strict=True):
        ranks = {key: list(names).index(_name(configuration, key)) for key, names in levels.items()}
        trials.append(create_trial(params=ranks, distributions=distributions, value=score))
    generator = np.random.default_rng(seed)
    resampled = [_fanova(trials, generator) for _ in range(resamples)]
    intervals = {}
    for key in levels:
        values = [float(importance_of[key]) for importance_of in resampled]
        low, high = map(float, np.quantile(values, [0.05, 0.95]))
        intervals[key] = Interval(float(np.mean(values)), low, high)
    return dict(sorted(intervals.items(), key=lambda item: -item[1].mean))


def _fanova(trials: list[FrozenTrial], generator: np.random.Generator) -> dict[str, float]:
    """Importances from one bootstrap resample, one whose scores are not all equal."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # takes seconds

    sample = [trials[0]]
    while len({trial.value for trial in sample}) == 1:
        sample = [trials[i] for i in generator.integers(len(trials), size=len(trials))]
    study = optuna.create_study()
    study.add_trials(sample)
    forest = FanovaImportanceEvaluator(n_trees=TREES, seed=int(generator.integers(2**31)))
    return get_param_importances(study, evaluator=forest)


def main_effects(
    configurations: list[Point], scores: list[float]
) -> dict[str, list[tuple[Any, list[float]]]]:
    """For each varying key: its values, each with the scores of its configurations.

    Numbers come first, sorted, then other values in order of first appearance, then `ABSENT`.
    Empty for fewer than `MIN_CONFIGURATIONS` configurations.
    """
    if len(configurations) < MIN_CONFIGURATIONS:
        return {}
    effects = {}
    for key, values in _levels(configurations).items():
        scores_of: dict[str, list[float]] = {name: [] for name in values}
        for configuration, score in zip(configurations, scores, strict=True):
            scores_of[_name(configuration, key)].append(score)
        effects[key] = [(value, scores_of[name]) for name, value in values.items()]
    return effects


def _levels(configurations: list[Point]) -> dict[str, dict[str, Any]]:
    """Varying key: its values, by name, in the order of `main_effects`."""
    levels: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for configuration in configurations for key in configuration):
        values: dict[str, Any] = {}
        for configuration in configurations:
            values.setdefault(_name(configuration, key), configuration.get(key, ABSENT))
        if len(values) > 1:
            levels[key] = dict(sorted(values.items(), key=_sort_key))
    return levels


def _name(configuration: Point, key: str) -> str:
    """A value as JSON; the same for 1 and 1.0, and for mappings in any order."""
    if key not in configuration:
        return ABSENT  # not valid JSON, so no value has this name
    value = configuration[key]
    return json.dumps(float(value) if _is_number(value) else value, sort_keys=True)


def _sort_key(item: tuple[str, Any]) -> tuple[int, float]:
    name, value = item
    return (0, value) if _is_number(value) else (2 if name == ABSENT else 1, 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
