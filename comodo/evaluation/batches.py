"""Intervals and comparisons of many configurations at once: the numbers of `stats`, with those that
have as many seeds and groups computed together. B tables of one shape, S seeds, G groups.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from comodo.evaluation.stats import (
    Comparison,
    FloatArray,
    Interval,
    Jackknife,
    checked_jackknife,
    checked_pair,
    checked_table,
    comparison_of,
    delete_one_group,
    jackknife_bounds,
    paired_test,
)


class Estimate(NamedTuple):
    """What the interval of a configuration is computed from."""

    mean: float
    jackknife: Jackknife
    count_G: FloatArray


def accuracy_estimate(hits_SG: npt.ArrayLike, count_G: npt.ArrayLike) -> Estimate:
    """Of a table as in `accuracy_interval`, whose errors it raises."""
    hits_SG, count_G = checked_table(hits_SG, count_G)
    mean = float(hits_SG.sum() / (len(hits_SG) * count_G.sum()))
    return Estimate(mean, delete_one_group(hits_SG, count_G), count_G)


def jackknife_estimate(
    estimate: npt.ArrayLike, replicates: npt.ArrayLike, count: npt.ArrayLike
) -> Estimate:
    """Of a metric as in `jackknife_interval`, whose errors it raises."""
    jackknife, count_G = checked_jackknife(estimate, replicates, count)
    return Estimate(float(jackknife[0].mean()), jackknife, count_G)


def intervals(estimates: Sequence[Estimate], level: float) -> list[Interval]:
    """With one group both bounds are NaN."""
    found = [Interval(estimate.mean, math.nan, math.nan) for estimate in estimates]
    for (_, groups), places in _alike(e.jackknife[1] for e in estimates).items():
        if groups > 1:
            alike = [estimates[place] for place in places]
            whole_BS1, rest_BSG = (np.stack([e.jackknife[i] for e in alike]) for i in (0, 1))
            count_BG = np.stack([estimate.count_G for estimate in alike])
            bounds = jackknife_bounds((whole_BS1, rest_BSG), count_BG, level)
            for place, *values in zip(places, *bounds, strict=True):
                found[place] = Interval(*map(float, values))
    return found


def comparisons(
    tables: Sequence[tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]], level: float
) -> list[Comparison]:
    """`compare` of each of many tables: `a_only_SG`, `b_only_SG` and `count_G`."""
    checked = [checked_pair(*table) for table in tables]
    found: dict[int, Comparison] = {}
    for places in _alike(a_SG for a_SG, _, _ in checked).values():
        a_BSG, b_BSG, count_BG = map(np.stack, zip(*(checked[p] for p in places), strict=True))
        tested = paired_test(a_BSG, b_BSG, count_BG, level)
        for place, *values in zip(places, *tested, strict=True):
            difference, half_width, p = map(float, values)
            found[place] = comparison_of(checked[place], difference, half_width, p, level)
    return [found[place] for place in range(len(tables))]


def _alike(tables_SG: Iterable[FloatArray]) -> dict[tuple[int, ...], list[int]]:
    """The places of the tables of each shape."""
    found: dict[tuple[int, ...], list[int]] = {}
    for place, table_SG in enumerate(tables_SG):
        found.setdefault(table_SG.shape, []).append(place)
    return found
