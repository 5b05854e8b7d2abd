"""The SVM probe: how well a classifier on frozen features separates the activities.

The published procedure (RBF SVM, C chosen by 5-fold cross-validation, probabilities by Platt
scaling and pairwise coupling) at a fraction of its cost. Results are those of `GridSearchCV` over
`SVC(probability=True)` of scikit-learn 1.9. As 1.11 removes that option, libsvm's solver is called
through the public `SVC`, for all pairs of classes at once on a precomputed kernel, and the rest of
libsvm's procedure is implemented here and in `platt`. It knows nothing of students, data sets,
splits or where features come from.

Shape letters: N windows, D features, T training and V validation windows of a fold, M windows of a
pair of classes, S support vectors, K classes, P pairs of classes, C values of the grid, F folds.
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
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state

from comodo.evaluation import platt
from comodo.evaluation.labelled_features import (
    EvaluateError,
    FloatArray,
    Indices,
    check_two_classes,
    checked_features,
    label_ranks,
    published_subset,
    stratified_subset,
    unit_rows,
)

C_GRID = tuple(10.0**exponent for exponent in range(-4, 5))
PROBE_FOLDS = 5
SCALED_AT_ONCE = 50_000  # windows: standardising needs several copies of them
PREDICTED_BY_LIBSVM = 2_000  # training windows: of more, matrix products predict in less time
BLOCK_VALUES = 8_000_000  # kernel values computed at a time when predicting: 64 MB


class SVMProbe:
    """RBF SVM on L2-normalised, standardised features, with class probabilities.

    The probe of COMODO (arXiv 2503.07259): C is chosen from 1e-4 to 1e4 by stratified 5-fold
    cross-validation, and probabilities are by Platt scaling and pairwise coupling, as of
    scikit-learn's `SVC(probability=True)`, in less time.

    Args:
        seed: for the stratified subset and for libsvm's internal cross-validation. The latter alone
            changes Acc@1 by about one percentage point, so compare probes with the same seed.
        max_train: the maximum number of training windows; more are subsampled, stratified by class.
        ties: which C to take if several have the best cross-validated accuracy: the one nearest to
            1 (`middle`), or the `smallest`, as published. With few windows that are easy to
            classify, every C is as accurate, and Platt scaling gives nearly uniform probabilities
            for the smallest, with which decision values shrink.
        subset: more than `max_train` windows are subsampled with `seed`, or by `published_subset`.

    Attributes:
        classes_: after `fit`, the sorted labels, K.
        C_: the chosen C.
        cv_accuracy_: mean cross-validated accuracy for each C.

    Examples:
        >>> probe = comodo.SVMProbe().fit(features_ND, labels_N)
        >>> probe.accuracy(others_ND, their_labels_N)[1]  # Acc@1, a fraction
    """

    def __init__(
        self,
        seed: int = 0,
        max_train: int = 10_000,
        ties: Literal["middle", "smallest"] = "middle",
        subset: Literal["seed", "published"] = "seed",
    ) -> None:
        self.seed, self.max_train, self.ties, self.subset = seed, max_train, ties, subset

    @property
    def chosen(self) -> dict[str, float]:
        """What cross-validation chose."""
        return {"C": self.C_}

    def fit(self, features_ND: npt.ArrayLike, labels_N: npt.ArrayLike) -> "SVMProbe":
        """Chooses C, then trains and calibrates an SVM for each pair of classes.

        As published, features are standardised once, with the statistics of all training windows,
        but gamma="scale" is computed for each fold. Classes with fewer windows than folds, even
        with a single one, are allowed as long as another class has enough.

        Args:
            features_ND: of the training windows `[N, D]`.
            labels_N: their classes `[N]`, integers or strings.

        Raises:
            EvaluateError: `evaluate.not-finite`, `evaluate.one-class` or `evaluate.small-classes`,
                too few windows for cross-validation.
            ValueError: wrong shapes.
        """
        features_ND = checked_features(features_ND)
        labels_N = np.asarray(labels_N)
        if labels_N.shape != features_ND.shape[:1]:
            raise ValueError(f"{len(features_ND)} rows of features, labels {labels_N.shape}")
        check_two_classes(labels_N)
        self.classes_, codes_N = np.unique(labels_N, return_inverse=True)
        self._pairs = list(combinations(range(len(self.classes_)), 2))
        self._scaler = StandardScaler()
        for start in range(0, len(features_ND), SCALED_AT_ONCE):
            self._scaler.partial_fit(unit_rows(features_ND[start : start + SCALED_AT_ONCE]))
        if self.subset == "published":
            kept_N = published_subset(codes_N, self.max_train)
        else:
            kept_N = stratified_subset(codes_N, self.max_train, self.seed)
        vectors_ND, codes_N = self._vectors(features_ND[kept_N]), codes_N[kept_N]

        # Folds depend on the order of the windows, so assign them before sorting by class.
        # Sorting makes the kernel of two classes four contiguous blocks.
        fold_N = _validation_folds(codes_N)
        order_N = np.argsort(codes_N, kind="stable")
        vectors_ND, codes_N, fold_N = vectors_ND[order_N], codes_N[order_N], fold_N[order_N]
        distances_NN = _squared_distances(vectors_ND)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            self._choose_c(vectors_ND, codes_N, fold_N, distances_NN)
            self._gamma = _scale_gamma(vectors_ND)
            self._train(vectors_ND, codes_N, _into_kernel(distances_NN, self._gamma))
        return self

    def predict(self, features_ND: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Labels [N] by one-against-one voting; as in `SVC`, not always the most probable class.

        Raises EvaluateError, `evaluate.not-finite`, and ValueError for wrong shapes, as the
        following do.
        """
        blocks, n_classes = self._decisions(features_ND), len(self.classes_)
        winners = [_winners(decisions_NP, self._pairs, n_classes) for decisions_NP in blocks]
        return self.classes_[np.concatenate(winners)]

    def probabilities(self, features_ND: npt.ArrayLike) -> FloatArray:
        """Class probabilities [N, K]; columns are in the order of `classes_`."""
        blocks = []
        for decisions_NP in self._decisions(features_ND):
            pairwise_NP = expit(-(self._slopes_P * decisions_NP + self._offsets_P))
            blocks.append(platt.couple(pairwise_NP, self._pairs))
        return np.concatenate(blocks)

    def fitted(self) -> dict[str, FloatArray]:
        """The fitted parameters, with which another runtime can compute `probabilities`.

        Standardisation: `mean` and `scale` [D]. Pairwise SVMs, in the order of
        `combinations(range(K), 2)`: `gamma` [], `support` (support vectors) [S, D], `coefficients`
        (dual) [S, P], `intercepts` [P]. Platt scaling: `slopes` and `offsets` [P].
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
        """Acc@k: the fraction of windows whose label is among the k most probable classes.

        A k above the number of classes means all classes; a label unseen in training is an error.
        """
        probabilities_NK, labels_N = self.probabilities(features_ND), np.asarray(labels_N)
        if labels_N.shape != probabilities_NK.shape[:1]:
            raise ValueError(f"{len(probabilities_NK)} rows of features, labels {labels_N.shape}")
        rank_N = label_ranks(probabilities_NK, self.classes_, labels_N)
        return {k: float((rank_N < k).mean()) for k in top_k}

    def _choose_c(
        self, vectors_ND: FloatArray, codes_N: Indices, fold_N: Indices, distances_NN: FloatArray
    ) -> None:
        accuracy_CF = np.empty((len(C_GRID), PROBE_FOLDS))
        for fold in range(PROBE_FOLDS):
            train, valid = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
            gamma = _scale_gamma(vectors_ND[train])
            winners_CV = _winners_along_grid(  # no name for the kernels, so they are freed by fold
                _into_kernel(distances_NN[np.ix_(train, train)], gamma),
                _into_kernel(distances_NN[np.ix_(valid, train)], gamma),
                codes_N[train],
            )
            accuracy_CF[:, fold] = (winners_CV == codes_N[valid]).mean(axis=1)
        means_C = accuracy_CF.mean(axis=1)
        self.cv_accuracy_: dict[float, float] = dict(zip(C_GRID, means_C.tolist(), strict=True))
        best = [cost for cost, mean in zip(C_GRID, means_C, strict=True) if mean == means_C.max()]
        order = {"smallest": float, "middle": lambda cost: abs(math.log10(cost))}[self.ties]
        self.C_: float = min(best, key=order)

    def _train(self, vectors_ND: FloatArray, codes_N: Indices, kernel_NN: FloatArray) -> None:
        svm = SVC(kernel="precomputed", C=self.C_).fit(kernel_NN, codes_N)
        coefficients_NP, self._intercepts_P = _of_pairs(svm, codes_N)
        generator = platt.LibsvmRandom(check_random_state(self.seed).randint(np.iinfo("i").max))
        self._slopes_P, self._offsets_P = np.empty((2, len(self._pairs)))
        for p, (first, second) in enumerate(self._pairs):
            members, n_first = _members_of_pair(codes_N, first, second)
            kernel_MM = kernel_NN[np.ix_(members, members)]
            decisions_M = platt.out_of_fold_decisions(kernel_MM, n_first, self.C_, generator)
            is_first_M = np.arange(len(members)) < n_first
            self._slopes_P[p], self._offsets_P[p] = platt.fit_sigmoid(decisions_M, is_first_M)
        support = np.flatnonzero(coefficients_NP.any(axis=1))
        self._support_SD = vectors_ND[support]
        self._coefficients_SP = coefficients_NP[support]

    def _vectors(self, features_ND: npt.NDArray[np.floating]) -> FloatArray:
        """Standardised in the dtype of the features, as published, then float64 for libsvm."""
        return np.asarray(self._scaler.transform(unit_rows(features_ND)), dtype=np.float64)

    def _decisions(self, features_ND: npt.ArrayLike) -> Iterator[FloatArray]:
        """Yields decision values [n, P] block by block, in the order of the windows."""
        features_ND = checked_features(features_ND)
        support_norms_S = self._gamma * np.square(self._support_SD).sum(axis=1)
        size = max(1, BLOCK_VALUES // max(len(support_norms_S), len(self.classes_) ** 2))
        block_NS = np.empty((min(size, len(features_ND)), len(support_norms_S)))  # reused
        for start in range(0, len(features_ND), size):
            vectors_ND = self._vectors(features_ND[start : start + size])
            # -gamma |x - s|^2, expanded and in place: fewer passes over memory.
            kernel_NS = block_NS[: len(vectors_ND)]
            np.matmul(2 * self._gamma * vectors_ND, self._support_SD.T, out=kernel_NS)
            kernel_NS -= self._gamma * np.square(vectors_ND).sum(axis=1)[:, None]
            kernel_NS -= support_norms_S
            np.exp(kernel_NS, out=kernel_NS)
            yield kernel_NS @ self._coefficients_SP + self._intercepts_P


def _validation_folds(codes_N: Indices) -> Indices:
    """Index [N] of the fold of `StratifiedKFold(5)` in which each window is validated."""
    if np.bincount(codes_N).max() < PROBE_FOLDS:
        raise EvaluateError(
            "evaluate.small-classes",
            f"cross-validation needs a class with at least {PROBE_FOLDS} labelled train windows; "
            "label more recordings of the train split",
        )
    fold_N = np.empty_like(codes_N)
    with warnings.catch_warnings():
        # The published procedure allows classes with fewer windows than folds.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, valid) in enumerate(StratifiedKFold(PROBE_FOLDS).split(codes_N, codes_N)):
            fold_N[valid] = fold
    for fold in range(PROBE_FOLDS):
        if len(np.unique(codes_N[fold_N != fold])) < 2:
            raise EvaluateError(
                "evaluate.small-classes",
                "a fold of the cross-validation has one class only to train on; label more "
                "train recordings of the smaller class",
            )
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


def _into_kernel(distances: FloatArray, gamma: float) -> FloatArray:
    """In place, because a second matrix of this size would need as much memory again."""
    distances *= -gamma
    return np.exp(distances, out=distances)


def _members_of_pair(codes_N: Indices, first: int, second: int) -> tuple[Indices, int]:
    """Indices of the windows of both classes, in libsvm's order, and the size of the first."""
    firsts, seconds = np.flatnonzero(codes_N == first), np.flatnonzero(codes_N == second)
    return np.concatenate([firsts, seconds]), len(firsts)


