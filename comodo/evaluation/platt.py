"""Class probabilities of one-against-one SVMs, as computed by scikit-learn's copy of libsvm.

Platt scaling of each pair of classes on out-of-fold decision values, then pairwise coupling. It
knows kernels, decision values and pairs, but not features or how C was chosen. Shape letters:
N windows, M windows of a pair of classes, K classes, P pairs of classes.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.svm import SVC

from comodo.evaluation.labelled_features import FloatArray, Indices

Pairs = list[tuple[int, int]]

PLATT_FOLDS = 5


def fit_pair(kernel_MM: FloatArray, n_first: int, cost: float) -> tuple[FloatArray, float]:
    """Dual coefficients [M] and intercept of an SVM of two classes, with C = `cost`.

    The first `n_first` windows are the first class, for which decision values are positive.
    """
    svm = SVC(kernel="precomputed", C=cost).fit(kernel_MM, np.arange(len(kernel_MM)) >= n_first)
    coefficients_M = np.zeros(len(kernel_MM))
    coefficients_M[svm.support_] = -svm.dual_coef_[0]  # in SVC, positive means the second class
    return coefficients_M, -float(svm.intercept_[0])


class LibsvmRandom:
    """The random numbers of scikit-learn's libsvm: mt19937, with bounded integers by Lemire's
    method (2019, arXiv 1805.10941)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.reseed()

    def reseed(self) -> None:
        self._twister = np.random.RandomState(self._seed)

    def permutation(self, size: int) -> Indices:
        """Fisher-Yates shuffle of `range(size)`, from the front, as in libsvm."""
        order = np.arange(size)
        for i in range(size):
            j = i + self._below(size - i)
            order[i], order[j] = order[j], order[i]
        return order

    def _below(self, bound: int) -> int:
        threshold = (2**32 - bound) % bound  # rejecting low words below it removes the bias
        while True:
            product = int(self._twister.randint(2**32, dtype=np.uint32)) * bound
            if product % 2**32 >= threshold:
                return product >> 32


def out_of_fold_decisions(
    kernel_MM: FloatArray, n_first: int, cost: float, generator: LibsvmRandom
) -> FloatArray:
    """Decision values [M] of a pair for `fit_sigmoid`, by libsvm's 5-fold cross-validation.

    As libsvm does, a fold that leaves only one class to train on predicts that class, +1 or -1.
    """
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
        # libsvm sorts the labels of this inner problem, +1 and -1, so the second class comes first.
        members = np.concatenate([seconds, firsts])
        coefficients, intercept = fit_pair(kernel_MM[np.ix_(members, members)], len(seconds), cost)
        decisions_M[valid] = -(kernel_MM[np.ix_(valid, members)] @ coefficients + intercept)
        generator.reseed()  # libsvm reseeds at every training
    return decisions_M


def fit_sigmoid(decisions_M: FloatArray, is_first_M: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope A and offset B of P(first | decision) = 1 / (1 + exp(A decision + B)).

    Platt scaling (1999) with smoothed targets, fitted by Newton's method with backtracking: Lin,
    Lin and Weng (2007), "A note on Platt's probabilistic outputs for support vector machines".
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
        # Hessian [[aa, ab], [ab, bb]]; the small constant keeps it positive definite.
        aa, bb = decisions_M**2 @ curvature_M + 1e-12, curvature_M.sum() + 1e-12
        ab = decisions_M @ curvature_M
        determinant = aa * bb - ab**2
        if determinant == 0:  # decision values nearly constant: the slope is not identifiable
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
        else:  # the line search failed: no step lowers the loss
            break
        (slope, offset), loss = candidate, candidate_loss
    return float(slope), float(offset)


def couple(pairwise_NP: FloatArray, pairs: Pairs) -> FloatArray:
    """Class probabilities [N, K] from P(first class | first or second class) of each pair; pairs
    are in the order of `combinations(range(K), 2)`.

    Wu, Lin and Weng (2004), "Probability estimates for multi-class classification by pairwise
    coupling": their second approach, by algorithm 2, with libsvm's clipping, stopping criterion and
    maximum number of iterations.
    """
    n_classes = pairs[-1][1] + 1
    r_NKK = np.zeros((len(pairwise_NP), n_classes, n_classes))
    for p, (first, second) in enumerate(pairs):
        r_NKK[:, first, second] = pairwise_NP[:, p].clip(1e-7, 1 - 1e-7)
        r_NKK[:, second, first] = 1 - r_NKK[:, first, second]
    transposed_NKK = r_NKK.transpose(0, 2, 1)
    q_NKK = -transposed_NKK * r_NKK  # the matrix Q of the paper
    diagonal = np.arange(n_classes)
    q_NKK[:, diagonal, diagonal] = np.square(transposed_NKK).sum(axis=2)

    result_NK = np.full((len(r_NKK), n_classes), 1 / n_classes)
    active = np.arange(len(r_NKK))  # windows that have not converged
    for _ in range(max(100, n_classes)):
        p_NK, q_now_NKK = result_NK[active], q_NKK[active]
        qp_NK = (q_now_NKK @ p_NK[:, :, None])[:, :, 0]
        pqp_N = (p_NK * qp_NK).sum(axis=1)
        not_converged = abs(qp_NK - pqp_N[:, None]).max(axis=1) >= 0.005 / n_classes
        active = active[not_converged]
        if not len(active):
            break
        p_NK, qp_NK, pqp_N = p_NK[not_converged], qp_NK[not_converged], pqp_N[not_converged]
        q_now_NKK = q_now_NKK[not_converged]
        for k in range(n_classes):
            q_k_NK = q_now_NKK[:, k]
            step_N = (pqp_N - qp_NK[:, k]) / q_k_NK[:, k]
            scale_N = 1 + step_N
            p_NK[:, k] += step_N
            pqp_N = (pqp_N + step_N * (step_N * q_k_NK[:, k] + 2 * qp_NK[:, k])) / scale_N**2
            qp_NK = (qp_NK + step_N[:, None] * q_k_NK) / scale_N[:, None]
            p_NK /= scale_N[:, None]
        result_NK[active] = p_NK
    return result_NK
