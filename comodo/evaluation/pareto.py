"""The Pareto front of several scores."""

import math
from collections.abc import Mapping
from operator import ge


def pareto_front(scores: Mapping[str, tuple[float, ...]], signs: list[int]) -> list[str]:
    """Names that no other dominates, by being at least as good in all scores and better in one.

    `signs`: 1 where more is better, -1 where less is. Equal scores do not dominate each other, and
    scores that differ only by rounding are equal.
    """
    good = {
        name: [round(s * x, 9) for s, x in zip(signs, row, strict=True)]
        for name, row in scores.items()
    }

    front = {name for name, row in good.items() if any(map(math.isnan, row))}  # not comparable
    kept: list[list[float]] = []
    # Sorted, so that a row comes after all that dominate it.
    for name in sorted(good.keys() - front, key=good.__getitem__, reverse=True):
        mine = good[name]
        if not any(row != mine and all(map(ge, row, mine)) for row in kept):
            kept.append(mine)
            front.add(name)
    return [name for name in good if name in front]