def _of_pairs(svm: SVC, codes_N: Indices) -> tuple[FloatArray, FloatArray]:
    """Dual coefficients [N, P] and intercepts [P] of the SVM of each pair of classes.

    libsvm keeps for a window one coefficient for each other class, in their order.
    """
    sign = -1 if len(svm.classes_) == 2 else 1  # of two, `SVC` makes the second class positive
    dual_KN = np.zeros((len(svm.dual_coef_), len(codes_N)))
    dual_KN[:, svm.support_] = sign * svm.dual_coef_
    pairs = list(combinations(range(len(svm.classes_)), 2))
    coefficients_NP = np.zeros((len(codes_N), len(pairs)))
    for p, (first, second) in enumerate(pairs):
        for own, other_row in ((first, second - 1), (second, first)):
            members = codes_N == svm.classes_[own]
            coefficients_NP[members, p] = dual_KN[other_row, members]
    return coefficients_NP, sign * svm.intercept_


def _fit_along_grid(kernel_TT: FloatArray, codes_T: Indices) -> list[SVC]:
    """For each C of the grid, up to the one from which on larger values change nothing."""
    svms: list[SVC] = []
    last = b""
    for cost in C_GRID:
        svm = SVC(kernel="precomputed", C=cost).fit(kernel_TT, codes_T)
        solution = svm.support_.tobytes() + svm.dual_coef_.tobytes()
        # C only clips the solver's steps. If two values of C give bitwise the same solution, no
        # step was clipped, so every larger C gives it too. Coefficients below C at the end would
        # not prove that.
        if solution == last:
            break
        svms.append(svm)
        last = solution
    return svms


