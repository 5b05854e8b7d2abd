"""Measures of frozen features beside the SVM probe: how well they classify, and what they resemble.

Pure functions of arrays: features as a frozen encoder gives them, one row for each window, and
labels of labelled windows only. A classifier's measure says of each test window whether it was
right (a hit), under the name to log the accuracy by; the others are shares from 0 to 1. What fits a
classifier sees features as the probe does, of unit length and standardised; what goes by cosine
needs only their directions.

All raise ValueError on arrays of different lengths, features that are not finite, or labels out of
range; those that learn from a train split, when it has fewer than two classes. A class that is
absent there is always classified wrongly.

This file knows nothing of students, teachers, splits, files or training.

Shape suffixes: N windows (train and test each their own), D and E features, K classes, R draws,
G groups.
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

from comodo.evaluation.platt import FloatArray, Indices
from comodo.evaluation.probe import checked_features, unit_rows

FeatureMatrix = npt.NDArray[np.floating]
LabelVector = npt.NDArray[np.integer]
Hits = npt.NDArray[np.bool_]
ClassNames = npt.NDArray[np.integer] | npt.NDArray[np.str_]

SUMMARIES = ("balanced_accuracy", "macro_f1")
TEMPERATURE = 0.07  # of the votes of nearest neighbours, as published
BLOCK_MB = 256  # of cosine distances at a time


def classification(label_N: ClassNames, predicted_N: ClassNames) -> dict[str, float]:
    """The measures of `summaries` from each window's true and predicted class."""
    found = summaries(confusions(label_N, predicted_N, np.zeros_like(label_N))[0])
    return {name: float(value) for name, value in found.items()}


def confusions(
    label_N: ClassNames, predicted_N: ClassNames, group_N: ClassNames
) -> npt.NDArray[np.int64]:
    """Windows [G, K, K] of each group, in order, by true and predicted class.

    Raises ValueError without windows, or for arrays of different lengths.
    """
    check_consistent_length(label_N, predicted_N, group_N)
    if not len(label_N):
        raise ValueError("no windows to be right or wrong about")
    classes, class_2N = np.unique(np.concatenate([label_N, predicted_N]), return_inverse=True)
    groups, place_N = np.unique(group_N, return_inverse=True)
    shape = (len(groups), len(classes), len(classes))
    cell_N = np.ravel_multi_index((place_N, *np.split(class_2N, 2)), shape)
    return np.bincount(cell_N, minlength=math.prod(shape)).reshape(shape)


def summaries(confusion_KK: npt.NDArray[np.number]) -> dict[str, npt.NDArray[np.float64]]:
    """`balanced_accuracy` (mean recall) and `macro_f1` [...], over the classes that occur in the
    truth, of windows [..., K, K] by true and predicted class.

    A class that is predicted but never true makes others wrong; it is not averaged in as a class.
    """
    hits_K = np.diagonal(confusion_KK, axis1=-2, axis2=-1)
    true_K, predicted_K = confusion_KK.sum(-1), confusion_KK.sum(-2)
    recall_K = hits_K / np.maximum(true_K, 1)
    f1_K = 2 * hits_K / np.maximum(true_K + predicted_K, 1)
    means = [np.mean(x_K, axis=-1, where=true_K > 0) for x_K in (recall_K, f1_K)]
    return dict(zip(SUMMARIES, means, strict=True))


def linear_hits(
    train_ND: FeatureMatrix,
    train_label_N: LabelVector,
    test_ND: FeatureMatrix,
    test_label_N: LabelVector,
) -> dict[str, Hits]:
    """`acc1`: hits [N] of multinomial logistic regression on frozen features.

    Its C is not chosen but 1, scikit-learn's default: standardised features share one scale, and
    a convex fit without folds or grid depends on nothing but the windows.
    """
    train_ND, test_ND = _standardised(train_ND, train_label_N, test_ND, test_label_N)
    return {"acc1": _logistic_hits(train_ND, train_label_N, test_ND, test_label_N)}


