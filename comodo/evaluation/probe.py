"""The SVM probe: how well a frozen student's features tell the activities apart.

One job: the published procedure (an RBF SVM, its C chosen by 5-fold accuracy, then Platt
probabilities by pairwise coupling) at a fraction of its cost. The numbers are those of
`GridSearchCV` over scikit-learn 1.9's `SVC(probability=True)`, which 1.11 removes: libsvm's solver
is still called through the public `SVC`, one pair of classes at a time on a precomputed kernel,
and what libsvm does around it is written out here and in `platt`.

It knows nothing of students, datasets, splits or how features were made.

Shape suffixes: N windows, D features, V validation windows of a fold, M windows of a pair of
classes, S support vectors, K classes, P pairs of classes, C values of the grid.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn import config_context
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import check_random_state

from comodo.evaluation.platt import (
    FloatArray,
    Indices,
    LibsvmRandom,
    Pairs,
    couple,
    fit_pair,
    fit_sigmoid,
    held_out_decisions,
)

C_GRID = tuple(10.0**exponent for exponent in range(-4, 5))
PROBE_FOLDS = 5
BLOCK_VALUES = 8_000_000  # numbers in one block of the kernel when scoring: 64 MB


class SVMProbe:
    """RBF SVM on unit-length, standardised features, with class probabilities.

    Args:
        seed: of the stratified subset and of libsvm's internal cross-validation; the latter alone
            moves Acc@1 by about a point, so compare probes at the same seed.
        max_train: train on at most this many windows, drawn from each class in proportion.
        ties: which of the values of C with the best cross-validated accuracy is taken: the
            `smallest`, as published, or that nearest to 1 (`middle`). Votes do not change when all
            decision values shrink with C, but Platt's sigmoid does not follow them: with few and
            easy windows every C is as good, and the smallest has the probabilities of chance.

    After `fit`: `classes_` (sorted labels), `C_` (chosen), `cv_accuracy_` (C to mean accuracy).
    """

    def __init__(
        self,
        seed: int = 0,
        max_train: int = 10_000,
        ties: Literal["smallest", "middle"] = "smallest",
    ) -> None:
        self.seed = seed
        self.max_train = max_train
        self.ties = ties

    def fit(self, features_ND: npt.ArrayLike, labels_N: npt.ArrayLike) -> "SVMProbe":
        """Choose C, train every pair of classes, and calibrate each.

        As published, standardisation lies outside the cross-validation and gamma="scale" inside.
        Classes with fewer than five members, even with one, are allowed beside larger ones.

        Args:
            features_ND: [N, D] finite numbers; rows already of unit length stay as they are.
            labels_N: [N] integers or strings.

        Raises:
            ValueError: on wrong shapes, features that are not finite, fewer than two classes, or
                classes too small for the cross-validation.
        """
        features_ND = checked_features(features_ND)
        labels_N = np.asarray(labels_N)
        if labels_N.shape != features_ND.shape[:1]:
            raise ValueError(f"{len(features_ND)} rows of features, labels of {labels_N.shape}")
        self.classes_, codes_N = np.unique(labels_N, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a probe needs at least two classes, got {self.classes_.tolist()}")
        self._pairs: Pairs = list(combinations(range(len(self.classes_)), 2))
        self._scaler = StandardScaler().fit(unit_rows(features_ND))
        kept_N = stratified_subset(codes_N, self.max_train, self.seed)
        vectors_ND, codes_N = self._vectors(features_ND[kept_N]), codes_N[kept_N]

        # Folds depend on the order of the windows, so they come before the sorting by class,
        # which makes the kernel of two classes four contiguous patches of the distances.
        fold_N = _fold_of_each(codes_N)
        order_N = np.argsort(codes_N, kind="stable")
        vectors_ND, codes_N, fold_N = vectors_ND[order_N], codes_N[order_N], fold_N[order_N]
        distances_NN = _squared_distances(vectors_ND)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            self._choose_c(vectors_ND, codes_N, fold_N, distances_NN)
            self._train_pairs(vectors_ND, codes_N, distances_NN)
        return self

    def predict(self, features_ND: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Labels [N] by votes of the pairs; like `SVC`, not always the most probable class.

        Raises:
            ValueError: on wrong shapes or features that are not finite (so do the two below).
        """
        winners = [
            _winners(decisions_NP, self._pairs, len(self.classes_))
            for decisions_NP in self._decisions(features_ND)
        ]
        return self.classes_[np.concatenate(winners)]

    def probabilities(self, features_ND: npt.ArrayLike) -> FloatArray:
        """Class probabilities [N, K], columns in the order of `classes_`."""
        blocks = [
            couple(expit(-(self._slopes_P * decisions_NP + self._offsets_P)), self._pairs)
            for decisions_NP in self._decisions(features_ND)
        ]
        return np.concatenate(blocks)

    def fitted(self) -> dict[str, FloatArray]:
        """All that `probabilities` computes with, to be computed elsewhere.

        Of the standardisation `mean` and `scale` [D]; of the pairs, in the order of
        `combinations(range(K), 2)`, `gamma` [], `support` [S, D], `coefficients` [S, P],
        `intercepts`, `slopes` and `offsets` [P].
        """
        return {
            "mean": self._scaler.mean_,
            "scale": self._scaler.scale_,
            "gamma": np.array(self._gamma),
            "support": self._support_SD,
            "coefficients": self._coefficients_SP,
            "intercepts": self._intercepts_P,
            "slopes": self._slopes_P,
            "offsets": self._offsets_P,
        }

    def accuracy(
        self, features_ND: npt.ArrayLike, labels_N: npt.ArrayLike, top_k: Sequence[int] = (1, 3, 5)
    ) -> dict[int, float]:
        """Acc@k by probability: how often the label is among the k most probable classes.

        A k above the number of classes means all classes; a label unseen in training is wrong.
        """
        column_of = {label: column for column, label in enumerate(self.classes_.tolist())}
        truth_N = np.array([column_of.get(label, -1) for label in np.asarray(labels_N).tolist()])
        probabilities_NK = self.probabilities(features_ND)
        if truth_N.shape != probabilities_NK.shape[:1]:
            raise ValueError(f"{len(probabilities_NK)} rows of features, {len(truth_N)} labels")
        ranking_NK = np.argsort(-probabilities_NK, axis=1, kind="stable")
        hits_NK = ranking_NK == truth_N[:, None]
        return {k: float(hits_NK[:, :k].any(axis=1).mean()) for k in top_k}

    def _choose_c(
        self, vectors_ND: FloatArray, codes_N: Indices, fold_N: Indices, distances_NN: FloatArray
    ) -> None:
        accuracy_CF = np.empty((len(C_GRID), PROBE_FOLDS))
        for fold in range(PROBE_FOLDS):
            train, valid = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
            gamma = _scale_gamma(vectors_ND[train])
            winners_CV = _fold_winners(distances_NN, gamma, codes_N, train, valid)
            accuracy_CF[:, fold] = (winners_CV == codes_N[valid]).mean(axis=1)
        means_C = accuracy_CF.mean(axis=1)
        self.cv_accuracy_: dict[float, float] = dict(zip(C_GRID, means_C.tolist(), strict=True))
        best = [cost for cost, mean in zip(C_GRID, means_C, strict=True) if mean == means_C.max()]
        distance = {"smallest": float, "middle": lambda cost: abs(math.log10(cost))}[self.ties]
        self.C_: float = min(best, key=distance)

    def _train_pairs(
        self, vectors_ND: FloatArray, codes_N: Indices, distances_NN: FloatArray
    ) -> None:
        self._gamma = _scale_gamma(vectors_ND)
        libsvm_seed = check_random_state(self.seed).randint(np.iinfo("i").max)
        generator = LibsvmRandom(libsvm_seed)
        coefficients_NP = np.zeros((len(codes_N), len(self._pairs)))
        self._intercepts_P, self._slopes_P, self._offsets_P = np.empty((3, len(self._pairs)))
        for p, (first, second) in enumerate(self._pairs):
            members, n_first = _members_of_pair(codes_N, first, second)
            kernel_MM = _kernel(distances_NN[np.ix_(members, members)], self._gamma)
            coefficients_NP[members, p], self._intercepts_P[p] = fit_pair(
                kernel_MM, n_first, self.C_
            )
            decisions_M = held_out_decisions(kernel_MM, n_first, self.C_, generator)
            is_first_M = np.arange(len(members)) < n_first
            self._slopes_P[p], self._offsets_P[p] = fit_sigmoid(decisions_M, is_first_M)
        support = np.flatnonzero(coefficients_NP.any(axis=1))
        self._support_SD = vectors_ND[support]
        self._coefficients_SP = coefficients_NP[support]

    def _vectors(self, features_ND: npt.NDArray[np.floating]) -> FloatArray:
        """Standardise in the precision given, as published; libsvm then works in float64."""
        return np.asarray(self._scaler.transform(unit_rows(features_ND)), dtype=np.float64)

    def _decisions(self, features_ND: npt.ArrayLike) -> Iterator[FloatArray]:
        """Yield the decision values [n, P] of one block of windows after another."""
        features_ND = checked_features(features_ND)
        support_norms_S = self._gamma * np.square(self._support_SD).sum(axis=1)
        size = max(1, BLOCK_VALUES // max(len(support_norms_S), len(self.classes_) ** 2))
        block_NS = np.empty((min(size, len(features_ND)), len(support_norms_S)))  # used again
        for start in range(0, len(features_ND), size):
            vectors_ND = self._vectors(features_ND[start : start + size])
            # -gamma |x - s|^2, expanded, with as few passes over the block as possible.
            kernel_NS = block_NS[: len(vectors_ND)]
            np.matmul(2 * self._gamma * vectors_ND, self._support_SD.T, out=kernel_NS)
            kernel_NS -= self._gamma * np.square(vectors_ND).sum(axis=1)[:, None]
            kernel_NS -= support_norms_S
            np.exp(kernel_NS, out=kernel_NS)
            yield kernel_NS @ self._coefficients_SP + self._intercepts_P


def checked_features(features_ND: npt.ArrayLike) -> npt.NDArray[np.floating]:
    features_ND = np.asarray(features_ND)
    if features_ND.ndim != 2 or not features_ND.size:
        raise ValueError(f"features must be [windows, features], got {features_ND.shape}")
    if features_ND.dtype != np.float32:
        features_ND = features_ND.astype(np.float64)
    broken = len(features_ND) - int(np.isfinite(features_ND).all(axis=1).sum())
    if broken:
        raise ValueError(f"{broken} of {len(features_ND)} rows of features are not finite")
    return features_ND


def unit_rows(features_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """L2-normalise; rows of unit length stay bit for bit, so that doing it twice is harmless."""
    unit_ND, norms_N = normalize(features_ND, return_norm=True)
    already_N = abs(norms_N - 1) < 1e-6
    unit_ND[already_N] = features_ND[already_N]
    return unit_ND


def stratified_subset(codes_N: Indices, size: int, seed: int) -> Indices:
    """Ascending indices of `size` windows, every class cut by the same factor but never empty."""
    if len(codes_N) <= size:
        return np.arange(len(codes_N))
    shuffled_N = np.random.default_rng(seed).permutation(len(codes_N))
    share_N = np.empty(len(codes_N))  # each member's place in its class's queue, from 0 to 1
    for code in range(codes_N.max() + 1):
        members = shuffled_N[codes_N[shuffled_N] == code]
        share_N[members] = np.arange(len(members)) / len(members)
    return np.sort(shuffled_N[np.argsort(share_N[shuffled_N], kind="stable")[:size]])


def _fold_of_each(codes_N: Indices) -> Indices:
    """The validation fold [N] of each window in `StratifiedKFold(5)`."""
    if np.bincount(codes_N).max() < PROBE_FOLDS:
        raise ValueError(
            f"cross-validation needs a class with at least {PROBE_FOLDS} training windows"
        )
    fold_N = np.empty_like(codes_N)
    with warnings.catch_warnings():
        # The published procedure goes on when a class has fewer members than there are folds.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, valid) in enumerate(StratifiedKFold(PROBE_FOLDS).split(codes_N, codes_N)):
            fold_N[valid] = fold
    for fold in range(PROBE_FOLDS):
        if len(np.unique(codes_N[fold_N != fold])) < 2:
            raise ValueError("cross-validation leaves one class alone: the other is too small")
    return fold_N


def _squared_distances(vectors_ND: FloatArray) -> FloatArray:
    distances_NN = vectors_ND @ vectors_ND.T
    norms_N = distances_NN.diagonal().copy()
    distances_NN *= -2
    distances_NN += norms_N[:, None]
    distances_NN += norms_N
    return distances_NN


def _scale_gamma(vectors_ND: FloatArray) -> float:
    """scikit-learn's gamma="scale"."""
    variance = vectors_ND.var()
    return float(1 / (vectors_ND.shape[1] * variance)) if variance else 1.0


def _kernel(distances: FloatArray, gamma: float) -> FloatArray:
    exponents = -gamma * distances
    return np.exp(exponents, out=exponents)


def _members_of_pair(codes_N: Indices, first: int, second: int) -> tuple[Indices, int]:
    """Indices of the first class, then of the second (libsvm's order), and how many are first."""
    firsts, seconds = np.flatnonzero(codes_N == first), np.flatnonzero(codes_N == second)
    return np.concatenate([firsts, seconds]), len(firsts)


def _fit_pair_along_grid(kernel_MM: FloatArray, n_first: int) -> tuple[FloatArray, FloatArray]:
    """Coefficients [M, C] and intercepts [C] of a pair for each C of the grid."""
    coefficients_MC, intercepts_C = np.empty((len(kernel_MM), len(C_GRID))), np.empty(len(C_GRID))
    for c, cost in enumerate(C_GRID):
        coefficients_MC[:, c], intercepts_C[c] = fit_pair(kernel_MM, n_first, cost)
        # C only clips the solver's steps. Small coefficients at the end do not show that none was
        # clipped on the way, but the same end for two values of C, to the last bit, does.
        if c and (coefficients_MC[:, c] == coefficients_MC[:, c - 1]).all():
            coefficients_MC[:, c + 1 :] = coefficients_MC[:, c : c + 1]
            intercepts_C[c + 1 :] = intercepts_C[c]
            break
    return coefficients_MC, intercepts_C


def _fold_winners(
    distances_NN: FloatArray, gamma: float, codes_N: Indices, train: Indices, valid: Indices
) -> Indices:
    """Predicted class [C, V] of a fold's validation windows for each C of the grid."""
    pairs = list(combinations(np.unique(codes_N[train]).tolist(), 2))  # a class may be missing
    decisions_CVP = np.empty((len(C_GRID), len(valid), len(pairs)))
    for p, (first, second) in enumerate(pairs):
        places, n_first = _members_of_pair(codes_N[train], first, second)
        members = train[places]
        kernel_MM = _kernel(distances_NN[np.ix_(members, members)], gamma)
        coefficients_MC, intercepts_C = _fit_pair_along_grid(kernel_MM, n_first)
        kernel_VM = _kernel(distances_NN[np.ix_(valid, members)], gamma)
        decisions_CVP[:, :, p] = (kernel_VM @ coefficients_MC + intercepts_C).T
    return _winners(decisions_CVP, pairs, int(codes_N.max()) + 1)


def _winners(decisions_P: FloatArray, pairs: Pairs, n_classes: int) -> Indices:
    """The class with most votes among its pairs (last axis), the first of equals, as libsvm."""
    votes_K = np.zeros((*decisions_P.shape[:-1], n_classes), dtype=np.int32)
    for p, (first, second) in enumerate(pairs):
        for_first = decisions_P[..., p] > 0
        votes_K[..., first] += for_first
        votes_K[..., second] += ~for_first
    winners: Indices = votes_K.argmax(axis=-1)
    return winners
