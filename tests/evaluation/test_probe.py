"""The probe against golden numbers, and against scikit-learn's own `SVC(probability=True)`."""

import ast
import inspect
import json
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from comodo.evaluation import platt
from comodo.evaluation import probe as probe_module
from comodo.evaluation.labelled_features import EvaluateError, published_subset, stratified_subset
from comodo.evaluation.probe import C_GRID, SVMProbe
from tests.errors import raises
from tests.paths import GOLDEN

pytestmark = pytest.mark.filterwarnings("error")

needs_svc_probabilities = pytest.mark.skipif(
    "probability" not in inspect.signature(SVC).parameters,
    reason="this scikit-learn has dropped SVC(probability=True)",
)

# Members of each class: two classes (where SVC flips signs), imbalance, and rare classes. A class
# with one member is absent from one training fold.
CLASS_SIZES = [(40, 40), (90, 12), (45, 4), (30, 30, 30), (70, 25, 3), (40, 30, 1), (30,) * 6]
CLASS_SIZES += [(60, 40, 25, 12, 7, 2), (6, 6, 6), (1, 1, 30, 30)]
KINDS: dict[str, dict[str, Any]] = {
    "noise": {"spread": 0},
    "near-separable": {"spread": 1.5, "features": 200},
    "copies": {"copies": 40},
    "float32 and strings": {"dtype": np.float32, "features": 200, "strings": True},
}
LARGE = [  # class sizes, features, distance of the classes
    ((150, 150), 1536, 0.1),
    ((200, 100, 60, 30, 6, 3, 1), 256, 0.15),
    ((125,) * 8, 768, 0.0),
    ((60,) * 12, 512, 0.2),
    ((600, 350, 200, 150, 100, 60, 36, 4), 1536, 0.07),
]
CASES = [pytest.param({"class_sizes": sizes}, id=str(sizes)) for sizes in CLASS_SIZES]
CASES += [pytest.param({"class_sizes": (50, 40, 20), **kind}, id=id) for id, kind in KINDS.items()]
CASES += [
    pytest.param(
        KINDS["float32 and strings"] | {"class_sizes": sizes, "features": D, "spread": spread},
        marks=pytest.mark.slow,
        id=f"{sum(sizes)} windows of {len(sizes)} classes, {D} features",
    )
    for sizes, D, spread in LARGE
]


def windows_of(
    class_sizes: tuple[int, ...],
    features: int = 24,
    seed: int = 0,
    spread: float = 0.45,
    copies: int = 0,
    dtype: Any = np.float64,
    strings: bool = False,
) -> Any:
    """Train and test features and labels: Gaussians `spread` apart, in shuffled order.

    `copies` of the training windows repeat others, whatever their class.
    """
    rng = np.random.default_rng([seed, *class_sizes])
    labels_N = rng.permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    test_labels_N = rng.integers(len(class_sizes), size=80)
    means_KD = rng.normal(size=(len(class_sizes), features)) * spread
    train_ND, test_ND = (
        (rng.normal(size=(len(labels), features)) + means_KD[labels]).astype(dtype)
        for labels in (labels_N, test_labels_N)
    )
    into, source = rng.integers(len(labels_N), size=(2, copies))
    train_ND[into] = train_ND[source]
    if strings:
        labels_N, test_labels_N = labels_N.astype(str), test_labels_N.astype(str)
    return train_ND, labels_N, test_ND, test_labels_N


def standardised(train_ND: Any, test_ND: Any) -> tuple[Any, Any]:
    scaler = StandardScaler().fit(normalize(train_ND))
    return scaler.transform(normalize(train_ND)), scaler.transform(normalize(test_ND))