def few_shot_hits(
    train_ND: FeatureMatrix,
    train_label_N: LabelVector,
    test_ND: FeatureMatrix,
    test_label_N: LabelVector,
    shots: Sequence[int] = (1, 5, 10, 50, 100),
    draws: int = 10,
    seed: int = 0,
) -> dict[str, Hits]:
    """The linear probe with k labelled windows of each class: the curve of label efficiency.

    The classifier is the same for every k, so that the curve ends where the linear probe stands;
    at k=1 it is much like the nearest class mean. Features are standardised by all train windows:
    whoever has few labels still has the unlabelled windows, and statistics need no labels.

    Each draw (at least two) queues the windows of every class at random and takes the first k, or
    all of a smaller class. So a smaller k sees a part of what a larger one sees, and every encoder
    measured at a seed gets the same windows. A k above the windows of every class would repeat the
    linear probe, and is left out.

    Returns:
        `{k}`: hits [R, N] of each draw. How much accuracies differ between draws is the
        luck of the draw alone, which vanishes once k takes in all windows.
    """
    if draws < 2 or min(shots, default=1) < 1:
        raise ValueError(f"few-shot needs two draws and k >= 1, got {draws} draws of {shots}")
    train_ND, test_ND = _standardised(train_ND, train_label_N, test_ND, test_label_N)
    places_RN = [
        _place_in_class(train_label_N, np.random.default_rng([seed, draw])) for draw in range(draws)
    ]
    hits = {}
    largest = int(places_RN[0].max()) + 1
    for k in (k for k in shots if k <= largest):
        of_draws = [
            _logistic_hits(train_ND[chosen_N], train_label_N[chosen_N], test_ND, test_label_N)
            for chosen_N in (place_N < k for place_N in places_RN)
        ]
        hits[str(k)] = np.stack(of_draws)
    return hits


def nearest_neighbours(
    train_ND: FeatureMatrix,
    train_label_N: LabelVector,
    test_ND: FeatureMatrix,
    test_label_N: LabelVector,
    k: int = 20,
) -> dict[str, Hits]:
    """`acc1`: hits [N] of the k train windows nearest by cosine, which vote exp(cosine / 0.07).

    The votes are those of Wu et al. (2018, arXiv 1805.01978), k=20 is that of DINO (Caron et al.
    2021, arXiv 2104.14294). Nothing is fitted or standardised; train windows fewer than k all vote.
    Memory does not grow with train x test.
    """
    train_ND, test_ND = _checked_sets(train_ND, train_label_N, test_ND, test_label_N)
    voters = KNeighborsClassifier(
        min(k, len(train_ND)),
        weights=lambda distance: np.exp((1 - distance) / TEMPERATURE),
        algorithm="brute",
        metric="cosine",
    ).fit(train_ND, train_label_N)
    with config_context(working_memory=BLOCK_MB):
        return {"acc1": voters.predict(test_ND) == test_label_N}


def anchors(teacher_ND: FeatureMatrix, label_N: LabelVector, classes: int) -> FeatureMatrix:
    """The embedding [K, D] of one real window for each class, as `zero_shot` wants them.

    `teacher_ND` are embeddings of training windows in the space that the student was distilled to.
    An anchor is the one closest by cosine to the mean direction of its class: one for a class, as
    published, but without the lottery of drawing it. A class without windows gets a row of NaN.
    """
    teacher_ND = checked_features(teacher_ND)
    check_consistent_length(teacher_ND, label_N)
    _check_range(label_N, classes)
    unit_ND = unit_rows(teacher_ND)
    anchor_KD = np.full((classes, teacher_ND.shape[1]), np.nan, dtype=teacher_ND.dtype)
    for label in np.unique(label_N):
        members = np.flatnonzero(label_N == label)
        closeness = unit_ND[members] @ unit_ND[members].mean(axis=0)
        anchor_KD[label] = teacher_ND[members[closeness.argmax()]]
    return anchor_KD


def zero_shot_ranks(
    student_ND: FeatureMatrix, anchor_KD: FeatureMatrix, label_N: LabelVector
) -> dict[str, Hits]:
    """`acc1`, `acc3`, `acc5`, hits [N]: is the own anchor among the k closest by cosine?

    Students are embedded in the anchors' space, and labels are places among the anchors. A class
    whose row is NaN is never predicted; without any other class this is a ValueError. Acc@3 and
    Acc@5 are left out unless there are more anchors than that.
    """
    student_ND = checked_features(student_ND)
    check_consistent_length(student_ND, label_N)
    _check_range(label_N, len(anchor_KD))
    present = np.flatnonzero(~np.isnan(anchor_KD).all(axis=1))
    if not len(present):
        raise ValueError("no class has an anchor")
    if anchor_KD.shape[1] != student_ND.shape[1]:
        raise ValueError(f"anchors {anchor_KD.shape} for students {student_ND.shape}")
    cosine_NK = np.full((len(student_ND), len(anchor_KD)), -np.inf)
    cosine_NK[:, present] = (
        unit_rows(student_ND) @ unit_rows(checked_features(anchor_KD[present])).T
    )
    hit_NK = np.argsort(-cosine_NK, axis=1, kind="stable") == label_N[:, None]
    return {f"acc{k}": hit_NK[:, :k].any(axis=1) for k in (1, 3, 5) if k == 1 or k < len(present)}


