"""Class probabilities of pairwise SVMs, as scikit-learn's copy of libsvm makes them.

Platt scaling for each pair of classes on held-out decision values, then pairwise coupling. It
knows pairs, kernels and decision values, nothing of features or of how C was chosen.

Shape suffixes: N windows, M windows of a pair of classes, K classes, P pairs of classes.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.svm import SVC

FloatArray = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Pairs = list[tuple[int, int]]

PLATT_FOLDS = 5


def fit_pair(kernel_MM: FloatArray, n_first: int, cost: float) -> tuple[FloatArray, float]:
    """Coefficients [M] and intercept whose decision value is positive for the first class."""
    svm = SVC(kernel="precomputed", C=cost).fit(kernel_MM, np.arange(len(kernel_MM)) >= n_first)
    coefficients_M = np.zeros(len(kernel_MM))
    coefficients_M[svm.support_] = -svm.dual_coef_[0]  # SVC's two-class sign favours the second
    return coefficients_M, -float(svm.intercept_[0])


class LibsvmRandom:
    """The random numbers of scikit-learn's libsvm: mt19937, bounded as Lemire (2019) does."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.reseed()

    def reseed(self) -> None:
        self._twister = np.random.RandomState(self._seed)

    def permutation(self, size: int) -> Indices:
        order = np.arange(size)
        for i in range(size):
            j = i + self._below(size - i)
            order[i], order[j] = order[j], order[i]
        return order

    def _below(self, bound: int) -> int:
        rejected = (2**32 - bound) % bound  # so many low words would favour small results
        while True:
            product = int(self._twister.randint(2**32, dtype=np.uint32)) * bound
            if product % 2**32 >= rejected:
                return product >> 32


def held_out_decisions(
    kernel_MM: FloatArray, n_first: int, cost: float, generator: LibsvmRandom
) -> FloatArray:
    """Decision values [M] of libsvm's own 5-fold cross-validation of a pair (for the sigmoid)."""
    size = len(kernel_MM)
    order_M = generator.permutation(size)
    decisions_M = np.empty(size)
    for fold in range(PLATT_FOLDS):
        start, stop = fold * size // PLATT_FOLDS, (fold + 1) * size // PLATT_FOLDS
        valid, train = order_M[start:stop], np.concatenate([order_M[:start], order_M[stop:]])
        firsts, seconds = train[train < n_first], train[train >= n_first]
        if not len(firsts) or not len(seconds):
            decisions_M[valid] = 1.0 if len(firsts) else -1.0
            continue
        # libsvm sorts the labels of this inner problem, +1 and -1, so the second class leads.
        members = np.concatenate([seconds, firsts])
        coefficients, intercept = fit_pair(kernel_MM[np.ix_(members, members)], len(seconds), cost)
        decisions_M[valid] = -(kernel_MM[np.ix_(valid, members)] @ coefficients + intercept)
        generator.reseed()  # every training in libsvm starts the generator again
    return decisions_M


def fit_sigmoid(decisions_M: FloatArray, is_first_M: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope A and offset B of P(first) = 1 / (1 + exp(A decision + B)).

    Platt (1999) with his smoothed targets, by Newton's method with backtracking as in Lin, Lin and
    Weng (2007), "A note on Platt's probabilistic outputs for support vector machines".
    """
    n_first = int(is_first_M.sum())
    n_second = len(is_first_M) - n_first
    target_M = np.where(is_first_M, (n_first + 1) / (n_first + 2), 1 / (n_second + 2))

    def loss_at(slope: float, offset: float) -> float:
        exponents_M = slope * decisions_M + offset
        return float((target_M * exponents_M + np.logaddexp(0, -exponents_M)).sum())

    slope, offset = 0.0, float(np.log((n_second + 1) / (n_first + 1)))
    loss = loss_at(slope, offset)
    for _ in range(100):
        exponents_M = slope * decisions_M + offset
        errors_M = target_M - expit(-exponents_M)
        slope_gradient, offset_gradient = decisions_M @ errors_M, errors_M.sum()
        if max(abs(slope_gradient), abs(offset_gradient)) < 1e-5:
            break
        curvature_M = expit(-exponents_M) * expit(exponents_M)
        # The Hessian [[aa, ab], [ab, bb]], kept positive definite by the small addition.
        aa = decisions_M**2 @ curvature_M + 1e-12
        bb = curvature_M.sum() + 1e-12
        ab = decisions_M @ curvature_M
        determinant = aa * bb - ab**2
        if determinant == 0:  # decision values all but constant: no slope can be found
            break
        slope_step = (ab * offset_gradient - bb * slope_gradient) / determinant
        offset_step = (ab * slope_gradient - aa * offset_gradient) / determinant
        descent = slope_gradient * slope_step + offset_gradient * offset_step
        step = 1.0
        while step >= 1e-10:
            candidate = slope + step * slope_step, offset + step * offset_step
            candidate_loss = loss_at(*candidate)
            if candidate_loss < loss + 1e-4 * step * descent:
                break
            step /= 2
        else:  # no step lowers the loss any more
            break
        (slope, offset), loss = candidate, candidate_loss
    return float(slope), float(offset)


def couple(first_wins_NP: FloatArray, pairs: Pairs) -> FloatArray:
    """Class probabilities [N, K] that agree best with the pairs' P(first | first or second).

    The second method of Wu, Lin and Weng (2004), "Probability estimates for multi-class
    classification by pairwise coupling", algorithm 2, with libsvm's limits.
    """
    n_classes = pairs[-1][1] + 1
    wins_NKK = np.zeros((len(first_wins_NP), n_classes, n_classes))
    for p, (first, second) in enumerate(pairs):
        wins_NKK[:, first, second] = first_wins_NP[:, p].clip(1e-7, 1 - 1e-7)
        wins_NKK[:, second, first] = 1 - wins_NKK[:, first, second]
    losses_NKK = wins_NKK.transpose(0, 2, 1)
    q_NKK = -losses_NKK * wins_NKK
    diagonal = np.arange(n_classes)
    q_NKK[:, diagonal, diagonal] = np.square(losses_NKK).sum(axis=2)

    result_NK = np.full((len(wins_NKK), n_classes), 1 / n_classes)
    rows = np.arange(len(wins_NKK))  # the windows still being improved
    for _ in range(max(100, n_classes)):
        p_NK, q_now_NKK = result_NK[rows], q_NKK[rows]
        qp_NK = (q_now_NKK @ p_NK[:, :, None])[:, :, 0]
        pqp_N = (p_NK * qp_NK).sum(axis=1)
        unfinished = abs(qp_NK - pqp_N[:, None]).max(axis=1) >= 0.005 / n_classes
        rows = rows[unfinished]
        if not len(rows):
            break
        p_NK, qp_NK, pqp_N = p_NK[unfinished], qp_NK[unfinished], pqp_N[unfinished]
        q_now_NKK = q_now_NKK[unfinished]
        for k in range(n_classes):
            q_k_NK = q_now_NKK[:, k]
            step_N = (pqp_N - qp_NK[:, k]) / q_k_NK[:, k]
            scale_N = 1 + step_N
            p_NK[:, k] += step_N
            pqp_N = (pqp_N + step_N * (step_N * q_k_NK[:, k] + 2 * qp_NK[:, k])) / scale_N**2
            qp_NK = (qp_NK + step_N[:, None] * q_k_NK) / scale_N[:, None]
            p_NK /= scale_N[:, None]
        result_NK[rows] = p_NK
    return result_NK
