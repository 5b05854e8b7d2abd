"""Calibration of class probabilities: expected calibration error and Brier score.

Both are from 0 (best) to 1. Pure functions of arrays that know no classifier and no student. Shape
letters: N windows, K classes, G groups, B bins.
"""

import numpy as np
import numpy.typing as npt

from comodo.evaluation.labelled_features import FloatArray

BINS = 15  # of equal width, as in Guo et al. (2017)
COLUMNS = ("confidence", "correct", "brier")
SCORES = ("ece", "brier")


def columns(
    probability_NK: FloatArray, classes_K: npt.NDArray[np.str_], label_N: npt.NDArray[np.str_]
) -> dict[str, FloatArray]:
    """What both scores are computed from, by the names of `COLUMNS`, each [N]: the probability of
    the most probable class, 1 where that is the true class, and half the sum of squared errors of
    all probabilities (Brier 1950; half of it, so that 1 is the worst).

    A label that is not among the classes has the probability 0.
    """
    true_NK = classes_K == label_N[:, None]
    rows = np.arange(len(label_N)), probability_NK.argmax(1)
    squares_N = np.square(probability_NK - true_NK).sum(1) + ~true_NK.any(1)
    found = probability_NK[rows], true_NK[rows].astype(np.float64), squares_N / 2
    return dict(zip(COLUMNS, found, strict=True))


def scores(columns_N: dict[str, FloatArray]) -> dict[str, float]:
    """`ece` and `brier` of the windows of `columns`.

    `ece`: the expected calibration error of the most probable class, over `BINS` bins of its
    probability, each open on the left: the mean distance of accuracy and probability in a bin,
    weighted by its windows (Guo et al. 2017, arXiv 1706.04599). With few windows it is too large:
    a bin deviates by chance.
    """
    gap_GB, brier_G, count_G = _sums(columns_N, np.zeros(len(columns_N["brier"])))
    values = _scores(gap_GB[0], brier_G[0], count_G[0])
    return {name: float(value) for name, value in values.items()}


def replicates(
    columns_N: dict[str, FloatArray], group_N: npt.NDArray[np.generic]
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Both scores without each group in turn, [G] in the order of the sorted groups (of a single
    group, those with it), and the windows of each group [G]: for `stats.jackknife_interval`."""
    gap_GB, brier_G, count_G = _sums(columns_N, group_N)
    if len(count_G) == 1:
        return _scores(gap_GB, brier_G, count_G), count_G
    rest = (x.sum(0) - x for x in (gap_GB, brier_G, count_G))
    return _scores(*rest), count_G


def _sums(
    columns_N: dict[str, FloatArray], group_N: npt.NDArray[np.generic]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each group: hits minus their probabilities by bin [G, B], Brier scores and windows [G]."""
    confidence_N, correct_N, brier_N = (columns_N[name] for name in COLUMNS)
    groups, code_N = np.unique(group_N, return_inverse=True)
    bin_N = np.clip(np.ceil(confidence_N * BINS).astype(np.intp) - 1, 0, BINS - 1)
    cell_N, cells = code_N * BINS + bin_N, len(groups) * BINS
    gap_GB: FloatArray = np.bincount(cell_N, correct_N - confidence_N, cells).astype(np.float64)
    brier_G, count_G = (np.bincount(code_N, w).astype(np.float64) for w in (brier_N, None))
    return gap_GB.reshape(-1, BINS), brier_G, count_G


def _scores(gap_B: FloatArray, brier: FloatArray, count: FloatArray) -> dict[str, FloatArray]:
    """Both scores [...] from sums over windows; gaps are [..., B]."""
    return dict(zip(SCORES, (abs(gap_B).sum(-1) / count, brier / count), strict=True))
