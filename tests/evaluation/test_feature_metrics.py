"""Measures of features against scikit-learn, plain second formulations and known answers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize

from comodo.evaluation import feature_metrics
from comodo.evaluation.feature_metrics import anchors, classification, linear_cka, neighbour_overlap
from comodo.evaluation.labelled_features import EvaluateError, rank_in_class
from tests.errors import raises


def accuracies_of(measure: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, float]]:
    """The measure, returning accuracies and their standard deviation over repeats, not hits."""

    def measured(*arrays: Any, **options: Any) -> dict[str, float]:
        """`arrays` are those of `zero_shot_hits`, or features and labels of train and test."""
        metrics = {}
        sets = [arrays[:2], arrays[2:4], *arrays[4:]] if len(arrays) >= 4 else arrays
        for name, hits in measure(*sets, **options).items():
            hit_RN = np.atleast_2d(hits)
            metrics[name] = float(hit_RN.mean())
            if len(hit_RN) > 1:
                metrics[f"{name}_std"] = float(hit_RN.mean(axis=1).std(ddof=1))
        return metrics

    return measured


few_shot, linear_probe = (
    accuracies_of(feature_metrics.few_shot_hits),
    accuracies_of(feature_metrics.linear_hits),
)
nearest_neighbours, zero_shot = (
    accuracies_of(feature_metrics.knn_hits),
    accuracies_of(feature_metrics.zero_shot_hits),
)
LEARNERS = [linear_probe, partial(few_shot, shots=(1, 5), repeats=2), nearest_neighbours]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sets_of(*class_sizes: int, features: int = 12, tests: int = 60) -> tuple[Any, Any, Any, Any]:
    """Train and test features and labels: overlapping Gaussians off the origin, shuffled."""
    rng = np.random.default_rng([0, *class_sizes])
    label_N = rng.permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    test_label_N = rng.integers(len(class_sizes), size=tests)
    mean_KD = 2 + rng.normal(size=(len(class_sizes), features))
    train_ND, test_ND = (
        (mean_KD[label] + rng.normal(size=(len(label), features))).astype(np.float32)
        for label in (label_N, test_label_N)
    )
    return train_ND, label_N, test_ND, test_label_N


def logistic_pipeline() -> Any:
    return make_pipeline(Normalizer(), StandardScaler(), LogisticRegression(max_iter=1000))


def test_classification_is_scikit_learns() -> None:
    label_N, predicted_N = np.random.default_rng(0).integers(5, size=(2, 200))
    metrics = classification(label_N, predicted_N)
    assert metrics["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(label_N, predicted_N)
    )
    assert metrics["macro_f1"] == pytest.approx(f1_score(label_N, predicted_N, average="macro"))


def test_classification_averages_over_the_classes_of_the_truth() -> None:
    # Class 0: recall 1/2, precision 1, F1 2/3. Class 2 is never predicted, class 1 never true.
    metrics = classification(np.array([0, 0, 2]), np.array([0, 1, 1]))
    assert metrics == {"balanced_accuracy": 0.25, "macro_f1": pytest.approx(1 / 3)}
    assert classification(np.zeros(3, dtype=int), np.zeros(3, dtype=int)) == {
        "balanced_accuracy": 1.0,
        "macro_f1": 1.0,
    }


@pytest.mark.parametrize("class_sizes", [(40, 40), (60, 25, 10, 5), (30, 30, 1)], ids=str)
def test_linear_probe_is_scikit_learns(class_sizes: tuple[int, ...]) -> None:
    train_ND, label_N, test_ND, test_label_N = sets_of(*class_sizes)
    expected = logistic_pipeline().fit(train_ND, label_N).score(test_ND, test_label_N)
    assert linear_probe(train_ND, label_N, test_ND, test_label_N) == {
        "acc1": pytest.approx(expected, abs=1 / 60)  # one window may lie on the border
    }


def test_few_shot_is_the_mean_over_repeats_of_a_fit_on_k_windows_of_each_class() -> None:
    train_ND, label_N, test_ND, test_label_N = sets_of(30, 30, 4)
    metrics = few_shot(train_ND, label_N, test_ND, test_label_N, (2, 10), repeats=3, seed=5)

    unit_ND, unit_test_ND = normalize(train_ND), normalize(test_ND)
    scaler = StandardScaler().fit(unit_ND)
    for k in (2, 10):
        accuracies = []
        for repeat in range(3):
            order_N = np.random.default_rng([5, repeat]).permutation(len(label_N))
            chosen_N = np.flatnonzero(rank_in_class(label_N, order_N) < k)
            assert np.bincount(label_N[chosen_N]).tolist() == [k, k, min(k, 4)]
            model = LogisticRegression(max_iter=1000)
            model.fit(scaler.transform(unit_ND[chosen_N]), label_N[chosen_N])
            accuracies.append(model.score(scaler.transform(unit_test_ND), test_label_N))
        assert metrics[f"{k}"] == pytest.approx(np.mean(accuracies), abs=1 / 60)
        assert metrics[f"{k}_std"] == pytest.approx(np.std(accuracies, ddof=1), abs=0.01)


def test_few_shot_ends_at_the_linear_probe_and_leaves_out_more() -> None:
    sets = sets_of(20, 10)
    metrics = few_shot(*sets, (1, 20, 21), repeats=2)
    assert list(metrics) == ["1", "1_std", "20", "20_std"]
    assert metrics["20"] == linear_probe(*sets)["acc1"]
    assert metrics["20_std"] == 0
    assert metrics["1_std"] > 0


def test_few_shot_subsets_follow_the_seed_and_not_the_other_shots() -> None:
    sets = sets_of(40, 40, 40)
    metrics = few_shot(*sets, shots=(1, 5), repeats=2, seed=1)
    assert metrics == few_shot(*sets, shots=(1, 5), repeats=2, seed=1)
    assert metrics != few_shot(*sets, shots=(1, 5), repeats=2, seed=2)
    assert metrics.items() > few_shot(*sets, shots=(5,), repeats=2, seed=1).items()


@pytest.mark.parametrize("k", [1, 20, 1000])
def test_nearest_neighbours_vote_by_similarity(k: int) -> None:
    train_ND, label_N, test_ND, test_label_N = sets_of(50, 30, 1)
    cosine_NM = normalize(test_ND).astype(np.float64) @ normalize(train_ND).T
    hits = 0
    for cosine_M, label in zip(cosine_NM, test_label_N, strict=True):
        nearest = np.argsort(-cosine_M)[:k]
        votes_K = np.bincount(label_N[nearest], weights=np.exp(cosine_M[nearest] / 0.07))
        hits += votes_K.argmax() == label
    metrics = nearest_neighbours(train_ND, label_N, test_ND, test_label_N, k=k)
    assert metrics == {"acc1": pytest.approx(hits / 60)}


@pytest.mark.parametrize("learner", LEARNERS, ids=["linear", "few_shot", "knn"])
def test_classes_unseen_in_training_are_wrong(learner: Any) -> None:
    train_ND, label_N, test_ND, test_label_N = sets_of(20, 20)
    seen = learner(train_ND, label_N, test_ND, test_label_N)
    half_unseen_N = np.concatenate([test_label_N, np.full(60, 9)])
    metrics = learner(train_ND, label_N, np.concatenate([test_ND, test_ND]), half_unseen_N)
    assert metrics == {key: pytest.approx(value / 2) for key, value in seen.items()}


@pytest.mark.parametrize("learner", LEARNERS, ids=["linear", "few_shot", "knn"])
def test_well_separated_classes_are_classified_at_any_scale(learner: Any) -> None:
    label_N = np.arange(40) % 4
    features_ND = np.eye(4)[label_N] + 0.01 * normal(40, 4)
    metrics = learner(7 * features_ND[:20], label_N[:20], features_ND[20:], label_N[20:])
    assert {value for key, value in metrics.items() if "std" not in key} == {1.0}


def test_anchor_is_the_window_nearest_to_the_mean_direction() -> None:
    teacher_ND = np.array([[1, 0], [8, 1], [2, 2], [0, 3], [0, 5]], dtype=np.float32)
    label_N = np.array([0, 0, 0, 3, 1])
    anchor_KD = anchors(teacher_ND, label_N, classes=4)
    assert anchor_KD.dtype == np.float32
    np.testing.assert_array_equal(anchor_KD, [[8, 1], [0, 5], [np.nan, np.nan], [0, 3]])


def test_zero_shot_is_membership_in_the_k_closest_anchors() -> None:
    student_ND, anchor_KD = normal(50, 7), normal(8, 7, seed=1)
    anchor_KD[2] = np.nan
    label_N = np.arange(50) % 8
    cosine_NK = normalize(student_ND) @ normalize(np.nan_to_num(anchor_KD)).T
    hits = {1: 0, 3: 0, 5: 0}
    for cosine_K, label in zip(cosine_NK, label_N, strict=True):
        closer = sum(cosine_K[other] > cosine_K[label] for other in range(8) if other != 2)
        for k in hits:
            hits[k] += label != 2 and closer < k
    metrics = zero_shot(student_ND, anchor_KD, label_N)
    assert metrics == {f"acc{k}": pytest.approx(hits[k] / 50) for k in hits}


def test_zero_shot_of_a_perfect_student_and_of_few_anchors() -> None:
    teacher_ND, label_N = normal(30, 16), np.arange(30) % 6
    anchor_KD = anchors(teacher_ND, label_N, classes=6)
    perfect = zero_shot(3 * anchor_KD, anchor_KD, np.arange(6))
    assert perfect == {"acc1": 1, "acc3": 1, "acc5": 1}
    anchor_KD[:2] = np.nan
    assert list(zero_shot(teacher_ND, anchor_KD, label_N)) == ["acc1", "acc3"]
    anchor_KD[:5] = np.nan
    assert zero_shot(teacher_ND, anchor_KD, label_N) == {"acc1": pytest.approx(1 / 6)}


def plain_debiased_cka(a_ND: Any, b_NE: Any) -> float:
    """HSIC_1 of Song et al. (2012), literally, on N x N kernels without their diagonals."""

    def hsic(k_NN: Any, l_NN: Any) -> Any:
        n = len(k_NN)
        product_NN = k_NN @ l_NN
        means = k_NN.sum() * l_NN.sum() / ((n - 1) * (n - 2)) - 2 * product_NN.sum() / (n - 2)
        return (np.trace(product_NN) + means) / (n * (n - 3))

    k_NN, l_NN = (x.astype(np.float64) @ x.T.astype(np.float64) for x in (a_ND, b_NE))
    np.fill_diagonal(k_NN, 0)
    np.fill_diagonal(l_NN, 0)
    return float(hsic(k_NN, l_NN) / np.sqrt(hsic(k_NN, k_NN) * hsic(l_NN, l_NN)))


@pytest.mark.parametrize("shape", [(200, 10, 30), (40, 100, 7), (4, 3, 3)], ids=str)
def test_cka_is_the_published_formula(shape: tuple[int, int, int]) -> None:
    n, d, e = shape
    a_ND = 1 + normal(n, d)
    b_NE = a_ND @ normal(d, e, seed=1) + 3 * normal(n, e, seed=2)
    assert linear_cka(a_ND, b_NE) == pytest.approx(plain_debiased_cka(a_ND, b_NE), abs=1e-6)


def test_cka_of_unrelated_features_is_zero_however_many_they_are() -> None:
    a_ND, b_NE = normal(200, 1500), normal(200, 800, seed=1)
    assert abs(linear_cka(a_ND, b_NE)) < 0.05
    centred_a, centred_b = a_ND - a_ND.mean(axis=0), b_NE - b_NE.mean(axis=0)
    norms = [np.linalg.norm(x.T @ x) for x in (centred_a, centred_b)]
    assert np.linalg.norm(centred_a.T @ centred_b) ** 2 / np.prod(norms) > 0.8  # the plain one


def test_cka_does_not_see_rotation_shift_and_scale() -> None:
    a_ND, b_NE = normal(50, 20), normal(50, 20, seed=1) + normal(50, 20)
    rotation_DD = np.linalg.qr(normal(20, 20, seed=2))[0]
    assert linear_cka(a_ND, a_ND) == pytest.approx(1)
    assert linear_cka(a_ND, 1e-3 * a_ND @ rotation_DD + 5) == pytest.approx(1, abs=1e-4)
    assert linear_cka(100 * a_ND @ rotation_DD, b_NE) == pytest.approx(linear_cka(a_ND, b_NE))
    assert linear_cka(b_NE, a_ND) == pytest.approx(linear_cka(a_ND, b_NE))


def test_cka_of_a_collapsed_representation_is_zero() -> None:
    a_ND = normal(30, 8)
    collapsed_ND = np.full((30, 8), 0.3, dtype=np.float32)
    assert linear_cka(a_ND, collapsed_ND) == linear_cka(collapsed_ND, collapsed_ND) == 0
    collapsed_ND[3] = 1  # but for one window, which has nothing to be compared with
    assert linear_cka(a_ND, collapsed_ND) == 0


@pytest.mark.parametrize("k", [1, 10])
def test_neighbour_overlap_counts_common_neighbours(k: int) -> None:
    a_ND = normal(60, 5)
    b_NE = np.concatenate([a_ND, normal(60, 3, seed=1)], axis=1)
    shared = 0
    cosines = [normalize(x) @ normalize(x).T for x in (a_ND, b_NE)]
    for i in range(60):
        orders = [np.argsort(-cosine_NN[i]) for cosine_NN in cosines]
        first, second = (set(order[order != i][:k].tolist()) for order in orders)
        shared += len(first & second)
    assert neighbour_overlap(a_ND, b_NE, k=k) == pytest.approx(shared / (60 * k))


def test_neighbour_overlap_of_the_same_and_of_unrelated_features() -> None:
    a_ND = normal(400, 20)
    assert neighbour_overlap(a_ND, 5 * a_ND) == 1
    assert neighbour_overlap(a_ND, normal(400, 20, seed=1)) == pytest.approx(10 / 399, abs=0.01)


def test_comparing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = sets_of(1500, 1500, features=4, tests=600)
    a_ND, b_ND = sets[0], sets[0] + normal(3000, 4)
    whole = nearest_neighbours(*sets), neighbour_overlap(a_ND, b_ND)
    monkeypatch.setattr(feature_metrics, "BLOCK_MB", 1)  # 43 rows at a time
    assert (nearest_neighbours(*sets), neighbour_overlap(a_ND, b_ND)) == whole


@pytest.mark.parametrize("learner", LEARNERS, ids=["linear", "few_shot", "knn"])
def test_learners_name_what_is_wrong(learner: Any) -> None:
    train_ND, label_N, test_ND, test_label_N = sets_of(20, 20)
    with raises(EvaluateError, "evaluate.one-class", "[3]"):
        learner(train_ND, np.full(40, 3), test_ND, test_label_N)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        learner(train_ND, label_N[1:], test_ND, test_label_N)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        learner(train_ND, label_N, test_ND, test_label_N[1:])
    train_ND[[1, 5]], test_ND[3, 2] = np.nan, np.inf
    with raises(EvaluateError, "evaluate.not-finite", "2 of 40 rows"):
        learner(train_ND, label_N, test_ND, test_label_N)
    with raises(EvaluateError, "evaluate.not-finite", "1 of 60 rows"):
        learner(np.nan_to_num(train_ND), label_N, test_ND, test_label_N)


@pytest.mark.parametrize("wrong", [{"repeats": 1}, {"shots": (0, 5)}])
def test_few_shot_needs_repeats_and_windows(wrong: Any) -> None:
    with pytest.raises(ValueError, match="few-shot needs two repeats and k >= 1"):
        few_shot(*sets_of(20, 20), **wrong)


def test_labels_out_of_range_and_missing_windows() -> None:
    label_N, none = np.array([0, 1, 4]), np.array([], dtype=int)
    with pytest.raises(ValueError, match="labels 0 to 4, expected 0 to 3"):
        anchors(normal(3, 2), label_N, classes=4)
    with pytest.raises(ValueError, match="labels -4 to 0, expected 0 to 3"):
        zero_shot(normal(3, 2), normal(4, 2), -label_N)
    with pytest.raises(ValueError, match="no windows"):
        classification(none, none)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classification(label_N, label_N[1:])


def test_anchors_that_do_not_fit() -> None:
    student_ND, label_N = normal(3, 2), np.array([0, 1, 1])
    with raises(EvaluateError, "evaluate.no-anchor"):
        zero_shot(student_ND, np.full((2, 2), np.nan), label_N)
    with pytest.raises(ValueError, match="anchors \\(2, 5\\) for embeddings \\(3, 2\\)"):
        zero_shot(student_ND, normal(2, 5), label_N)
    with raises(EvaluateError, "evaluate.not-finite", "1 of 2 rows"):
        zero_shot(student_ND, np.array([[1, np.nan], [0, 1]]), label_N)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        anchors(student_ND, label_N[1:], classes=2)


def test_representations_that_cannot_be_compared() -> None:
    for compare in (linear_cka, neighbour_overlap):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            compare(normal(30, 2), normal(29, 2))
        with raises(EvaluateError, "evaluate.not-finite", "30 of 30 rows"):
            compare(normal(30, 2), np.full((30, 2), np.inf))
    with pytest.raises(ValueError, match="at least four windows, got 3"):
        linear_cka(normal(3, 2), normal(3, 2))
    with pytest.raises(ValueError, match="10 neighbours needs over 11 windows, got 11"):
        neighbour_overlap(normal(11, 2), normal(11, 2))
