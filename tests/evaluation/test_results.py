"""Accuracies with intervals, differences and importances of a sweep's trials."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from comodo.config import Sweep, read_sweep_file
from comodo.config.dataset_base import FoldSplit
from comodo.core.store import Store
from comodo.data.folds import make_folds
from comodo.evaluation.pareto import pareto_front
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import holm
from comodo.search.configuration import trials_of
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer, make_arrays, run_whole, trial_config

METHODS: list[Any] = [{"name": "comodo", "queue_size": q} for q in (8, 16)] + ["infonce"]
ACCURACY = {"none": 0.5, "comodo": 0.7, "infonce": 0.71, "supervised": 0.8}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def results_of(
    sweep: Sweep, store: Store, methods: list[Any], evaluation: Evaluation | None = None
) -> Results:
    """Trials of four seeds for each method, finished with the accuracies above."""
    names, rows = Labels(sweep), []
    for method in methods:
        for seed in range(4):
            config = sweep.with_values({"method": method})
            trial = Trial(config, seed, "w", "f", evaluation or Evaluation())
            for dataset in trial.measured_on():
                answer(store, trial, ACCURACY[config.method.name], dataset)
            result = read_result(trial, store)
            assert result is not None
            label = names.configuration(trial)
            rows.append(TrialRow(trial, label, "finished", result.metrics, trained=result.trained))
    return Results(sweep, rows, store)


@pytest.fixture
def results(tmp_path: Path, store: Store) -> Results:
    sweep = read_sweep_file(
        sweep_file(tmp_path, search__space={"method": METHODS}, seeds=[0, 1, 2, 3])
    )
    return results_of(sweep, store, ["none", *METHODS])


def test_accuracy_is_over_seeds_with_an_interval_around(results: Results) -> None:
    for label, rows in results.by_label.items():
        for split in ("val", "test"):
            found = results.accuracy(label, split)
            assert found is not None
            mean = np.mean([row.metrics[f"{split}/acc1"] for row in rows])
            assert found.mean == pytest.approx(mean)
            assert found.low < found.mean < found.high
    one = results.of_trial(results.rows[0], "test")
    assert one is not None
    assert one.mean == pytest.approx(results.rows[0].metrics["test/acc1"])
    assert one.low < one.mean < one.high
    assert results.accuracy("infonce", "train") is None


def test_one_seed_and_one_group_have_no_interval(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path))
    trial = Trial(sweep.trial, 0, "w", "f")
    answer(store, trial, 0.7, groups=1)
    results = Results(sweep, [TrialRow(trial, "comodo", "finished", {"val/acc1": 0.7})], store)
    found = results.accuracy("comodo", "test")
    assert found is not None
    assert math.isnan(found.low)
    assert 0.5 < found.mean < 0.9
    assert results.differences == []


def test_accuracy_among_as_many_classes_as_there_are_is_left_out(results: Results) -> None:
    """Of answers of an earlier version: ranks show that there were five classes."""
    row = results.rows[0]
    assert row.metrics["test/acc5"] == 1
    assert results.metrics_of(row) == {k: v for k, v in row.metrics.items() if "acc5" not in k}
    for k, left in ((1, True), (3, True), (5, False)):
        assert (results.accuracy("infonce", "test", k) is not None) == left
        assert (results.measure("infonce", f"test/acc{k}") is not None) == left


@pytest.mark.parametrize(("seeds", "groups"), [(1, 8), (3, 1), (1, 1)])
def test_one_seed_or_one_group_tells_nothing_apart(
    tmp_path: Path, store: Store, seeds: int, groups: int
) -> None:
    """Ninety against fifty percent of the same windows."""
    space = {"method": ["none", "comodo"]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, seeds=list(range(seeds))))
    names, rows = Labels(sweep), []
    for config, accuracy in zip(map(sweep.with_values, sweep.grid()), (0.5, 0.9), strict=True):
        for seed in range(seeds):
            trial = Trial(config, seed, "w", "f")
            answer(store, trial, accuracy, groups=groups)
            result = read_result(trial, store)
            assert result is not None
            label = names.configuration(trial)
            rows.append(TrialRow(trial, label, "finished", result.metrics, trained=result.trained))
    found = Results(sweep, rows, store)
    (difference,) = found.differences
    assert difference.comparison.difference > 0.2
    assert difference.p is None and not difference.distinguishable
    assert ("seed" in difference.lacks, "group" in difference.lacks) == (seeds == 1, groups == 1)
    assert found.test_groups == {"demo": groups}


def test_large_differences_are_told_apart_and_small_ones_are_not(results: Results) -> None:
    assert results.selected in ("comodo queue_size=8", "comodo queue_size=16", "infonce")
    found = {(d.first, d.second): d for d in results.differences}
    best = results.selected
    assert len(found) == 3 + 2  # each against untrained, and the best against the two others
    for (first, second), difference in found.items():
        assert difference.seeds == 4
        assert difference.p is not None and difference.comparison.p is not None
        assert difference.p >= difference.comparison.p
        assert (difference.groups, difference.lacks) == (8, "")
        assert difference.distinguishable == (second == "untrained"), (first, second, difference)
    assert (best, "untrained") in found


def folded_results(
    tmp_path: Path,
    store: Store,
    left_out: Sequence[int] = (),
    methods: Sequence[Any] = ("none", "infonce"),
    **changes: Any,
) -> Results:
    """Methods with three seeds on eight people, each tested in a fold, without the trials that have
    these places."""
    space = {"method": list(methods)}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, seeds=[0, 1, 2], **changes))
    folds = make_folds({f"g{i}": {"a": 9, "b": 9} for i in range(8)}, FoldSplit(folds="all"))
    names, rows = Labels(sweep), list[TrialRow]()
    for config in map(sweep.with_values, sweep.grid()):
        for trial in trials_of(config, [0, 1, 2], ("w", "f"), Evaluation(folds={"demo": folds})):
            label = names.configuration(trial)
            if len(rows) in left_out:
                rows.append(TrialRow(trial, label, "not begun", {}))
                continue
            answer(store, trial, ACCURACY[config.method.name])
            result = read_result(trial, store)
            assert result is not None
            rows.append(TrialRow(trial, label, "finished", result.metrics, trained=result.trained))
    return Results(sweep, rows, store)


def test_folds_are_pooled_into_intervals_over_all_people(tmp_path: Path, store: Store) -> None:
    """As eight people in one test split, of whom each trial knows one."""
    results = folded_results(tmp_path, store)
    assert results.selected == "infonce" and results.test_groups == {"demo": 8}
    for label, rows in results.by_label.items():
        assert len(rows) == 24
        found = results.accuracy(label, "test")
        assert found is not None and found.low < found.mean < found.high
        assert found.mean == pytest.approx(np.mean([row.metrics["test/acc1"] for row in rows]))
        assert results.measure(label, "test/acc1") == found
        objective = results.objectives(label)
        assert objective == pytest.approx((np.mean([row.metrics["val/acc1"] for row in rows]),))
        alone = results.of_trial(rows[0], "test")
        assert alone is not None and math.isnan(alone.low)  # one person
        assert len(results.test_predictions(label)) == 3 * 8 * 40
        by_group = results.accuracy_by(label, "group")
        assert by_group.group.tolist() == [f"g{i}" for i in range(8)]
        assert (by_group.windows == 40).all() and by_group.low.notna().all()
    (difference,) = results.differences
    assert (difference.seeds, difference.groups, difference.lacks) == (3, 8, "")
    assert difference.distinguishable
    assert [len(of_each) for of_each in results.points()] == [2, 2]


def test_a_seed_counts_when_all_its_folds_are_finished(tmp_path: Path, store: Store) -> None:
    """Of the last configuration the last fold of seed 1 and all of seed 2 are missing."""
    whole = folded_results(tmp_path, store)
    results = folded_results(tmp_path, store, left_out=[24 + 15, *range(24 + 16, 48)])
    assert {row.trial.seed for row in results.by_label["infonce"]} == {0}
    assert results.selected == "untrained"  # the other lacks seeds
    assert results.accuracy("untrained", "test") == whole.accuracy("untrained", "test")
    one = results.accuracy("infonce", "test")
    rows = [row for row in whole.by_label["infonce"] if row.trial.seed == 0]
    assert one is not None
    assert one.mean == pytest.approx(np.mean([row.metrics["test/acc1"] for row in rows]))
    (difference,) = results.differences
    assert (difference.seeds, difference.groups, difference.p) == (1, 8, None)
    nothing = folded_results(tmp_path, store, left_out=[24, 32, 40])
    assert list(nothing.by_label) == ["untrained"] and nothing.differences == []


def test_no_two_configurations_are_compared_twice(results: Results, store: Store) -> None:
    """Also where the untrained student is selected, with which each is compared anyway."""
    rows = [
        replace(row, metrics={"val/acc1": float(row.label == "untrained")}) for row in results.rows
    ]
    honest = Results(results.sweep, rows, store)
    assert honest.selected == "untrained"
    pairs = [(d.first, d.second) for d in honest.differences]
    assert pairs == [(label, "untrained") for label in honest.by_label if label != "untrained"]
    p_values = [d.comparison.p for d in honest.differences if d.comparison.p is not None]
    assert [d.p for d in honest.differences] == holm(p_values)


def test_only_seeds_of_both_are_paired(results: Results, store: Store) -> None:
    lost = [row for row in results.rows if (row.label, row.trial.seed) != ("infonce", 1)]
    fewer = Results(results.sweep, lost, store)
    seeds = {(d.first, d.second): d.seeds for d in fewer.differences}
    assert seeds["infonce", "untrained"] == 3
    assert seeds["comodo queue_size=8", "untrained"] == 4


def test_a_configuration_without_all_its_seeds_is_not_selected(
    results: Results, store: Store
) -> None:
    best = results.selected
    rows = [row for row in results.rows if (row.label, row.trial.seed) != (best, 0)]
    assert Results(results.sweep, rows, store).selected not in (best, None)


def test_measures_that_keep_hits_have_intervals_of_groups(store: Store, tmp_path: Path) -> None:
    trial = Trial(trial_config(), 0, *make_arrays(store), Evaluation(("probe", "knn", "few-shot")))
    metrics = run_whole(trial, store, lambda metrics: None).metrics
    sweep = read_sweep_file(sweep_file(tmp_path))
    results = Results(sweep, [TrialRow(trial, "comodo", "finished", metrics)], store)
    for name in ("test/knn/acc1", "test/few_shot/1"):
        found = results.measure("comodo", name)
        assert found is not None
        assert found.mean == pytest.approx(metrics[name])
        assert 0 <= found.low < found.high <= 1


@pytest.mark.parametrize("name", ["test/balanced_accuracy", "test/macro_f1"])
def test_balanced_accuracy_and_f1_have_intervals_of_groups(results: Results, name: str) -> None:
    found = results.measure("infonce", name)
    assert found is not None
    assert 0.5 < found.low < found.mean < found.high < 0.9
    score: Any = balanced_accuracy_score if "balanced" in name else f1_score
    options = {} if "balanced" in name else {"average": "macro"}
    answers = results.test_predictions("infonce")  # of four seeds, one after the other
    windows = len(answers) // 4
    seeds = [answers.iloc[i * windows : (i + 1) * windows] for i in range(4)]
    mean = np.mean([score(seed.label, seed.predicted, **options) for seed in seeds])
    assert found.mean == pytest.approx(mean)


def test_accuracy_by_class_and_by_group(results: Results) -> None:
    answers = results.test_predictions("infonce")
    for column, number in (("label", 3), ("group", 8)):
        table = results.accuracy_by("infonce", column)
        assert len(table) == number
        means = (answers["rank"] == 0).groupby(answers[column]).mean()
        assert table.acc1.tolist() == pytest.approx(means.tolist())
        assert (table.low < table.acc1).all() and (table.acc1 < table.high).all()
        assert table.windows.sum() == len(answers) / 4
    one = Results(results.sweep, results.rows[-1:], results._store)
    assert one.accuracy_by("infonce", "group").low.isna().all()  # one seed on one group
    assert one.accuracy_by("infonce", "label").low.notna().all()


def test_other_measures_vary_over_seeds_alone(results: Results, store: Store) -> None:
    values = iter((0.4, 0.5, 0.4, 0.5))
    rows = [
        replace(row, metrics={**row.metrics, "test/alignment/neighbours": next(values)})
        if row.label == "infonce"
        else row
        for row in results.rows
    ]
    other = Results(results.sweep, rows, store)
    found = other.measure("infonce", "test/alignment/neighbours")
    assert found is not None
    assert found.mean == pytest.approx(0.45)
    assert found.high - found.mean == pytest.approx(3.18245 * 0.05 / 3**0.5, rel=1e-4)  # t of 3
    assert other.measure("untrained", "test/alignment/neighbours") is None


def test_numbers_that_are_no_shares_have_intervals_above_1(results: Results, store: Store) -> None:
    name, values = "test/retrieval/imu_to_video_median_rank", iter((30.0, 40.0, 30.0, 40.0))
    rows = [
        replace(row, metrics={**row.metrics, name: next(values)}) if row.label == "infonce" else row
        for row in results.rows
    ]
    found = Results(results.sweep, rows, store).measure("infonce", name)
    assert found is not None
    assert found.mean == pytest.approx(35)
    assert found.high - found.mean == pytest.approx(3.18245 * 5 / 3**0.5, rel=1e-4)  # t of 3


def test_the_pareto_front() -> None:
    scores = {
        "best": (0.9, 100.0),
        "dominated": (0.8, 100.0),
        "smaller": (0.7, 10.0),
        "equal": (0.7, 10.0),
        "worst": (0.6, 200.0),
    }
    assert pareto_front(scores, [1, -1]) == ["best", "smaller", "equal"]
    assert pareto_front(scores, [1, 1]) == ["best", "worst"]
    assert pareto_front({}, [1, -1]) == []


def test_the_pareto_front_is_what_comparing_all_pairs_gives() -> None:
    rng = np.random.default_rng(0)
    for objectives in (1, 2, 3):
        rows = [*rng.integers(0, 6, (60, objectives)).tolist(), [math.nan] * objectives]
        scores = {str(number): tuple(map(float, row)) for number, row in enumerate(rows)}
        front = [
            name
            for name, mine in scores.items()
            if not any(
                row != mine and all(a >= b for a, b in zip(row, mine, strict=True))
                for row in scores.values()
            )
        ]
        assert pareto_front(scores, [1] * objectives) == front
    rounded = {"small": (0.1 + 0.2, 10.0), "large": (0.3 + 1e-16, 20.0), "larger": (0.3, 30.0)}
    assert pareto_front(rounded, [1, -1]) == ["small"]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_outside_the_front_something_on_it_is_better(points: list[tuple[int, int, int]]) -> None:
    scores = {str(i): tuple(map(float, point)) for i, point in enumerate(points)}
    front = pareto_front(scores, [1, 1, 1])
    for name, mine in scores.items():
        better = [f for f in front if scores[f] != mine and np.all(np.array(scores[f]) >= mine)]
        assert (name in front) == (not better)


def test_several_objectives_give_a_front_without_references(tmp_path: Path, store: Store) -> None:
    objective = [{"metric": "val/acc1"}, {"metric": "student/parameters"}]
    file = sweep_file(tmp_path, search__space={"method": METHODS}, objective=objective)
    results = results_of(read_sweep_file(file), store, ["none", *METHODS])
    sizes = {"untrained": 1.0, "comodo queue_size=8": 5.0, "comodo queue_size=16": 9.0}
    rows = [
        replace(row, metrics={**row.metrics, "student/parameters": sizes.get(row.label, 9.0)})
        for row in results.rows
    ]
    front = Results(results.sweep, rows, store).pareto
    best = max(front.values())[0]
    assert "untrained" not in front and "comodo queue_size=8" in front
    assert next(iter(front.values()))[0] == best
    unknown = [replace(row, metrics={"val/acc1": row.metrics["val/acc1"]}) for row in results.rows]
    assert Results(results.sweep, unknown, store).pareto == {}


def test_importances_are_of_what_was_searched(tmp_path: Path, store: Store) -> None:
    space = {"method.queue_size": [8, 16, 32], "learning_rate": [1e-3, 1e-2]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    names, rows = Labels(sweep), []
    for values in [{"method": "none"}, *sweep.grid()]:
        trial = Trial(sweep.with_values(values), 0, "w", "f")
        score = 0.5 + 10 * float(values.get("learning_rate", 0))
        rows.append(TrialRow(trial, names.configuration(trial), "finished", {"val/acc1": score}))
    results = Results(sweep, rows, store)
    found = results.importances()
    assert next(iter(found)) == "learning_rate"
    assert found["learning_rate"].mean > 0.9
    effects = results.main_effects()
    rounded = [(value, [round(s, 6) for s in scores]) for value, scores in effects["learning_rate"]]
    assert rounded == [(1e-3, [0.51] * 3), (1e-2, [0.6] * 3)]
