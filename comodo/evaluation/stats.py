"""Confidence intervals and tests for accuracies and for the difference between two.

Inference is for new seeds and new groups (a group: a subject, capture or day) from a model of
crossed random effects: seed, group, and their interaction, which includes the windows' noise.
Windows of one group are correlated, so they never count as independent observations. It knows
nothing of sweeps, files or how windows were classified.

From one seed or one group no variance of the other can be estimated, so nothing is claimed about
a configuration then.

The result of a configuration is a table: `hits_SG`, the number of windows of group g that were
classified correctly with seed s, and `count_G`, the number of windows of the group. Accuracies and
their bounds are fractions, not percent. Shape letters: S seeds, G groups, M candidate numbers of
seeds; `...` are any leading batch dimensions.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri, stdtrit

FloatArray = npt.NDArray[np.float64]
Jackknife = tuple[FloatArray, FloatArray]
"""Estimates from all groups [..., S, 1], and the delete-one-group replicates [..., S, G]."""
Bounds = tuple[FloatArray, FloatArray, FloatArray]  # mean, low, high
MeanSquares = tuple[FloatArray, FloatArray, FloatArray]  # of groups, of seeds, residual

MAX_SEEDS = 1000  # more than anyone would train


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence bounds, usually fractions from 0 to 1."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The difference between the accuracies of two configurations, as a fraction."""

    difference: float  # accuracy of the first minus that of the second, -1..1
    low: float
    high: float
    """Bounds for new seeds and new groups; with one seed, of these two students for new groups;
    with one group NaN."""
    p: float | None
    """Two-sided. None with one seed or one group: then the difference is one between these students
    on these groups, and nothing follows for their configurations."""
    more_seeds: int | None
    """Seeds to add for significance with about 50 % power, if the true difference is the observed
    one. 0: already significant. None: more than `MAX_SEEDS` (add groups instead), or without p."""


def accuracy_interval(
    hits_SG: npt.ArrayLike, count_G: npt.ArrayLike, level: float = 0.95
) -> Interval | None:
    """Accuracy with its confidence interval for new seeds and new groups: `comodo.interval`.

    Windows of one group are alike, so the groups are what is counted: with few of them the interval
    is wide, however many windows they have. The exact binomial interval (Clopper & Pearson 1934)
    at the effective number of windows, from the variances between seeds and between groups
    (jackknife over groups; Korn & Graubard 1998).

    Args:
        hits_SG: windows that were classified correctly, `[S, G]`: for each seed of a configuration
            and each group (person, capture or day) of the test split.
        count_G: windows of each group `[G]`.
        level: of confidence.

    Returns:
        Mean and bounds as fractions. With one seed they are for that seed on new groups; None with
        one group, from which nothing follows for others.

    Raises:
        ValueError: wrong shapes, a group without windows, or more hits than windows.

    Examples:
        >>> comodo.interval([[40, 31, 38], [42, 30, 35]], [50, 40, 50])
    """
    hits_SG, count_G = checked_table(hits_SG, count_G)
    return _interval(delete_one_group(hits_SG, count_G), count_G, level)


def accuracy_on_group(hits_S: npt.ArrayLike, count: float, level: float = 0.95) -> Interval | None:
    """Accuracy on one group with its interval for new seeds; None with one seed.

    Raises ValueError like `accuracy_interval`.
    """
    hits_S1, count_1 = checked_table(np.reshape(hits_S, (-1, 1)), [count])
    if len(hits_S1) == 1:
        return None
    bounds = jackknife_bounds(delete_one_group(hits_S1, count_1), count_1, level)
    return Interval(*map(float, bounds))


def jackknife_interval(
    estimate: npt.ArrayLike, replicates: npt.ArrayLike, count: npt.ArrayLike, level: float = 0.95
) -> Interval | None:
    """Like `accuracy_interval`, for a metric in 0..1 that is not a proportion of windows, such as
    F1: from each seed's `estimate` [S] on all groups, its `replicates` [S, G] on all groups but one
    (of any value when there is a single group), and the `count` [G] of windows.
    """
    return _interval(*checked_jackknife(estimate, replicates, count), level)


