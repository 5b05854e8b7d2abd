"""The Pareto front of several scores."""

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

    def dominated(mine: list[float]) -> bool:
        return any(row != mine and all(map(ge, row, mine)) for row in good.values())

    return [name for name, row in good.items() if not dominated(row)]
