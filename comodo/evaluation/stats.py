"""How far an accuracy, or the difference between two, can be trusted.

One job: intervals and tests for new seeds and new groups (a group: a subject, capture or day), by
crossed random effects: a seed's, a group's, and their interaction with the windows' noise. Windows
of one group are alike, so they never count as independent evidence.

It knows nothing of sweeps, files or how windows were classified.

A configuration's result is a table: `hits_SG`, how many windows of group g were classified right
with seed s, and `count_G`, the group's windows, the same for all seeds. Shape suffixes: S seeds,
G groups, M numbers of seeds; `...` in front stands for any number of tables at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri, stdtrit

FloatArray = npt.NDArray[np.float64]
Table = tuple[npt.ArrayLike, npt.ArrayLike]  # hits_SG, count_G
LeftOut = tuple[
    FloatArray, FloatArray
]  # values with all groups [..., S, 1], without each [..., S, G]
MeanSquares = tuple[FloatArray, FloatArray, FloatArray]  # of groups, of seeds, of the rest

MAX_SEEDS = 1000  # more than anyone would train


@dataclass(frozen=True)
class Interval:
    """A share, 0..1, and the bounds between which it lies."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Whether two configurations' accuracies differ; in shares, not percent."""

    difference: float  # the first's accuracy minus the second's, -1..1
    low: float
    high: float
    p: float  # two-sided
    more_seeds: int | None
    """Seeds to add until a difference that stayed as it is would be distinguishable (by chance
    about every second time); 0: it is already; None: no number up to `MOST_SEEDS` would do, more
    groups are needed, or there is one seed, which cannot tell how seeds vary."""


def interval(
    hits_SG: npt.ArrayLike, count_G: npt.ArrayLike, level: float = 0.95
) -> Interval | None:
    """The share of windows classified right, and what new seeds on new groups would give.

    In `level` of studies like this one the interval holds the accuracy expected of new seeds on
    new groups; with one seed, of that seed on new groups; with one group, of new seeds on that
    group. One of both tells nothing: None.

    Raises:
        ValueError: on wrong shapes, groups without windows, or more hits than windows.
    """
    hits_SG, count_G = _checked(hits_SG, count_G)
    if hits_SG.size == 1:
        return None
    return Interval(*map(float, proportion_bounds(hits_SG, count_G, level)))


def jackknife(
    whole_S: npt.ArrayLike, without_SG: npt.ArrayLike, count_G: npt.ArrayLike, level: float = 0.95
) -> Interval | None:
    """As `interval`, of a measure that is no share of hits, as balanced accuracy or F1 (0..1).

    Args:
        whole_S: its value with each seed.
        without_SG: the same with each group left out; of a single group anything.

    Raises:
        ValueError: on wrong shapes, or groups without windows.
    """
    whole_S, without_SG, count_G = (
        np.asarray(x, np.float64) for x in (whole_S, without_SG, count_G)
    )
    shape = whole_S.shape + count_G.shape
    if len(shape) != 2 or without_SG.shape != shape or not without_SG.size or (count_G <= 0).any():
        raise ValueError(f"{without_SG.shape} is not [seeds, groups] of windows, {shape}")
    if without_SG.size == 1:
        return None
    return Interval(*map(float, _bounds((whole_S[:, None], without_SG), count_G, level)))


def compare(a: Table, b: Table, level: float = 0.95) -> Comparison | None:
    """The difference of two configurations, paired by seed and by group in the tables' order.

    The bounds and p are for new seeds and new groups, as in `interval`, and so is None.

    Raises:
        ValueError: as `interval`, or if the tables differ in shape or in the groups' windows.
    """
    (hits_SG, count_G), (others_SG, others_G) = _checked(*a), _checked(*b)
    if hits_SG.shape != others_SG.shape or not np.array_equal(count_G, others_G):
        raise ValueError(
            f"tables cannot be paired: {hits_SG.shape} and {others_SG.shape} of [seeds, groups], "
            f"windows {count_G.tolist()} and {others_G.tolist()}"
        )
    if hits_SG.size == 1:
        return None
    extra_SG = hits_SG - others_SG
    difference, half, p = map(float, paired_test(extra_SG, count_G, level))
    more_seeds = 0 if p <= 1 - level else _more_seeds(extra_SG, count_G, level)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return Comparison(difference, low, high, p, more_seeds)