@pytest.fixture(scope="module", params=["six_class", "eight_class"])
def golden(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    if not (GOLDEN / "svm_probe.json").exists():
        pytest.skip(f"no golden numbers in {GOLDEN}")
    cases = json.loads((GOLDEN / "svm_probe.json").read_text())
    numbers = next(case for case in cases if case["name"] == request.param)
    with np.load(GOLDEN / "svm_probe.npz") as stored:
        prefix = request.param + "/"
        arrays = {key.removeprefix(prefix): stored[key] for key in stored if prefix in key}
    return numbers, arrays


def test_golden_choice_predictions_and_probabilities(golden: Any) -> None:
    numbers, arrays = golden
    probe = SVMProbe(seed=0, ties="smallest").fit(arrays["train_x"], arrays["train_y"])

    assert numbers["best_C"] == probe.C_
    assert list(probe.cv_accuracy_) == [10.0**exponent for exponent in range(-4, 5)]
    assert list(probe.cv_accuracy_.values()) == numbers["cv_mean_accuracy_by_C"]
    np.testing.assert_array_equal(probe.predict(arrays["test_x"]), arrays["predict"])
    # On another machine, rounding in the kernel may move a solution within libsvm's tolerance.
    np.testing.assert_allclose(
        probe.probabilities(arrays["test_x"]), arrays["probabilities_seed0"], atol=2e-4
    )


def test_golden_accuracy_at_each_seed(golden: Any) -> None:
    numbers, arrays = golden
    for seed, expected in numbers["by_seed"].items():
        probe = SVMProbe(seed=int(seed), ties="smallest").fit(arrays["train_x"], arrays["train_y"])
        accuracy = probe.accuracy(arrays["test_x"], arrays["test_y"])
        assert list(accuracy.values()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("by_libsvm", [0, probe_module.PREDICTED_BY_LIBSVM])
@pytest.mark.parametrize("case", CASES)
def test_same_as_grid_search(
    case: dict[str, Any], by_libsvm: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With validation windows predicted by matrix products, and by libsvm."""
    monkeypatch.setattr(probe_module, "PREDICTED_BY_LIBSVM", by_libsvm)
    train_ND, labels_N, test_ND, _ = windows_of(**case)
    probe = SVMProbe(ties="smallest").fit(train_ND, labels_N)
    scaled_train_ND, scaled_test_ND = standardised(train_ND, test_ND)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        search = GridSearchCV(SVC(), {"C": C_GRID}, cv=5).fit(scaled_train_ND, labels_N)

    np.testing.assert_array_equal(
        list(probe.cv_accuracy_.values()), search.cv_results_["mean_test_score"]
    )
    assert search.best_params_["C"] == probe.C_
    np.testing.assert_array_equal(probe.predict(test_ND), search.predict(scaled_test_ND))


@needs_svc_probabilities
@pytest.mark.parametrize("case", CASES)
def test_same_probabilities_as_libsvm(case: dict[str, Any]) -> None:
    train_ND, labels_N, test_ND, _ = windows_of(**case)
    probe = SVMProbe(seed=7, ties="smallest").fit(train_ND, labels_N)
    scaled_train_ND, scaled_test_ND = standardised(train_ND, test_ND)
    svm = SVC(C=probe.C_, probability=True, random_state=7)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        svm.fit(scaled_train_ND, labels_N)

    probabilities_NK, direct_NK = probe.probabilities(test_ND), svm.predict_proba(scaled_test_ND)
    np.testing.assert_allclose(probabilities_NK, direct_NK, atol=2e-4)
    np.testing.assert_array_equal(probabilities_NK.argmax(axis=1), direct_NK.argmax(axis=1))
    np.testing.assert_allclose(probabilities_NK.sum(axis=1), 1)


@pytest.mark.parametrize("sizes", [(30, 20), (30, 4, 20)])
@pytest.mark.parametrize("spread", [0, 0.45, 1.5])
def test_cut_grid_finds_what_every_fit_of_every_pair_finds(
    spread: float, sizes: tuple[int, ...]
) -> None:
    train_ND, labels_N, _, _ = windows_of(sizes, features=200, spread=spread)
    order_N = np.argsort(labels_N, kind="stable")
    vectors_ND, codes_N = train_ND[order_N], labels_N[order_N]
    distances_NN = probe_module._squared_distances(vectors_ND)
    kernel_NN = probe_module._into_kernel(distances_NN, probe_module._scale_gamma(vectors_ND))
    svms = probe_module._fit_along_grid(kernel_NN, codes_N)
    assert len(svms) < len(C_GRID)
    for c, cost in enumerate(C_GRID):
        coefficients_NP, intercepts_P = probe_module._of_pairs(svms[min(c, len(svms) - 1)], codes_N)
        for p, (first, second) in enumerate(combinations(range(len(sizes)), 2)):
            members, n_first = probe_module._members_of_pair(codes_N, first, second)
            kernel_MM = kernel_NN[np.ix_(members, members)]
            coefficients_M, intercept = platt.fit_pair(kernel_MM, n_first, cost)
            np.testing.assert_array_equal(coefficients_NP[members, p], coefficients_M)
            assert np.count_nonzero(coefficients_NP[:, p]) == np.count_nonzero(coefficients_M)
            assert intercepts_P[p] == intercept


def test_asks_scikit_learn_for_nothing_private_or_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def svc(*, kernel: str, C: float) -> SVC:
        return SVC(kernel=kernel, C=C)  # without probability=, which 1.11 drops

    monkeypatch.setattr(platt, "SVC", svc)
    monkeypatch.setattr(probe_module, "SVC", svc)
    train_ND, labels_N, test_ND, _ = windows_of((20, 20, 20))
    SVMProbe().fit(train_ND, labels_N).probabilities(test_ND)

    for path in Path(probe_module.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                assert not any("._" in name for name in names), f"{path}: {names}"
            assert not isinstance(node, ast.keyword) or node.arg != "probability", path


def test_accuracy_is_membership_in_the_k_most_probable() -> None:
    train_ND, labels_N, test_ND, test_labels_N = windows_of((25, 25, 25, 25))
    probe = SVMProbe().fit(train_ND, labels_N)
    accuracy = probe.accuracy(test_ND, test_labels_N, top_k=(1, 2, 9))

    hits = {1: 0, 2: 0, 9: 0}
    for row, label in zip(probe.probabilities(test_ND), test_labels_N, strict=True):
        better = sum(other > row[label] for other in row)
        for k in hits:
            hits[k] += better < k
    assert accuracy == {k: pytest.approx(count / 80) for k, count in hits.items()}
    assert accuracy[9] == 1


def test_string_labels_and_labels_unseen_in_training() -> None:
    train_ND, labels_N, test_ND, test_labels_N = windows_of((20, 20))
    names = np.array(["walk", "cook"])
    probe = SVMProbe().fit(train_ND, names[labels_N])
    assert probe.classes_.tolist() == ["cook", "walk"]
    assert set(probe.predict(test_ND)) <= {"cook", "walk"}
    seen = probe.accuracy(test_ND, names[test_labels_N])
    half_unseen = [*names[test_labels_N[:40]], *["swim"] * 40]
    assert probe.accuracy(test_ND[:40], names[test_labels_N[:40]])[1] == pytest.approx(
        2 * probe.accuracy(test_ND, half_unseen)[1]
    )
    assert probe.accuracy(test_ND, half_unseen)[5] == 0.5
    assert seen[5] == 1


def test_scoring_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train_ND, labels_N, test_ND, _ = windows_of((30, 30, 30))
    probe = SVMProbe().fit(train_ND, labels_N)
    whole_NK, labels = probe.probabilities(test_ND), probe.predict(test_ND)
    monkeypatch.setattr(probe_module, "BLOCK_VALUES", 600)
    np.testing.assert_allclose(probe.probabilities(test_ND), whole_NK, atol=1e-12)
    np.testing.assert_array_equal(probe.predict(test_ND), labels)


def test_subset_is_stratified_seeded_and_keeps_rare_classes() -> None:
    codes_N = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [600, 399, 1]))
    kept = stratified_subset(codes_N, 100, seed=3)
    assert len(set(kept)) == 100
    counts = np.bincount(codes_N[kept])
    assert counts[2] == 1
    assert abs(counts[0] - 60) <= 1
    np.testing.assert_array_equal(kept, stratified_subset(codes_N, 100, seed=3))
    assert (kept != stratified_subset(codes_N, 100, seed=4)).any()
    np.testing.assert_array_equal(stratified_subset(codes_N, 1000, seed=3), np.arange(1000))


def test_max_train_limits_the_training_windows() -> None:
    train_ND, labels_N, test_ND, _ = windows_of((50, 50))
    probe = SVMProbe(max_train=30).fit(train_ND, labels_N)
    assert len(probe._support_SD) <= 30
    assert probe.probabilities(test_ND).shape == (80, 2)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_published_probe_is_that_of_scikit_learn_on_its_own_subset(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Standardised by all windows, fitted on those of `train_test_split`, whatever the seed."""
    monkeypatch.setattr(probe_module, "SCALED_AT_ONCE", 37)  # the last block is a short one
    train_ND, labels_N, test_ND, _ = windows_of((70, 50, 40), spread=0.6)
    probe = SVMProbe(seed=seed, max_train=90, subset="published").fit(train_ND, labels_N)

    scaled_train_ND, scaled_test_ND = standardised(train_ND, test_ND)
    some_ND, _, some_N, _ = train_test_split(
        scaled_train_ND, labels_N, train_size=90, random_state=0, stratify=labels_N
    )
    search = GridSearchCV(SVC(), {"C": C_GRID}, cv=5).fit(some_ND, some_N)
    np.testing.assert_allclose(
        list(probe.cv_accuracy_.values()), search.cv_results_["mean_test_score"], rtol=0, atol=1e-4
    )
    assert search.best_params_["C"] == probe.C_
    np.testing.assert_array_equal(probe.predict(test_ND), search.predict(scaled_test_ND))
    other = SVMProbe(seed=seed, max_train=90).fit(train_ND, labels_N)
    assert other.cv_accuracy_ != probe.cv_accuracy_


def test_the_published_subset_needs_two_windows_of_each_class_to_draw_from() -> None:
    codes_N = np.array([0] * 20 + [1])
    np.testing.assert_array_equal(published_subset(codes_N, 21), np.arange(21))
    with raises(EvaluateError, "evaluate.small-classes", "probe_windows: seed"):
        published_subset(codes_N, 10)


def test_features_without_any_variance() -> None:
    probe = SVMProbe().fit(np.ones((20, 3)), np.arange(20) % 2)
    np.testing.assert_allclose(probe.probabilities(np.ones((2, 3))), 0.5, atol=0.05)


def test_errors_name_what_is_wrong() -> None:
    features_ND, labels_N = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
    with raises(EvaluateError, "evaluate.one-class", "[0]"):
        SVMProbe().fit(features_ND, np.zeros(12, dtype=int))
    with pytest.raises(ValueError, match="12 rows of features"):
        SVMProbe().fit(features_ND, labels_N[:-1])
    with pytest.raises(ValueError, match="windows, features"):
        SVMProbe().fit(features_ND[0], labels_N)
    with raises(EvaluateError, "evaluate.small-classes", "at least 5"):
        SVMProbe().fit(features_ND, np.arange(12) % 3)
    with raises(EvaluateError, "evaluate.small-classes", "one class only"):
        SVMProbe().fit(features_ND, np.arange(12) == 0)

    broken_ND = features_ND.copy()
    broken_ND[[2, 5], 1] = np.nan
    with raises(EvaluateError, "evaluate.not-finite", "2 of 12 rows"):
        SVMProbe().fit(broken_ND, labels_N)
    probe = SVMProbe().fit(features_ND, labels_N)
    with raises(EvaluateError, "evaluate.not-finite", "2 of 12 rows"):
        probe.probabilities(broken_ND)
    with pytest.raises(ValueError, match="labels \\(11,\\)"):
        probe.accuracy(features_ND, labels_N[:-1])


def test_of_equally_good_c_the_one_nearest_to_one_keeps_its_probabilities() -> None:
    train_ND, labels_N, test_ND, test_labels_N = windows_of((10,) * 6, features=200)
    train_ND = train_ND * 0.3 + far_means(labels_N)
    test_ND = test_ND * 0.3 + far_means(test_labels_N)
    smallest = SVMProbe(ties="smallest").fit(train_ND, labels_N)
    middle = SVMProbe().fit(train_ND, labels_N)
    assert smallest.cv_accuracy_ == middle.cv_accuracy_
    assert len(set(smallest.cv_accuracy_.values())) == 1
    assert (smallest.C_, middle.C_) == (1e-4, 1)
    assert (smallest.predict(test_ND) == test_labels_N).mean() > 0.9
    assert smallest.accuracy(test_ND, test_labels_N)[1] < 0.5  # as scikit-learn's own
    assert middle.accuracy(test_ND, test_labels_N)[1] > 0.9


def far_means(labels_N: Any) -> Any:
    """Means [N, 200] that hardly overlap."""
    return 3 * np.random.default_rng(5).normal(size=(6, 200))[labels_N]