def checked_jackknife(
    estimate: npt.ArrayLike, replicates: npt.ArrayLike, count: npt.ArrayLike
) -> tuple[Jackknife, FloatArray]:
    """What `jackknife_interval` takes, as arrays."""
    arrays = (np.asarray(x, np.float64) for x in (estimate, replicates, count))
    estimate_S, replicate_SG, count_G = arrays
    shape = estimate_S.shape + count_G.shape
    if len(shape) != 2 or replicate_SG.shape != shape or not replicate_SG.size:
        raise ValueError(f"replicates must be [seeds, groups], {shape}, got {replicate_SG.shape}")
    if (count_G <= 0).any():
        raise ValueError(f"every group needs windows, got {count_G.tolist()}")
    return (estimate_S[:, None], replicate_SG), count_G


def _interval(jackknife: Jackknife, count_G: FloatArray, level: float) -> Interval | None:
    """None for one group."""
    if len(count_G) == 1:
        return None
    return Interval(*map(float, jackknife_bounds(jackknife, count_G, level)))


def compare(
    a_only_SG: npt.ArrayLike, b_only_SG: npt.ArrayLike, count_G: npt.ArrayLike, level: float = 0.95
) -> Comparison:
    """Difference in accuracy of two configurations, a minus b, paired by seed, group and window.

    With its interval for new seeds and new groups, and the p-value of "no difference", from the
    same model of crossed random effects as `accuracy_interval`. Correct the p-values of several
    comparisons, such as by `holm`.

    Args:
        a_only_SG: windows that only a classified correctly `[S, G]`, for each seed and group.
        b_only_SG: windows that only b classified correctly `[S, G]`.
        count_G: all windows of each group `[G]`, also those that both or neither got right.
        level: of confidence.

    Returns:
        Difference, bounds, p and the seeds that are missing, see `Comparison`; without p with one
        seed or one group.

    Raises:
        ValueError: as `accuracy_interval`, and for different shapes.

    Examples:
        >>> found = comodo.compare([[9, 7, 8], [8, 9, 6]], [[2, 1, 3], [1, 2, 2]], [50, 40, 50])
        >>> found.difference, found.p
    """
    pair = checked_pair(a_only_SG, b_only_SG, count_G)
    difference, half_width, p = map(float, paired_test(*pair, level))
    return comparison_of(pair, difference, half_width, p, level)


Pair = tuple[FloatArray, FloatArray, FloatArray]
"""`a_only_SG`, `b_only_SG` and `count_G` of `compare`."""


def checked_pair(
    a_only_SG: npt.ArrayLike, b_only_SG: npt.ArrayLike, count_G: npt.ArrayLike
) -> Pair:
    (a_SG, total_G), (b_SG, _) = (checked_table(x, count_G) for x in (a_only_SG, b_only_SG))
    if a_SG.shape != b_SG.shape:
        raise ValueError(f"tables cannot be paired: shapes {a_SG.shape} and {b_SG.shape}")
    checked_table(a_SG + b_SG, total_G)
    return a_SG, b_SG, total_G


def comparison_of(
    pair: Pair, difference: float, half_width: float, p: float, level: float
) -> Comparison:
    """From the outcome of `paired_test`."""
    seeds, groups = pair[0].shape
    if groups == 1:
        return Comparison(difference, math.nan, math.nan, None, None)
    low, high = max(-1.0, difference - half_width), min(1.0, difference + half_width)
    if seeds == 1:
        return Comparison(difference, low, high, None, None)
    more_seeds = 0 if p <= 1 - level else _more_seeds(*pair, level)
    return Comparison(difference, low, high, p, more_seeds)


def t_interval(values: list[float], level: float = 0.95) -> Interval | None:
    """Student's t interval of the mean of one value for each seed; None for a single value."""
    if len(values) < 2:
        return None
    mean, t = float(np.mean(values)), stdtrit(len(values) - 1, (1 + level) / 2)
    half_width = float(t * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half_width, mean + half_width)