def over_seeds(values: list[float], level: float = 0.95) -> Interval | None:
    """The mean of any measure and what new seeds would give, by Student's t; None for one value."""
    if len(values) < 2:
        return None
    mean, tail = float(np.mean(values)), (1 + level) / 2
    half = float(stdtrit(len(values) - 1, tail) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def holm(p_values: list[float]) -> list[float]:
    """P-values adjusted for their number, in the given order: step-down (Holm 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def proportion_bounds(
    hits_SG: FloatArray, count_G: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Accuracy, lower and upper bound [...] of tables [..., S, G]."""
    return _bounds(_left_out(hits_SG, count_G), count_G, level)


def _bounds(
    left_out: LeftOut, count_G: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean over seeds, lower and upper bound [...].

    Clopper & Pearson's interval (1934) of a sample of the effective size: so many independent
    windows as would vary as much, cut by Student's t over the normal's for how little few groups
    and seeds tell of the variance (Korn & Graubard 1998). Near 0 and 1 it is rightly lopsided.
    Where nothing varies, as with every window right, the size is that of one seed's windows.
    """
    mean, n_seeds, tail = left_out[0].mean((-2, -1)), left_out[0].shape[-2], (1 - level) / 2
    variance, t_squared = _error(1 - level, _mean_squares(left_out), n_seeds, count_G)
    size = np.broadcast_to(count_G.sum(-1), mean.shape).copy()
    np.divide(mean * (1 - mean), variance, out=size, where=variance > 0)
    size = size * ndtri(tail) ** 2 / t_squared
    hits, misses = np.maximum(mean * size, 1e-9), np.maximum((1 - mean) * size, 1e-9)
    low = np.where(mean > 0, betaincinv(hits, misses + 1, tail), 0.0)
    high = np.where(mean < 1, betaincinv(hits + 1, misses, 1 - tail), 1.0)
    return mean, low, high


def paired_test(
    extra_SG: FloatArray, count_G: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Difference, half the interval's width and p [...] of tables [..., S, G] of hits more."""
    n_seeds = extra_SG.shape[-2]
    difference = extra_SG.sum((-2, -1)) / (n_seeds * count_G.sum(-1))
    squares = _mean_squares(_left_out(extra_SG, count_G))
    variance, t_squared = _error(1 - level, squares, n_seeds, count_G)
    variance = np.maximum(variance, _least_variance(extra_SG, count_G, n_seeds))
    low, p = np.zeros(difference.shape), np.ones(difference.shape)
    for _ in range(40):  # bisection for the level at which the interval just reaches zero
        middle = (low + p) / 2
        reaches = _error(middle, squares, n_seeds, count_G)[1] * variance >= difference**2
        low, p = np.where(reaches, middle, low), np.where(reaches, p, middle)
    return difference, np.sqrt(t_squared * variance), p


def _more_seeds(extra_SG: FloatArray, count_G: FloatArray, level: float) -> int | None:
    """How many, if the difference and the components of its variance stay as estimated."""
    n_seeds = len(extra_SG)
    if n_seeds == 1:
        return None
    group, seed, rest = _mean_squares(_left_out(extra_SG, count_G))
    seeds_M = np.arange(n_seeds + 1, MAX_SEEDS + 1)
    group_M = rest + np.maximum(group - rest, 0) * seeds_M / n_seeds
    variance_M, t_squared_M = _error(1 - level, (group_M, seed, rest), seeds_M, count_G)
    variance_M = np.maximum(variance_M, _least_variance(extra_SG, count_G, seeds_M))
    difference = extra_SG.sum() / (n_seeds * count_G.sum())
    enough = np.flatnonzero(t_squared_M * variance_M < difference**2)
    return int(enough[0]) + 1 if len(enough) else None


def _least_variance(
    extra_SG: FloatArray, count_G: FloatArray, n_seeds: npt.ArrayLike
) -> FloatArray:
    """Variance [...] of a difference from the fewest windows that can have made it.

    k hits more take k windows at least that one alone got right, and their number varies by k
    (McNemar 1947): nothing is certain because a few windows differ alike everywhere.
    """
    return abs(extra_SG).mean(-2).sum(-1) / count_G.sum(-1) ** 2 / np.asarray(n_seeds)


def _left_out(hits_SG: FloatArray, count_G: FloatArray) -> LeftOut:
    """Each seed's share of hits with all groups, and with each left out."""
    count_1G = count_G[..., None, :]
    hits_S1, total_11 = hits_SG.sum(-1, keepdims=True), count_1G.sum(-1, keepdims=True)
    return hits_S1 / total_11, (hits_S1 - hits_SG) / np.maximum(total_11 - count_1G, 1)


def _mean_squares(left_out: LeftOut) -> MeanSquares:
    """Two-way analysis of variance: mean squares [...], zero for one group or one seed.

    Its cells are the jackknife's pseudo-values of each seed's value, which groups of unequal size
    make together (Tukey 1958; Cochran 1977, section 6.17).
    """
    whole_S1, without_SG = left_out
    n_seeds, n_groups = without_SG.shape[-2:]
    pseudo_SG = whole_S1 + (n_groups - 1) * (whole_S1 - without_SG)
    pseudo_SG = pseudo_SG - pseudo_SG.mean((-2, -1), keepdims=True)
    pseudo_SG[abs(pseudo_SG) < 1e-12] = 0  # rounding
    group_1G, seed_S1 = pseudo_SG.mean(-2, keepdims=True), pseudo_SG.mean(-1, keepdims=True)
    group = n_seeds * np.square(group_1G).sum((-2, -1)) / max(n_groups - 1, 1)
    seed = n_groups * np.square(seed_S1).sum((-2, -1)) / max(n_seeds - 1, 1)
    rest = np.square(pseudo_SG - group_1G - seed_S1).sum((-2, -1))
    return group, seed, rest / max((n_seeds - 1) * (n_groups - 1), 1)


def _error(
    alpha: npt.ArrayLike, squares: MeanSquares, n_seeds: npt.ArrayLike, count_G: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Variance of the mean of all cells, and t squared for a two-sided `alpha`, each [...].

    The variance is that of crossed random effects, (group + seed - rest) / SG (Cornfield & Tukey
    1956), each effect's component zero where it would be negative, so that it is never below that
    of groups alone or of seeds alone. The t are those of groups and of seeds, weighted by their
    mean squares (Cochran & Cox 1950; squared: Graybill & Wang 1980), and never give less than the
    t-test over groups alone or over seeds alone: with Satterthwaite's degrees of freedom (1946)
    three seeds that are alike by chance would pass for certain, and a test at 0.5 %, as Holm's
    needs, err in 2.5 %. Unequal groups count as so many equal ones (Kish 1965).
    """
    group, seed, rest = squares
    n_groups = count_G.shape[-1]
    free_groups = np.maximum(count_G.sum(-1) ** 2 / np.square(count_G).sum(-1) - 1, 1)
    of_groups = stdtrit(free_groups, np.divide(alpha, 2)) ** 2
    of_seeds = stdtrit(np.maximum(np.subtract(n_seeds, 1), 1), np.divide(alpha, 2)) ** 2
    total, both = np.maximum(group, rest) + np.maximum(seed, rest) - rest, group + seed
    weight = np.where(both > 0, seed / np.where(both > 0, both, 1), n_groups == 1)
    alone = np.maximum(seed * of_seeds, group * of_groups) / np.where(total > 0, total, 1)
    t_squared = np.maximum(weight * of_seeds + (1 - weight) * of_groups, alone)
    return total / np.multiply(n_seeds, n_groups), t_squared


def _checked(hits_SG: npt.ArrayLike, count_G: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    hits_SG, count_G = np.asarray(hits_SG, np.float64), np.asarray(count_G, np.float64)
    if hits_SG.ndim != 2 or not hits_SG.size or count_G.shape != hits_SG.shape[1:]:
        raise ValueError(f"hits must be [seeds, groups], got {hits_SG.shape} for {count_G.shape}")
    if not ((count_G > 0) & (hits_SG >= 0) & (hits_SG <= count_G)).all():
        raise ValueError("every group needs windows, and hits between 0 and their number")
    return hits_SG, count_G
