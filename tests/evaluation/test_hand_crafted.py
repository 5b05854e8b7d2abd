"""The classifier of hand-crafted features, against plain scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from comodo.evaluation import hand_crafted
from comodo.evaluation.hand_crafted import C_GRID, TREES, ClassicalClassifier, _folds
from comodo.evaluation.labelled_features import EvaluateError, stratified_subset
from tests.errors import raises

Labelled = tuple[np.ndarray, np.ndarray]


def blobs(count: int, seed: int, noise: float = 2.0) -> Labelled:
    """Three classes of windows with features of very different units."""
    rng = np.random.default_rng(seed)
    label_N = np.arange(count) % 3
    features_ND = np.eye(3)[label_N] @ np.ones((3, 8)).cumsum(0) + rng.normal(0, noise, (count, 8))
    return features_ND * 10.0 ** np.arange(-3, 5), np.array(["a", "b", "c"])[label_N]


def xor(count: int, seed: int) -> Labelled:
    """Two classes that no plane separates."""
    features_ND = np.random.default_rng(seed).normal(size=(count, 2))
    return features_ND, np.where(features_ND.prod(1) > 0, "same", "other")


def candidates(seed: int) -> list[Any]:
    regressions = [LogisticRegression(C=c, max_iter=1000) for c in C_GRID]
    scaled = [make_pipeline(StandardScaler(), regression) for regression in regressions]
    return [*scaled, RandomForestClassifier(TREES, random_state=seed)]  # each tree sees all windows


def test_val_chooses_among_what_train_has_fitted() -> None:
    train, val, (test_ND, _) = blobs(90, 0), blobs(60, 1), blobs(30, 2)
    found = ClassicalClassifier(3).fit(train, np.arange(90) % 4, val)
    models = [model.fit(*train) for model in candidates(3)]
    scores = [accuracy_score(val[1], model.predict(val[0])) for model in models]
    assert len(set(scores)) > 1
    best = models[int(np.argmax(scores))]
    assert found.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found.probabilities(test_ND), best.predict_proba(test_ND), rtol=1e-9)


def test_without_val_whole_groups_are_held_out() -> None:
    train, (test_ND, _) = blobs(120, 0, noise=3.0), blobs(30, 2)
    group_N = np.arange(120) // 3 % 7
    found = ClassicalClassifier(0).fit(train, group_N, None)
    splitter = GroupKFold(5)
    scores = [
        # Of all windows: folds differ in size.
        sum(
            (model.fit(train[0][a], train[1][a]).predict(train[0][b]) == train[1][b]).sum()
            for a, b in splitter.split(train[0], train[1], group_N)
        )
        for model in candidates(0)
    ]
    best = candidates(0)[int(np.argmax(scores))].fit(*train)
    np.testing.assert_allclose(found.probabilities(test_ND), best.predict_proba(test_ND), rtol=1e-9)
    assert cross_val_score(best, *train, groups=group_N, cv=splitter).mean() > 0.4


def test_a_forest_is_chosen_where_no_plane_separates() -> None:
    train, test = xor(200, 0), xor(100, 1)
    found = ClassicalClassifier().fit(train, np.arange(200) % 5, xor(100, 2))
    assert found.chosen == {"trees": TREES}
    predicted = found.classes_[found.probabilities(test[0]).argmax(1)]
    assert (predicted == test[1]).mean() > 0.9


def test_equally_accurate_ones_are_the_regression_with_c_1() -> None:
    train = blobs(60, 0, noise=0.01)
    found = ClassicalClassifier().fit(train, np.arange(60) % 5, blobs(30, 1, noise=0.01))
    assert found.chosen == {"C": 1.0}


def test_many_windows_are_subsampled_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_crafted, "MAX_TRAIN", 30)
    features_ND, name_N = blobs(90, 0)
    found = ClassicalClassifier(1).fit((features_ND, name_N), np.arange(90) % 5, blobs(30, 1))
    other_ND = features_ND.copy()
    kept = stratified_subset(np.unique(name_N, return_inverse=True)[1], 30, 1)
    other_ND[np.setdiff1d(np.arange(90), kept)] = 0
    same = ClassicalClassifier(1).fit((other_ND, name_N), np.arange(90) % 5, blobs(30, 1))
    assert np.array_equal(found.probabilities(features_ND), same.probabilities(features_ND))


def test_folds_are_of_groups_and_of_a_single_group_of_windows() -> None:
    name_N, group_N = np.array(["a", "b"] * 10), np.array(list("vvvvwwwwxxxxyyyyzzzz"))
    for fitted_on, held_out in _folds(name_N, group_N):
        assert not set(group_N[fitted_on]) & set(group_N[held_out])
    assert len(list(_folds(name_N, np.array(["x"] * 20)))) == 5
    own = np.where(name_N == "a", "v", "w")  # each class has a group of its own
    assert list(_folds(name_N, own)) == []
    train = (np.arange(40.0).reshape(20, 2), name_N)
    assert ClassicalClassifier().fit(train, own, None).chosen == {"C": 1.0}


def test_of_many_windows_the_first_fold_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    train, group_N = blobs(120, 0, noise=3.0), np.arange(120) % 7
    fitted = list[int]()
    fit = ClassicalClassifier._fitted

    def noted(self: ClassicalClassifier, features_ND: np.ndarray, name_N: np.ndarray) -> Any:
        fitted.append(len(name_N))
        return fit(self, features_ND, name_N)

    monkeypatch.setattr(ClassicalClassifier, "_fitted", noted)
    ClassicalClassifier().fit(train, group_N, None)
    assert len(fitted) == 5
    monkeypatch.setattr(hand_crafted, "ONE_FOLD_FROM", 120)
    ClassicalClassifier().fit(train, group_N, None)
    assert fitted[5:] == fitted[:1]


def test_what_cannot_be_fitted_is_refused() -> None:
    features_ND, name_N = blobs(30, 0)
    group_N = np.arange(30)
    with raises(EvaluateError, "evaluate.one-class"):
        ClassicalClassifier().fit((features_ND, np.full(30, "a")), group_N, None)
    features_ND[3, 3] = np.nan
    with raises(EvaluateError, "evaluate.not-finite"):
        ClassicalClassifier().fit((features_ND, name_N), group_N, None)
