"""Hyperparameter importance: a key with a planted effect is found, keys without are not."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from comodo.evaluation import importance
from comodo.evaluation.importance import ABSENT, importances, main_effects

METHODS: list[Any] = ["none", {"name": "comodo", "queue_size": 8}, {"name": "comodo"}, None]


def points_of(number: int, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [
        {
            "method": METHODS[generator.integers(len(METHODS))],
            "learning_rate": float(10 ** generator.uniform(-5, -2)),
            "epochs": int(generator.integers(1, 50)),
            "student.channels": [["acc_x"], ["acc_x", "acc_y"]][generator.integers(2)],
            "batch_size": 64,
        }
        for _ in range(number)
    ]


def noisy(means: list[float], noise: float = 0.01) -> list[float]:
    return (np.array(means) + noise * np.random.default_rng(1).normal(size=len(means))).tolist()


def test_a_planted_number_is_first_and_clear_of_the_idle_keys() -> None:
    points = points_of(30)
    found = importances(points, noisy([0.1 * np.log10(p["learning_rate"]) for p in points]))
    assert set(found) == {"method", "learning_rate", "epochs", "student.channels"}  # what varies
    first, *idle = found.values()
    assert next(iter(found)) == "learning_rate"
    assert first.low > max(other.high for other in idle)
    assert sum(share.mean for share in found.values()) == pytest.approx(1)
    assert all(0 <= share.low <= share.mean <= share.high <= 1 for share in found.values())


def test_a_planted_mapping_is_first_and_clear_of_the_idle_keys() -> None:
    points = points_of(30)
    found = importances(points, noisy([0.2 * (p["method"] == METHODS[1]) for p in points]))
    first, *idle = found.values()
    assert next(iter(found)) == "method"
    assert first.low > max(other.high for other in idle)


def test_where_no_key_matters_no_interval_stands_clear_of_all_others() -> None:
    found = importances(points_of(30), noisy([0.5] * 30))
    first, *others = found.values()
    assert first.low < max(other.high for other in others)


def test_a_conditional_key_counts_its_absence_as_a_value() -> None:
    points = points_of(30)
    for place, point in enumerate(points):
        if place % 2:
            point["method.queue_size"] = 2.0**place
    found = importances(points, noisy([0.3 * ("method.queue_size" in p) for p in points]))
    assert next(iter(found)) == "method.queue_size"
    *_, (absent, scores) = main_effects(points, [0.0, 1.0] * 15)["method.queue_size"]
    assert (absent, scores) == (ABSENT, [0.0] * 15)


def test_many_choices_take_no_longer() -> None:
    points: list[dict[str, Any]] = [{"name": str(i), "other": i % 2} for i in range(40)]
    assert set(importances(points, noisy([0.5] * 40), resamples=2)) == {"name", "other"}


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    points = points_of(12)
    scores = noisy([p["epochs"] / 50 for p in points])
    assert importances(points, scores, resamples=3) == importances(points, scores, resamples=3)
    assert importances(points, scores, resamples=3) != importances(
        points, scores, resamples=3, seed=1
    )


def test_nothing_from_few_points_equal_scores_or_keys_that_stay() -> None:
    assert importances([], []) == {}
    assert importances(points_of(3), [0.1, 0.2, 0.3]) == {}
    assert importances(points_of(8), [0.5] * 8) == {}
    assert importances([{"epochs": 1}] * 4, [0.1, 0.2, 0.3, 0.4]) == {}


def test_one_different_score_among_many_is_enough() -> None:
    found = importances([{"epochs": i} for i in range(4)], [0.5, 0.5, 0.5, 0.6])
    assert found["epochs"].mean == 1


def test_main_effects_in_order() -> None:
    points = [
        {"epochs": 10, "method": {"a": 1, "b": 2}, "on": True, "same": 1},
        {"epochs": 2, "method": "none", "on": False, "same": 1.0},
        {"epochs": 10.0, "method": {"b": 2, "a": 1}, "on": False, "same": 1},
        {"epochs": 2, "method": "none", "on": False, "same": 1},
    ]
    assert main_effects(points, [0.25, 0.5, 0.75, 1.0]) == {
        "epochs": [(2, [0.5, 1.0]), (10, [0.25, 0.75])],
        "method": [({"a": 1, "b": 2}, [0.25, 0.75]), ("none", [0.5, 1.0])],
        "on": [(True, [0.25]), (False, [0.5, 0.75, 1.0])],
    }
    assert main_effects(points[:3], [0.25, 0.5, 0.75]) == {}


def of_optuna(points: list[dict[str, Any]], scores: list[float], resamples: int) -> dict[str, Any]:
    """The mean of each key by Optuna's evaluator, of points whose values are ranks."""
    distributions: dict[str, Any] = {
        key: IntDistribution(0, max(point[key] for point in points)) for key in points[0]
    }
    trials = [
        create_trial(params=point, distributions=distributions, value=score)
        for point, score in zip(points, scores, strict=True)
    ]
    generator, found = np.random.default_rng(0), []
    for _ in range(resamples):
        study = optuna.create_study()
        study.add_trials([trials[i] for i in generator.integers(len(trials), size=len(trials))])
        forest = FanovaImportanceEvaluator(
            n_trees=importance.TREES, seed=int(generator.integers(2**31))
        )
        found.append(get_param_importances(study, evaluator=forest))
    return {key: np.mean([one[key] for one in found]) for key in points[0]}


@pytest.mark.parametrize("levels", [(2, 3, 5), (60, 2, 17)])
def test_it_is_what_optuna_computes(levels: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    columns = [generator.permutation(np.arange(60) % count) for count in levels]
    points = [dict(zip("abc", map(int, row), strict=True)) for row in zip(*columns, strict=True)]
    scores = noisy([point["a"] * 0.1 + point["b"] * point["c"] * 0.2 for point in points], 0.1)
    found = importances(points, scores, resamples=2)
    assert {k: v.mean for k, v in found.items()} == pytest.approx(of_optuna(points, scores, 2))


def test_of_very_many_configurations_each_resample_draws_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = points_of(60)
    scores = noisy([0.1 * np.log10(p["learning_rate"]) for p in points])
    of_all = importances(points, scores, resamples=3)
    monkeypatch.setattr(importance, "MAX_RESAMPLED", 30)
    of_some = importances(points, scores, resamples=3)
    assert next(iter(of_some)) == "learning_rate"
    assert of_some != of_all


def test_settings_that_no_tree_can_tell_apart_are_equally_important() -> None:
    points = [{"a": 0, "b": 0}] * 40 + [{"a": 1, "b": 1}]
    found = importances(points, noisy([0.5] * 41), resamples=20)
    assert all(0 <= share.low <= share.high <= 1 for share in found.values())
