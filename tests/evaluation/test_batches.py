"""Many configurations at once: exactly the numbers of each by itself."""

import math

import numpy as np
import pytest

from comodo.evaluation import batches, stats

SHAPES = [(1, 1), (1, 6), (3, 1), (3, 2), (2, 9), (5, 17), (1, 40)]  # seeds, groups


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits of only the first, hits of only the second, and windows, of a shape of those above."""
    seeds, groups = SHAPES[rng.integers(len(SHAPES))]
    count_G = rng.integers(1, 60, groups)
    first_SG = rng.binomial(count_G, rng.uniform(0, 0.6), (seeds, groups))
    second_SG = rng.binomial(count_G - first_SG, rng.uniform(0, 0.5))
    return first_SG, second_SG, count_G


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # also where a bound is NaN


def test_intervals_are_those_of_each_accuracy() -> None:
    rng = np.random.default_rng(0)
    tables = [(first_SG, count_G) for first_SG, _, count_G in (drawn(rng) for _ in range(200))]
    found = batches.intervals([batches.accuracy_estimate(*table) for table in tables], 0.95)
    for interval, (hits_SG, count_G) in zip(found, tables, strict=True):
        if len(count_G) == 1:
            assert interval.mean == hits_SG.sum() / (len(hits_SG) * count_G.sum())
            assert math.isnan(interval.low) and math.isnan(interval.high)
        else:
            assert interval == stats.accuracy_interval(hits_SG, count_G)


def test_intervals_are_those_of_each_jackknife() -> None:
    rng = np.random.default_rng(1)
    tables = []
    for _ in range(200):
        first_SG, _, count_G = drawn(rng)
        tables.append((rng.random(len(first_SG)), rng.random(first_SG.shape), count_G))
    found = batches.intervals([batches.jackknife_estimate(*table) for table in tables], 0.9)
    for interval, table in zip(found, tables, strict=True):
        alone = stats.jackknife_interval(*table, level=0.9)
        assert interval == alone or (alone is None and math.isnan(interval.low))
        assert interval.mean == pytest.approx(table[0].mean())


def test_comparisons_are_those_of_each_pair() -> None:
    rng = np.random.default_rng(2)
    tables = [drawn(rng) for _ in range(100)]
    found = batches.comparisons(tables, 0.95)
    assert all(same(c, stats.compare(*t)) for c, t in zip(found, tables, strict=True))
    assert any(c.more_seeds for c in found) and any(c.p is None for c in found)
    assert batches.comparisons([], 0.95) == []
    assert batches.intervals([], 0.95) == []


def test_tables_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and that many hits"):
        batches.accuracy_estimate([[5]], [4])
    with pytest.raises(ValueError, match="replicates must be"):
        batches.jackknife_estimate([0.5], [[0.5]], [5, 5])
    with pytest.raises(ValueError, match="cannot be paired"):
        batches.comparisons([([[1, 1]], [[1, 1], [1, 1]], [4, 4])], 0.95)
