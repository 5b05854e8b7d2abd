"""Hyperparameter importance: how much of the variance of scores each swept key explains, and the
scores for each of its values.

Takes configurations (values of dotted keys; `ABSENT` for a conditional key that is missing) with
one score each; knows nothing of seeds, trials or files. Shape letters: N configurations, F keys,
R resamples, L leaves.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from comodo.config.space import Point
from comodo.evaluation.stats import FloatArray, Interval

IntArray = npt.NDArray[np.int64]
ABSENT = "–"
MIN_CONFIGURATIONS = 4
TREES, MAX_DEPTH = 32, 64
MAX_RESAMPLED = 1000
"""Configurations that a resample draws at most: forests of ten thousand take a minute."""


def importances(
    configurations: list[Point], scores: list[float], resamples: int = 20, seed: int = 0
) -> dict[str, Interval]:
    """Importance of each varying key, largest first: its fraction of the variance that the main
    effects of all keys explain.

    fANOVA (Hutter et al. 2014, "An efficient approach for assessing hyperparameter importance")
    from a random forest regression of the scores. Mean and percentile interval (5 to 95 %) over
    bootstrap resamples of the configurations, each with a forest of its own; of more than
    `MAX_RESAMPLED` configurations each draws so many. Importances sum to 1 even if no key has an
    effect: the keys with the most values then fit the noise.

    Values of a key are encoded by their rank. Empty for fewer than `MIN_CONFIGURATIONS`
    configurations, if all scores are equal, or if no key varies.
    """
    levels = _levels(configurations)
    if len(configurations) < MIN_CONFIGURATIONS or len(set(scores)) == 1 or not levels:
        return {}
    places = [{name: rank for rank, name in enumerate(names)} for names in levels.values()]
    rank_NF = np.array(
        [
            [ranks[_name(configuration, key)] for key, ranks in zip(levels, places, strict=True)]
            for configuration in configurations
        ],
        np.float64,
    )
    generator, score_N = np.random.default_rng(seed), np.array(scores, np.float64)
    share_RF = np.stack([_resampled(rank_NF, score_N, generator) for _ in range(resamples)])
    low_F, high_F = np.quantile(share_RF, [0.05, 0.95], axis=0)
    found = zip(levels, share_RF.mean(0), low_F, high_F, strict=True)
    intervals = {key: Interval(*map(float, values)) for key, *values in found}
    return dict(sorted(intervals.items(), key=lambda item: -item[1].mean))


def _resampled(
    rank_NF: FloatArray, score_N: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Importances [F] from one bootstrap resample, one whose scores are not all equal."""
    from sklearn.ensemble import RandomForestRegressor  # takes seconds

    drawn = np.zeros(1, np.int64)
    while len(set(score_N[drawn])) == 1:
        drawn = generator.integers(len(score_N), size=min(len(score_N), MAX_RESAMPLED))
    state = int(generator.integers(2**31))
    drawn = drawn[np.isfinite(score_N[drawn])]  # a measure of the user's may be infinite
    forest = RandomForestRegressor(TREES, max_depth=MAX_DEPTH, random_state=state)
    forest.fit(rank_NF[drawn], score_N[drawn])
    high_F = rank_NF.max(0)
    of_trees = [main_effect_shares(tree.tree_, high_F) for tree in forest.estimators_]
    share_F = np.sum([share_F for share_F in of_trees if share_F is not None], axis=0)
    if not np.any(share_F):  # no tree could split
        return np.full(len(high_F), 1 / len(high_F))
    found: FloatArray = share_F / share_F.sum()
    return found


def main_effect_shares(tree: Any, high_F: FloatArray) -> FloatArray | None:
    """The share [F] of a regression tree's variance, over features that are uniform from 0 to
    `high_F`, that the main effect of each feature explains; None for a constant tree.

    `tree` is scikit-learn's. The algorithm of Hutter et al., in which Optuna's evaluator visits the
    tree for every interval between two splits: here each leaf adds its value to the intervals that
    it covers, so the time grows with the leaves, not with their square.
    """
    low_LF, high_LF, value_L = _leaves(tree, high_F)
    size_LF = high_LF - low_LF
    weight_L = size_LF.prod(1)
    mean = np.average(value_L, weights=weight_L)
    variance = np.average((value_L - mean) ** 2, weights=weight_L)
    if variance <= 0:
        return None
    share_F = np.zeros(len(high_F))
    for f in set(tree.feature[tree.feature >= 0].tolist()):
        edges = np.unique([0.0, *tree.threshold[tree.feature == f], high_F[f]])
        begins_L, ends_L = (np.searchsorted(edges, each_LF[:, f]) for each_LF in (low_LF, high_LF))
        others_L = weight_L / size_LF[:, f]  # of the leaf, in all other features
        total, size = (
            _in_intervals(x, begins_L, ends_L) for x in (others_L * (value_L - mean), others_L)
        )
        marginal = total / size
        centre = np.average(marginal, weights=np.diff(edges))
        share_F[f] = np.average((marginal - centre) ** 2, weights=np.diff(edges)) / variance
    return share_F


def _in_intervals(each_L: FloatArray, begins_L: IntArray, ends_L: IntArray) -> FloatArray:
    """The sum of what the leaves have, in each interval between two edges, which they cover from
    one edge to another."""
    ends = np.bincount(ends_L, each_L)
    return np.cumsum(np.bincount(begins_L, each_L, len(ends)) - ends)[:-1]


def _leaves(tree: Any, high_F: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each leaf its lower and upper bounds [L, F], and its value [L]."""
    low_NF = np.zeros((tree.node_count, len(high_F)))
    high_NF = np.tile(high_F, (tree.node_count, 1))
    nodes = np.zeros(1, np.int64)
    while len(nodes):  # the nodes of one depth
        nodes = nodes[tree.feature[nodes] >= 0]
        left, right = tree.children_left[nodes], tree.children_right[nodes]
        for child in (left, right):
            low_NF[child], high_NF[child] = low_NF[nodes], high_NF[nodes]
        feature, threshold = tree.feature[nodes], tree.threshold[nodes]
        high_NF[left, feature] = threshold
        low_NF[right, feature] = threshold
        nodes = np.concatenate([left, right])
    is_leaf = tree.feature < 0
    return low_NF[is_leaf], high_NF[is_leaf], tree.value[is_leaf, 0, 0]


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