def linear_cka(a_ND: FeatureMatrix, b_NE: FeatureMatrix) -> float:
    """Debiased linear CKA of two representations of the same windows: 1 alike, 0 unrelated.

    Invariant to rotating, shifting and scaling either (Kornblith et al. 2019, arXiv 1905.00414).
    Their plain estimate nears 1 for unrelated features when these outnumber the windows. This one
    is the ratio of unbiased HSIC_1 (Song et al. 2012) as in Nguyen et al. (2021, arXiv 2010.15327):
    it scatters around 0 then, so it may be a little negative. Memory does not grow with N x N.

    A representation without variance (a collapsed student) resembles nothing: 0. Fewer than four
    windows are a ValueError.
    """
    a_ND, b_NE = _centred(a_ND), _centred(b_NE)
    check_consistent_length(a_ND, b_NE)
    if len(a_ND) < 4:
        raise ValueError(f"CKA needs at least four windows, got {len(a_ND)}")
    own_a, own_b = _hsic(a_ND, a_ND), _hsic(b_NE, b_NE)
    if min(own_a, own_b) < 1e-12:  # rounding is all there is
        return 0.0
    return float(_hsic(a_ND, b_NE) / np.sqrt(own_a * own_b))


def neighbour_overlap(a_ND: FeatureMatrix, b_NE: FeatureMatrix, k: int = 10) -> float:
    """Mean share of a window's k nearest others that two representations have in common.

    Mutual k-NN alignment (Huh et al. 2024, arXiv 2405.07987), by cosine; unrelated ones share
    k / (N - 1). With no more than k + 1 windows, where all others are neighbours, this is a
    ValueError. Memory does not grow with N x N.
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


def _checked_sets(
    train_ND: FeatureMatrix,
    train_label_N: LabelVector,
    test_ND: FeatureMatrix,
    test_label_N: LabelVector,
) -> tuple[FeatureMatrix, FeatureMatrix]:
    train_ND, test_ND = checked_features(train_ND), checked_features(test_ND)
    check_consistent_length(train_ND, train_label_N)
    check_consistent_length(test_ND, test_label_N)
    if len(classes := np.unique(train_label_N)) < 2:
        raise ValueError(f"at least two classes are needed in train, got {classes.tolist()}")
    return train_ND, test_ND


def _standardised(
    train_ND: FeatureMatrix,
    train_label_N: LabelVector,
    test_ND: FeatureMatrix,
    test_label_N: LabelVector,
) -> tuple[FloatArray, FloatArray]:
    """Unit rows, standardised by the train windows, in float64 for the solver."""
    train_ND, test_ND = _checked_sets(train_ND, train_label_N, test_ND, test_label_N)
    unit_ND = unit_rows(train_ND).astype(np.float64)
    scaler = StandardScaler().fit(unit_ND)
    return scaler.transform(unit_ND), scaler.transform(unit_rows(test_ND).astype(np.float64))


def _logistic_hits(
    train_ND: FloatArray, train_label_N: LabelVector, test_ND: FloatArray, test_label_N: LabelVector
) -> Hits:
    model = LogisticRegression(C=1.0, max_iter=1000).fit(train_ND, train_label_N)
    hit_N: Hits = model.predict(test_ND) == test_label_N
    return hit_N


def _place_in_class(label_N: LabelVector, rng: np.random.Generator) -> Indices:
    """Each window's place [N], from 0, in a random queue of its class."""
    shuffled_N = rng.permutation(len(label_N))
    place_N = np.empty(len(label_N), dtype=np.intp)
    for label in np.unique(label_N):
        members = shuffled_N[label_N[shuffled_N] == label]
        place_N[members] = np.arange(len(members))
    return place_N


def _neighbours(features_ND: FeatureMatrix, k: int) -> Indices:
    """The k windows nearest by cosine to each [N, k], itself excepted."""
    search = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(features_ND)
    with config_context(working_memory=BLOCK_MB):
        return np.asarray(search.kneighbors(return_distance=False))


def _centred(features_ND: FeatureMatrix) -> FloatArray:
    """Columns of mean 0, the whole of norm 1; zeros if the windows differ by rounding only."""
    features_ND = checked_features(features_ND).astype(np.float64)
    centred_ND = features_ND - features_ND.mean(axis=0)
    spread = np.linalg.norm(centred_ND)
    return centred_ND / spread if spread > 1e-6 * np.linalg.norm(features_ND) else 0 * centred_ND


def _hsic(a_ND: FloatArray, b_NE: FloatArray) -> float:
    """HSIC_1 of the linear kernels times N (N - 3).

    As columns have mean 0, its sums over the kernels without their diagonals come down to the
    features' cross-product and the windows' squared norms.
    """
    n = len(a_ND)
    norms_a_N, norms_b_N = np.square(a_ND).sum(axis=1), np.square(b_NE).sum(axis=1)
    shared = np.square(a_ND.T @ b_NE).sum() - n / (n - 2) * (norms_a_N @ norms_b_N)
    return float(shared + norms_a_N.sum() * norms_b_N.sum() / ((n - 1) * (n - 2)))
