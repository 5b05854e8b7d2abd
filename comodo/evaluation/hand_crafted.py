"""The classifier of hand-crafted features, in place of a student's probe: logistic regression or a
random forest.

Knows no student, split or file, and not where the features come from. Shape letters: N windows, D
features, K classes, F folds, M models.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from comodo.evaluation.labelled_features import (
    FloatArray,
    Indices,
    check_two_classes,
    checked_features,
    stratified_subset,
)

C_GRID = (1.0, 0.1, 0.01)
"""Of the logistic regression; of equally accurate ones the first, and it before the forest."""
TREES, TREE_WINDOWS = 100, 1_000
"""Trees of the forest, and the most windows that each is fitted on: more would cost ten seconds."""
MAX_TRAIN = 10_000
"""Training windows; more are subsampled, stratified by class, as for the probe of a student."""
MAX_FOLDS, ONE_FOLD_FROM = 5, 2_000
"""Folds of the cross-validation, and train windows from which on the first one is enough: it then
holds out hundreds of windows, and five folds cost five times as much."""
Labelled = tuple[npt.NDArray[np.floating], npt.NDArray[np.str_]]  # features [N, D], classes [N]


class ClassicalClassifier:
    """Logistic regression on standardised features, or a random forest: whichever classifies more
    of the val windows; without val, of the windows of held-out groups of train.

    Attributes after `fit`: `classes_` (sorted), `chosen` (`C` of the logistic regression, or the
    number of `trees`).
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(
        self, train: Labelled, group_N: npt.NDArray[np.generic], val: Labelled | None
    ) -> "ClassicalClassifier":
        """Chooses among the candidates, and fits the chosen one on the train windows alone.

        Raises EvaluateError, `evaluate.not-finite` or `evaluate.one-class`.
        """
        features_ND, name_N = checked_features(train[0]), train[1]
        check_two_classes(name_N)
        _, code_N = np.unique(name_N, return_inverse=True)
        kept_N = stratified_subset(code_N, MAX_TRAIN, self.seed)
        features_ND, name_N, group_N = features_ND[kept_N], name_N[kept_N], group_N[kept_N]
        if val is not None:
            models = self._fitted(features_ND, name_N)
            hits = [_hits(model, checked_features(val[0]), val[1]) for model in models]
            self._model = models[int(np.argmax(hits))]
        else:
            folds = MAX_FOLDS if len(name_N) < ONE_FOLD_FROM else 1
            hits_FM = [
                [
                    _hits(model, features_ND[held_out], name_N[held_out])
                    for model in self._fitted(features_ND[fitted_on], name_N[fitted_on])
                ]
                for fitted_on, held_out in islice(_folds(name_N, group_N), folds)
            ]
            best = int(np.sum(hits_FM, axis=0).argmax()) if hits_FM else 0
            self._model = self._candidates(len(name_N))[best].fit(features_ND, name_N)
        self.classes_: npt.NDArray[np.str_] = self._model.classes_
        return self

    @property
    def chosen(self) -> dict[str, float]:
        last = self._model[-1]
        if isinstance(last, LogisticRegression):
            return {"C": float(last.C)}
        return {"trees": float(last.n_estimators)}

    def probabilities(self, features_ND: npt.ArrayLike) -> FloatArray:
        """Class probabilities [N, K]; columns are in the order of `classes_`."""
        return np.asarray(self._model.predict_proba(checked_features(features_ND)))

    def _candidates(self, windows: int) -> list[Pipeline]:
        limit = TREE_WINDOWS if windows > TREE_WINDOWS else None
        forest = RandomForestClassifier(TREES, max_samples=limit, random_state=self.seed)
        regressions = [LogisticRegression(C=c, max_iter=1000) for c in C_GRID]
        return [*(make_pipeline(StandardScaler(), x) for x in regressions), make_pipeline(forest)]

    def _fitted(
        self, features_ND: npt.NDArray[np.floating], name_N: npt.NDArray[np.str_]
    ) -> list[Pipeline]:
        return [model.fit(features_ND, name_N) for model in self._candidates(len(name_N))]


def _hits(
    model: Pipeline, features_ND: npt.NDArray[np.floating], name_N: npt.NDArray[np.str_]
) -> int:
    return int((model.predict(features_ND) == name_N).sum())


def _folds(
    name_N: npt.NDArray[np.str_], group_N: npt.NDArray[np.generic]
) -> Iterator[tuple[Indices, Indices]]:
    """Windows to fit on and held-out windows, whole groups; of a single group, windows. Without
    folds that leave only one class to fit on."""
    groups = np.unique(group_N, return_inverse=True)[1]
    if not groups.any():
        groups = np.arange(len(name_N))
    splitter = GroupKFold(min(MAX_FOLDS, groups.max() + 1))
    for fitted_on, held_out in splitter.split(name_N, name_N, groups):
        if len(np.unique(name_N[fitted_on])) > 1:
            yield fitted_on, held_out