def holm(p_values: list[float]) -> list[float]:
    """P-values adjusted for multiple comparisons, in the given order, by Holm (1979), "A simple
    sequentially rejective multiple test procedure"."""
    adjusted, running_max = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running_max = max(running_max, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running_max
    return adjusted


def jackknife_bounds(jackknife: Jackknife, count_G: FloatArray, level: float) -> Bounds:
    """Mean over seeds, lower and upper bound, each [...].

    The exact binomial interval (Clopper & Pearson 1934) at the effective sample size: the number of
    independent windows whose proportion would have the estimated variance, times (z / t)^2 for the
    few degrees of freedom of that estimate (Korn & Graubard 1998). It is asymmetric near 0 and 1.
    With zero variance, as when every window is correct, the size is the number of windows.
    """
    mean, n_seeds, tail = jackknife[0].mean((-2, -1)), jackknife[0].shape[-2], (1 - level) / 2
    variance, t_squared = _variance_of_mean(1 - level, _mean_squares(jackknife), n_seeds, count_G)
    size = np.broadcast_to(count_G.sum(-1), mean.shape).copy()
    np.divide(mean * (1 - mean), variance, out=size, where=variance > 0)
    size = size * ndtri(tail) ** 2 / t_squared
    hits, misses = np.maximum(mean * size, 1e-9), np.maximum((1 - mean) * size, 1e-9)
    low = np.where(mean > 0, betaincinv(hits, misses + 1, tail), 0.0)
    high = np.where(mean < 1, betaincinv(hits + 1, misses, 1 - tail), 1.0)
    return mean, low, high


def paired_test(
    a_only_SG: FloatArray, b_only_SG: FloatArray, count_G: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean difference, half-width of its interval and p-value, each [...].

    `a_only_SG` and `b_only_SG` [..., S, G] are as in `compare`.
    """
    difference_SG, n_seeds = a_only_SG - b_only_SG, a_only_SG.shape[-2]
    difference = difference_SG.sum((-2, -1)) / (n_seeds * count_G.sum(-1))
    squares = _mean_squares(delete_one_group(difference_SG, count_G))
    variance, t_squared = _variance_of_mean(1 - level, squares, n_seeds, count_G)
    variance = np.maximum(variance, _min_variance(a_only_SG + b_only_SG, count_G, n_seeds))
    low, p = np.zeros(difference.shape), np.ones(difference.shape)
    for _ in range(40):  # p is the alpha whose interval just reaches zero: found by bisection
        alpha = (low + p) / 2
        t_squared_alpha = _variance_of_mean(alpha, squares, n_seeds, count_G)[1]
        includes_zero = t_squared_alpha * variance >= difference**2
        low, p = np.where(includes_zero, alpha, low), np.where(includes_zero, p, alpha)
    return difference, np.sqrt(t_squared * variance), p


def _more_seeds(
    a_only_SG: FloatArray, b_only_SG: FloatArray, count_G: FloatArray, level: float
) -> int | None:
    """See `Comparison.more_seeds`. Mean difference and variance components stay as estimated."""
    difference_SG, n_seeds = a_only_SG - b_only_SG, len(a_only_SG)
    group, seed, residual = _mean_squares(delete_one_group(difference_SG, count_G))
    seeds_M = np.arange(n_seeds + 1, MAX_SEEDS + 1)
    group_M = residual + np.maximum(group - residual, 0) * seeds_M / n_seeds
    squares_M = group_M, seed, residual
    variance_M, t_squared_M = _variance_of_mean(1 - level, squares_M, seeds_M, count_G)
    variance_M = np.maximum(variance_M, _min_variance(a_only_SG + b_only_SG, count_G, seeds_M))
    difference = difference_SG.sum() / (n_seeds * count_G.sum())
    significant = np.flatnonzero(t_squared_M * variance_M < difference**2)
    return int(significant[0]) + 1 if len(significant) else None


def _min_variance(
    discordant_SG: FloatArray, count_G: FloatArray, n_seeds: npt.ArrayLike
) -> FloatArray:
    """Lower limit [...] of the variance of a mean difference: that of the number of hits if each of
    the k windows that only one configuration classified correctly could as well have been the
    other's, which is k (McNemar 1947). At least one window, as another could differ where none does
    here. Without it, windows that differ in the same way in every cell would be significant, and
    differences that cancel out in every cell exactly zero."""
    windows = np.maximum(discordant_SG.mean(-2).sum(-1), 1)
    return windows / count_G.sum(-1) ** 2 / np.asarray(n_seeds)


def delete_one_group(hits_SG: FloatArray, count_G: FloatArray) -> Jackknife:
    """The accuracy of each seed on all groups, and on all groups but one."""
    count_1G = count_G[..., None, :]
    hits_S1, total_11 = hits_SG.sum(-1, keepdims=True), count_1G.sum(-1, keepdims=True)
    return hits_S1 / total_11, (hits_S1 - hits_SG) / np.maximum(total_11 - count_1G, 1)


def _mean_squares(jackknife: Jackknife) -> MeanSquares:
    """Two-way analysis of variance: mean squares [...]; zero for a factor with one level.

    Its cells are the jackknife's pseudo-values of each seed's estimate, which allow for groups of
    unequal size (Tukey 1958; Cochran 1977, "Sampling Techniques", section 6.17).
    """
    estimate_S1, replicate_SG = jackknife
    n_seeds, n_groups = replicate_SG.shape[-2:]
    pseudo_SG = estimate_S1 + (n_groups - 1) * (estimate_S1 - replicate_SG)
    pseudo_SG = pseudo_SG - pseudo_SG.mean((-2, -1), keepdims=True)
    pseudo_SG[abs(pseudo_SG) < 1e-12] = 0  # rounding
    group_1G, seed_S1 = pseudo_SG.mean(-2, keepdims=True), pseudo_SG.mean(-1, keepdims=True)
    group = n_seeds * np.square(group_1G).sum((-2, -1)) / max(n_groups - 1, 1)
    seed = n_groups * np.square(seed_S1).sum((-2, -1)) / max(n_seeds - 1, 1)
    residual = np.square(pseudo_SG - group_1G - seed_S1).sum((-2, -1))
    return group, seed, residual / max((n_seeds - 1) * (n_groups - 1), 1)


def _variance_of_mean(
    alpha: npt.ArrayLike, squares: MeanSquares, n_seeds: npt.ArrayLike, count_G: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Variance of the mean of all cells, and squared critical t at a two-sided `alpha`, each [...].

    The variance is that of crossed random effects, (group + seed - residual) / SG (Cornfield &
    Tukey 1956), with components truncated at zero: at least that from groups or seeds alone.

    The critical value is the mean of those with the degrees of freedom of groups and of seeds,
    weighted by their mean squares (Cochran & Cox 1950; for squares: Graybill & Wang 1980), and at
    least as conservative as a t-test over groups or seeds alone. Satterthwaite's degrees of freedom
    (1946) are too many for three seeds that agree by chance: a test at alpha = 0.5 %, as Holm's
    method needs, had a type I error of 2.5 %. Unequal groups count as their effective number,
    sum^2 / sum of squares (Kish 1965).
    """
    group, seed, residual = squares
    n_groups = count_G.shape[-1]
    df_group = np.maximum(count_G.sum(-1) ** 2 / np.square(count_G).sum(-1) - 1, 1)
    t2_group = stdtrit(df_group, np.divide(alpha, 2)) ** 2
    t2_seed = stdtrit(np.maximum(np.subtract(n_seeds, 1), 1), np.divide(alpha, 2)) ** 2
    total = np.maximum(group, residual) + np.maximum(seed, residual) - residual
    both = group + seed
    weight = np.where(both > 0, seed / np.where(both > 0, both, 1), n_groups == 1)
    one_factor = np.maximum(seed * t2_seed, group * t2_group) / np.where(total > 0, total, 1)
    t_squared = np.maximum(weight * t2_seed + (1 - weight) * t2_group, one_factor)
    return total / np.multiply(n_seeds, n_groups), t_squared


def checked_table(hits_SG: npt.ArrayLike, count_G: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    hits_SG, count_G = np.asarray(hits_SG, np.float64), np.asarray(count_G, np.float64)
    if hits_SG.ndim != 2 or not hits_SG.size or count_G.shape != hits_SG.shape[1:]:
        raise ValueError(f"hits must be [seeds, groups], got {hits_SG.shape} for {count_G.shape}")
    if not ((count_G > 0) & (hits_SG >= 0) & (hits_SG <= count_G)).all():
        raise ValueError("every group needs windows, and between 0 and that many hits")
    return hits_SG, count_G