def _winners_along_grid(kernel_TT: FloatArray, kernel_VT: FloatArray, codes_T: Indices) -> Indices:
    """Predicted class [C, V] of the validation windows of a fold, for each C of the grid."""
    winners = [_predict(svm, kernel_VT, codes_T) for svm in _fit_along_grid(kernel_TT, codes_T)]
    return np.stack(winners + winners[-1:] * (len(C_GRID) - len(winners)))


def _predict(svm: SVC, kernel_VT: FloatArray, codes_T: Indices) -> Indices:
    if len(codes_T) <= PREDICTED_BY_LIBSVM:
        return np.asarray(svm.predict(kernel_VT))
    coefficients_TP, intercepts_P = _of_pairs(svm, codes_T)
    pairs = list(combinations(range(len(svm.classes_)), 2))  # a rare class may be missing
    winners_V = _winners(kernel_VT @ coefficients_TP + intercepts_P, pairs, len(svm.classes_))
    return np.asarray(svm.classes_[winners_V])


def _winners(decisions_P: FloatArray, pairs: platt.Pairs, n_classes: int) -> Indices:
    """The class with the most votes over the pairs (last axis), in ties the first, as in libsvm."""
    votes_K = np.zeros((*decisions_P.shape[:-1], n_classes), dtype=np.int32)
    for p, (first, second) in enumerate(pairs):
        for_first = decisions_P[..., p] > 0
        votes_K[..., first] += for_first
        votes_K[..., second] += ~for_first
    return votes_K.argmax(axis=-1)
