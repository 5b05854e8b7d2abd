"""Metrics of frozen features besides the SVM probe: classification, zero-shot, similarity.

Pure functions of arrays: features as a frozen encoder gives them, one row for each window, and the
labels of labelled windows; `train` and `test` are features [N, D] with their labels [N].
Classifying functions return, by metric name, whether each test window was classified correctly (a
hit). The others return fractions in [0, 1]. The logistic regression sees features as the SVM probe
does, L2-normalised and standardised; the other classifiers use cosine similarity.

All raise EvaluateError for features that are not finite (`evaluate.not-finite`) and ValueError for
arrays of different lengths, without windows or with labels out of range. Those with a train split
raise EvaluateError if it has fewer than two classes (`evaluate.one-class`). Windows of a class that
is missing from the train split count as errors.

This module knows nothing of students, teachers, splits, files or training. Shape letters: N windows
(of train or of test), D and E features, K classes, R repeats, G groups.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length

from comodo.evaluation.labelled_features import (
    EvaluateError,
    FloatArray,
    Indices,
    check_two_classes,
    checked_features,
    label_ranks,
    rank_in_class,
    unit_rows,
)

FeatureMatrix = npt.NDArray[np.floating]
LabelVector = npt.NDArray[np.integer]
LabelledSet = tuple[FeatureMatrix, LabelVector]
Hits = npt.NDArray[np.bool_]
ClassNames = npt.NDArray[np.integer] | npt.NDArray[np.str_]

MACRO_AVERAGES = ("balanced_accuracy", "macro_f1")
TEMPERATURE = 0.07  # of the k-NN votes, as published
BLOCK_MB = 256  # cosine distances computed at a time


def classification(label_N: ClassNames, predicted_N: ClassNames) -> dict[str, float]:
    """`macro_averages` of the true and predicted class of each window."""
    confusion_KK = confusion_matrices(label_N, predicted_N, np.zeros_like(label_N))[0]
    return {name: float(value) for name, value in macro_averages(confusion_KK).items()}


def confusion_matrices(
    label_N: ClassNames, predicted_N: ClassNames, group_N: ClassNames
) -> npt.NDArray[np.int64]:
    """Confusion matrices [G, K, K] of the groups, in sorted order: rows true, columns predicted."""
    check_consistent_length(label_N, predicted_N, group_N)
    if not len(label_N):
        raise ValueError("no windows to compute a confusion matrix from")
    classes, class_2N = np.unique(np.concatenate([label_N, predicted_N]), return_inverse=True)
    groups, group_code_N = np.unique(group_N, return_inverse=True)
    shape = (len(groups), len(classes), len(classes))
    cell_N = np.ravel_multi_index((group_code_N, *np.split(class_2N, 2)), shape)
    return np.bincount(cell_N, minlength=math.prod(shape)).reshape(shape)


def macro_averages(confusion_KK: npt.NDArray[np.number]) -> dict[str, npt.NDArray[np.float64]]:
    """`balanced_accuracy` (macro-averaged recall) and `macro_f1`, each [...], of windows
    [..., K, K] by true and predicted class.

    Averaged over the classes that occur among the true labels: predictions of a class that does not
    occur lower the recall of the others, but its own F1 of 0 is not averaged.
    """
    hits_K = np.diagonal(confusion_KK, axis1=-2, axis2=-1)
    true_K, predicted_K = confusion_KK.sum(-1), confusion_KK.sum(-2)
    recall_K = hits_K / np.maximum(true_K, 1)
    f1_K = 2 * hits_K / np.maximum(true_K + predicted_K, 1)
    means = [np.mean(x_K, axis=-1, where=true_K > 0) for x_K in (recall_K, f1_K)]
    return dict(zip(MACRO_AVERAGES, means, strict=True))


def linear_hits(train: LabelledSet, test: LabelledSet) -> dict[str, Hits]:
    """`acc1`: hits [N] of multinomial logistic regression on frozen features.

    C is 1, not tuned: standardised features have the same scale, and without cross-validation the
    result depends only on the windows.
    """
    return {"acc1": _logistic_hits(*_standardised(train, test))}


def few_shot_hits(
    train: LabelledSet,
    test: LabelledSet,
    shots: Sequence[int] = (1, 5, 10, 50, 100),
    repeats: int = 10,
    seed: int = 0,
) -> dict[str, Hits]:
    """The linear probe fitted on k labelled windows of each class: label efficiency.

    Features are standardised with all train windows: that needs no labels. Each repeat shuffles the
    windows of every class and takes the first k, or all of a smaller class. So the subset for a
    smaller k is contained in that for a larger k, and every encoder evaluated with the same seed
    gets the same windows. A k larger than every class would repeat the linear probe and is skipped.

    Returns hits [R, N], by k as text. Raises ValueError for fewer than two repeats, and for k < 1.
    """
    if repeats < 2 or min(shots, default=1) < 1:
        raise ValueError(f"few-shot needs two repeats and k >= 1, got {repeats} repeats of {shots}")
    (train_ND, label_N), test = _standardised(train, test)
    rank_RN = draws_of_ranks(label_N, repeats, seed)
    hits_of = {}
    for k in shots:
        if k <= rank_RN[0].max() + 1:  # the size of the largest class
            subsets = [(train_ND[rank_N < k], label_N[rank_N < k]) for rank_N in rank_RN]
            hits_of[str(k)] = np.stack([_logistic_hits(subset, test) for subset in subsets])
    return hits_of


def draws_of_ranks(label_N: LabelVector, repeats: int, seed: int) -> list[Indices]:
    """Rank [N], from 0, of each window in a random order of its class, for each repeat: windows
    with a rank below k are the draw of k windows of each class."""
    generators = [np.random.default_rng([seed, repeat]) for repeat in range(repeats)]
    return [rank_in_class(label_N, generator.permutation(len(label_N))) for generator in generators]


def knn_hits(train: LabelledSet, test: LabelledSet, k: int = 20) -> dict[str, Hits]:
    """`acc1`: hits [N] of k-nearest neighbours by cosine similarity, votes exp(cosine / 0.07).

    Weighted votes as in Wu et al. (2018, arXiv 1805.01978); k = 20 as in DINO (Caron et al. 2021,
    arXiv 2104.14294). Features are not standardised. Memory does not grow with train x test.
    """
    (train_ND, label_N), (test_ND, test_label_N) = _checked(train, test)
    classifier = KNeighborsClassifier(
        min(k, len(train_ND)),
        weights=lambda distance: np.exp((1 - distance) / TEMPERATURE),
        algorithm="brute",
        metric="cosine",
    ).fit(train_ND, label_N)
    with config_context(working_memory=BLOCK_MB):
        return {"acc1": classifier.predict(test_ND) == test_label_N}


def anchors(teacher_ND: FeatureMatrix, label_N: LabelVector, classes: int) -> FeatureMatrix:
    """One anchor embedding [K, D] for each class, for `zero_shot_hits`; NaN without windows.

    `teacher_ND` are the teacher's embeddings of windows, in the space shared with the student. The
    anchor of a class is its window that is closest, by cosine similarity, to the mean direction of
    the class: of a single window, as the published code has of each class, that one.
    """
    teacher_ND = checked_features(teacher_ND)
    check_consistent_length(teacher_ND, label_N)
    _check_range(label_N, classes)
    unit_ND = unit_rows(teacher_ND)
    anchor_KD = np.full((classes, teacher_ND.shape[1]), np.nan, dtype=teacher_ND.dtype)
    for label in np.unique(label_N):
        members = np.flatnonzero(label_N == label)
        similarity = unit_ND[members] @ unit_ND[members].mean(axis=0)
        anchor_KD[label] = teacher_ND[members[similarity.argmax()]]
    return anchor_KD


def zero_shot_hits(
    student_ND: FeatureMatrix, anchor_KD: FeatureMatrix, label_N: LabelVector
) -> dict[str, Hits]:
    """`acc1`, `acc3`, `acc5`, hits [N]: is the anchor of the true class among the k nearest?

    Labels are row indices of the anchors. A class whose row is NaN is never predicted. Acc@3 and
    Acc@5 are skipped unless there are more anchors than that. Raises EvaluateError,
    `evaluate.no-anchor`, if all anchors are NaN.
    """
    student_ND = checked_features(student_ND)
    check_consistent_length(student_ND, label_N)
    _check_range(label_N, len(anchor_KD))
    present = np.flatnonzero(~np.isnan(anchor_KD).all(axis=1))
    if not len(present):
        raise EvaluateError(
            "evaluate.no-anchor",
            "zero-shot: no class has an anchor, as no labelled train window (as published: val "
            "window) has video; leave zero-shot out of measures",
        )
    if anchor_KD.shape[1] != student_ND.shape[1]:
        raise ValueError(f"anchors {anchor_KD.shape} for embeddings {student_ND.shape}")
    cosine_NK = np.full((len(student_ND), len(anchor_KD)), -np.inf)
    unit_KD = unit_rows(checked_features(anchor_KD[present]))
    cosine_NK[:, present] = unit_rows(student_ND) @ unit_KD.T
    rank_N = label_ranks(cosine_NK, np.arange(len(anchor_KD)), label_N)
    return {f"acc{k}": rank_N < k for k in (1, 3, 5) if k == 1 or k < len(present)}


def linear_cka(a_ND: FeatureMatrix, b_NE: FeatureMatrix) -> float:
    """Debiased linear CKA of two representations of the same windows: 1 similar, 0 unrelated.

    Kornblith et al. (2019, arXiv 1905.00414). Their estimator is biased: it approaches 1 for
    unrelated features if there are more features than windows. This one uses the unbiased HSIC_1
    (Song et al. 2012), as in Nguyen et al. (2021, arXiv 2010.15327), so it can be slightly
    negative. Memory does not grow with N x N. 0 if a representation has no variance (a collapsed
    student). Raises ValueError for fewer than four windows.
    """
    a_ND, b_NE = _centred(a_ND), _centred(b_NE)
    check_consistent_length(a_ND, b_NE)
    if len(a_ND) < 4:
        raise ValueError(f"CKA needs at least four windows, got {len(a_ND)}")
    hsic_aa, hsic_bb = _hsic(a_ND, a_ND), _hsic(b_NE, b_NE)
    if min(hsic_aa, hsic_bb) < 1e-12:  # nothing but rounding errors
        return 0.0
    return float(_hsic(a_ND, b_NE) / np.sqrt(hsic_aa * hsic_bb))


def neighbour_overlap(a_ND: FeatureMatrix, b_NE: FeatureMatrix, k: int = 10) -> float:
    """Mutual k-NN alignment (Huh et al. 2024, arXiv 2405.07987): the mean fraction of the k nearest
    neighbours of a window, by cosine similarity, that two representations have in common.

    Unrelated representations have k / (N - 1) on average. Memory does not grow with N x N. Raises
    ValueError for at most k + 1 windows, where all other windows would be neighbours.
    """
    a_ND, b_NE = checked_features(a_ND), checked_features(b_NE)
    check_consistent_length(a_ND, b_NE)
    if len(a_ND) <= k + 1:
        raise ValueError(f"overlap of {k} neighbours needs over {k + 1} windows, got {len(a_ND)}")
    a_Nk, b_Nk = _neighbours(a_ND, k), _neighbours(b_NE, k)
    return float((a_Nk[:, :, None] == b_Nk[:, None, :]).sum() / a_Nk.size)


def _check_range(label_N: LabelVector, classes: int) -> None:
    if label_N.min() < 0 or label_N.max() >= classes:
        raise ValueError(f"labels {label_N.min()} to {label_N.max()}, expected 0 to {classes - 1}")


def _checked(train: LabelledSet, test: LabelledSet) -> tuple[LabelledSet, LabelledSet]:
    (train_ND, label_N), (test_ND, test_label_N) = train, test
    train_ND, test_ND = checked_features(train_ND), checked_features(test_ND)
    check_consistent_length(train_ND, label_N)
    check_consistent_length(test_ND, test_label_N)
    check_two_classes(label_N)
    return (train_ND, label_N), (test_ND, test_label_N)


def _standardised(train: LabelledSet, test: LabelledSet) -> tuple[LabelledSet, LabelledSet]:
    """L2-normalised, then standardised with the train statistics, in float64 for the solver."""
    (train_ND, label_N), (test_ND, test_label_N) = _checked(train, test)
    train_ND, test_ND = (unit_rows(x_ND).astype(np.float64) for x_ND in (train_ND, test_ND))
    scaler = StandardScaler().fit(train_ND)
    return (scaler.transform(train_ND), label_N), (scaler.transform(test_ND), test_label_N)


def _logistic_hits(train: LabelledSet, test: LabelledSet) -> Hits:
    test_ND, test_label_N = test
    return LogisticRegression(max_iter=1000).fit(*train).predict(test_ND) == test_label_N


def _neighbours(features_ND: FeatureMatrix, k: int) -> Indices:
    """Indices [N, k] of the k nearest windows by cosine similarity, not counting itself."""
    search = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(features_ND)
    with config_context(working_memory=BLOCK_MB):
        return np.asarray(search.kneighbors(return_distance=False))


def _centred(features_ND: FeatureMatrix) -> FloatArray:
    """Columns of mean 0, Frobenius norm 1; zeros if windows differ only by rounding errors."""
    features_ND = checked_features(features_ND).astype(np.float64)
    centred_ND = features_ND - features_ND.mean(axis=0)
    norm = np.linalg.norm(centred_ND)
    return centred_ND / norm if norm > 1e-6 * np.linalg.norm(features_ND) else 0 * centred_ND


def _hsic(a_ND: FloatArray, b_NE: FloatArray) -> float:
    """HSIC_1 (Song et al. 2012) of the linear kernels, times N (N - 3).

    With centred columns, its sums over the off-diagonal kernels reduce to the cross-covariance of
    the features and the squared norms of the windows.
    """
    n = len(a_ND)
    norms_a_N, norms_b_N = np.square(a_ND).sum(axis=1), np.square(b_NE).sum(axis=1)
    off_diagonal = np.square(a_ND.T @ b_NE).sum() - n / (n - 2) * (norms_a_N @ norms_b_N)
    return float(off_diagonal + norms_a_N.sum() * norms_b_N.sum() / ((n - 1) * (n - 2)))
