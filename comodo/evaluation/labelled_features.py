"""What classifiers on frozen features share: checks, normalisation, subsets, ranks of the labels.

Pure functions of features [N, D] and labels [N] that know no classifier, no student and no file.
N windows, D features, K classes.
"""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from comodo.core.errors import ComodoError

FloatArray = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

UNSEEN_CLASS = np.iinfo(np.int64).max  # rank of a class that the classifier was not fitted on


class EvaluateError(ComodoError, ValueError):
    """A data set on which a student cannot be evaluated."""


def checked_features(features_ND: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Features [N, D] as float32 or float64.

    Raises EvaluateError, `evaluate.not-finite`, and ValueError if not a matrix, or empty.
    """
    features_ND = np.asarray(features_ND)
    if features_ND.ndim != 2 or not features_ND.size:
        raise ValueError(f"features must be [windows, features], got {features_ND.shape}")
    if features_ND.dtype != np.float32:
        features_ND = features_ND.astype(np.float64)
    if not_finite := int((~np.isfinite(features_ND).all(axis=1)).sum()):
        raise EvaluateError(
            "evaluate.not-finite",
            f"{not_finite} of {len(features_ND)} rows of features are not finite: training "
            "diverged (lower learning_rate), or the IMU data has NaN",
        )
    return features_ND


def check_two_classes(train_label_N: npt.NDArray[np.generic]) -> None:
    """Raises EvaluateError, `evaluate.one-class`, for labels of fewer than two classes."""
    if len(classes := np.unique(train_label_N)) < 2:
        raise EvaluateError(
            "evaluate.one-class",
            f"the labelled train windows have only the classes {classes.tolist()}: a classifier "
            "needs at least two; label more recordings of the train split",
        )


def unit_rows(features_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """L2-normalised rows. Rows of unit length are returned unchanged, so it is idempotent."""
    unit_ND, norms_N = normalize(features_ND, return_norm=True)
    is_unit_N = abs(norms_N - 1) < 1e-6
    unit_ND[is_unit_N] = features_ND[is_unit_N]
    return unit_ND


def label_ranks(
    score_NK: npt.NDArray[np.floating],
    classes_K: npt.NDArray[np.generic],
    label_N: npt.NDArray[np.generic],
) -> npt.NDArray[np.int64]:
    """Rank [N] of the true class by score: 0 for the highest, ties in the order of `classes_K`.

    A label that is not among the classes has the rank `UNSEEN_CLASS`.
    """
    order_NK = np.argsort(-score_NK, axis=1, kind="stable")
    hit_NK = classes_K[order_NK] == label_N[:, None]
    return np.where(hit_NK.any(axis=1), hit_NK.argmax(axis=1), UNSEEN_CLASS)


def rank_in_class(label_N: npt.NDArray[np.integer], order_N: Indices) -> Indices:
    """Rank [N], from 0, of each window among those of its class when sorted by `order_N`."""
    rank_N = np.empty(len(label_N), dtype=np.intp)
    for label in np.unique(label_N):
        members = order_N[label_N[order_N] == label]
        rank_N[members] = np.arange(len(members))
    return rank_N


def stratified_subset(codes_N: Indices, size: int, seed: int) -> Indices:
    """Sorted indices of a random subset of `size` windows, stratified by class (0, 1, ...).

    Every class keeps the same fraction of its windows, and at least one as far as `size` allows.
    """
    if len(codes_N) <= size:
        return np.arange(len(codes_N))
    order_N = np.random.default_rng(seed).permutation(len(codes_N))
    quantile_N = rank_in_class(codes_N, order_N) / np.bincount(codes_N)[codes_N]  # within its class
    return np.sort(order_N[np.argsort(quantile_N[order_N], kind="stable")[:size]])


def published_subset(codes_N: Indices, size: int) -> Indices:
    """A subset of `size` windows as the published probe draws it, in its order, which decides the
    folds of the cross-validation: `train_test_split` of scikit-learn, stratified, with seed 0. All
    windows if there are no more.

    Raises EvaluateError, `evaluate.small-classes`, for a class with a single window.
    """
    if len(codes_N) <= size:
        return np.arange(len(codes_N))
    if np.bincount(codes_N).min() < 2:
        raise EvaluateError(
            "evaluate.small-classes",
            "probe_windows: published draws from each class, and one has a single train window; "
            "label more recordings of that class, or set probe_windows: seed",
        )
    drawn_N, _ = train_test_split(
        np.arange(len(codes_N)), train_size=size, random_state=0, stratify=codes_N
    )
    return np.asarray(drawn_N)
