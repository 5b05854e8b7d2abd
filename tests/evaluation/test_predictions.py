"""Hits and intervals from the answers of trials, counted by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from comodo.config.metric import Metric
from comodo.core.parts import write_table
from comodo.core.store import Store
from comodo.data.folds import Fold
from comodo.evaluation.predictions import Predictions
from comodo.evaluation.stats import accuracy_interval
from comodo.search.trial import Evaluation, Trial
from tests.helpers import trial_config

RANKS = {0: {"a": [0, 0, 1], "b": [0, 4]}, 1: {"a": [0, 2, 9], "b": [0, 0]}}
"""By seed and group the rank of each window's true class, on the test split."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def on(name: str, dataset: str) -> Metric:
    return replace(Metric.parse(name), dataset=dataset)


def trials_of(store: Store, ranks: dict[int, dict[str, list[int]]]) -> list[Trial]:
    trials = []
    for seed, of_group in ranks.items():
        trial = Trial(trial_config(), seed, "w", "f", Evaluation(("probe", "knn")))
        rows = [(group, rank) for group in of_group for rank in of_group[group]]
        columns = {
            "split": ["test"] * len(rows),
            "group": [group for group, _ in rows],
            "label": ["x" if number % 2 else "y" for number in range(len(rows))],
            "predicted": ["x"] * len(rows),
            "rank": [rank for _, rank in rows],
        }
        hits = {key: columns[key] for key in ("split", "group")}
        hits["knn/acc1"] = [float(rank == 0) for _, rank in rows]
        for _, measure, place in trial.measures():
            table = pa.table(columns if measure == "probe" else hits)
            write_table(store.folder("trials", trial.key) / f"{place}.parquet", table)
        trials.append(trial)
    return trials


def test_hits_are_counted_by_seed_and_group(store: Store) -> None:
    trials, found = trials_of(store, RANKS), Predictions(store)
    for k, wanted in ((1, [[2, 1], [1, 2]]), (3, [[3, 1], [2, 2]]), (5, [[3, 2], [2, 2]])):
        table = found.hits(trials, "test", k, "d")
        assert table is not None
        hits_SG, count_G = table
        assert (hits_SG.tolist(), count_G.tolist()) == (wanted, [3, 2])
        assert found.interval(trials, on(f"test/acc{k}", "d")) == accuracy_interval(
            hits_SG, count_G
        )
    assert found.interval(trials, on("test/knn/acc1", "d")) == accuracy_interval(
        [[2, 1], [1, 2]], [3, 2]
    )


def test_what_a_configuration_has_is_not_counted_again_for_its_trials(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, found = trials_of(store, RANKS), Predictions(store)
    whole = found.hits(trials, "test", 1, "d")
    with monkeypatch.context() as patch:
        patch.setattr(found, "_classes_of", None)  # reads no predictions
        alone = [found.hits([trial], "test", 1, "d") for trial in trials]
    assert whole is not None and [hits[0].tolist() for hits in alone if hits] == [
        [[2, 1]],
        [[1, 2]],
    ]
    fresh = Predictions(store)
    for k in (3, "knn/acc1"):  # each by itself
        measure = "knn" if isinstance(k, str) else "probe"
        for of in (trials, trials[::-1], trials[1:]):
            one, other = (p.hits(of, "test", k, "d", measure) for p in (found, fresh))
            assert one is not None and other is not None
            assert one[0].tolist() == other[0].tolist()
    assert found.hits([], "test", 1, "d") is None


def test_windows_that_only_one_classified_correctly_are_counted(store: Store) -> None:
    first, second = trials_of(store, RANKS)
    found = Predictions(store).only_one_hits([first, second], [second, second], "test", "d")
    assert found is not None
    a_SG, b_SG, count_G = found
    assert (a_SG.tolist(), b_SG.tolist()) == ([[1, 0], [0, 0]], [[0, 1], [0, 0]])
    assert count_G.tolist() == [3, 2]
    absent = Trial(trial_config(), 7, "w", "f")
    assert Predictions(store).only_one_hits([first], [absent], "test", "d") is None
    (other,) = trials_of(store, {5: {"a": [0, 0], "b": [0, 4, 1]}})
    with pytest.raises(ValueError, match="cannot be paired"):
        Predictions(store).only_one_hits([first], [other], "test", "d")


def test_without_answers_there_is_nothing(store: Store) -> None:
    trials, found = trials_of(store, RANKS), Predictions(store)
    for name in ("val/acc1", "test/alignment/cka", "direct/test/acc1", "test/linear/acc1"):
        assert found.interval(trials, on(name, "d")) is None
    assert found.interval(trials, on("test/acc1", "other")) is None
    absent = Trial(trial_config(), 7, "w", "f")
    assert found.interval([*trials, absent], on("test/acc1", "d")) is None
    assert found.interval([], on("test/acc1", "d")) is None


def test_one_seed_and_one_group_have_a_mean_without_bounds(store: Store) -> None:
    trials, found = trials_of(store, {0: {"a": [0, 0, 1, 4]}}), Predictions(store)
    accuracy = found.interval(trials, on("test/acc1", "d"))
    assert accuracy is not None
    assert accuracy.mean == 0.5
    assert math.isnan(accuracy.low) and math.isnan(accuracy.high)
    balanced = found.interval(trials, on("test/balanced_accuracy", "d"))
    assert balanced is not None
    assert balanced.mean == 0.5  # always x, of two classes
    assert math.isnan(balanced.low) and math.isnan(balanced.high)


def test_groups_have_their_own_accuracy_over_all_seeds(store: Store) -> None:
    table = Predictions(store).by(trials_of(store, RANKS), "group", "d")
    assert list(table.columns) == ["group", "acc1", "low", "high", "windows"]
    assert table.group.tolist() == ["a", "b"]
    np.testing.assert_allclose(table.acc1, [3 / 6, 3 / 4])
    assert table.windows.tolist() == [3, 2]
    assert (table.low < table.acc1).all() and (table.acc1 < table.high).all()


FOLDS = (Fold(1, 2, ("b",), ("a",)), Fold(2, 2, ("a",), ("b",)))


def folded(store: Store, **others: str) -> list[Trial]:
    """The trials of `trials_of` cut into two folds, each of which tests one of the groups."""
    trials, evaluation = [], Evaluation(("probe", "knn"), others)
    for whole in trials_of(store, RANKS):
        for fold in FOLDS:
            trial = replace(whole, fold=fold, evaluation=evaluation)
            for dataset, measure, place in trial.measures():
                table = whole.predictions(store, "d", measure)
                assert table is not None
                if dataset == "d":
                    table = table.filter(pc.is_in(table["group"], pa.array(fold.test)))
                write_table(store.folder("trials", trial.key) / f"{place}.parquet", table)
            trials.append(trial)
    return trials


@pytest.mark.parametrize("name", ["test/acc1", "test/acc3", "test/macro_f1", "test/knn/acc1"])
def test_folds_of_a_seed_together_are_one_split(store: Store, name: str) -> None:
    whole, folds, found = trials_of(store, RANKS), folded(store), Predictions(store)
    assert len(folds) == 4
    metric = on(name, "d")
    assert found.interval(folds, metric) == found.interval(whole, metric) is not None
    for first, second in ((0, 1), (1, 0)):
        a, b = ([trials[i] for i in (first, second)] for trials in (whole, whole[::-1]))
        of_a, of_b = ([t for w in x for t in folds if t.seed == w.seed] for x in (a, b))
        in_folds = found.only_one_hits(of_a, of_b, "test", "d")
        expected = found.only_one_hits(a, b, "test", "d")
        assert in_folds is not None and expected is not None
        for mine, wanted in zip(in_folds, expected, strict=True):
            np.testing.assert_array_equal(mine, wanted)
    for column in ("label", "group"):
        assert found.by(folds, column, "d").equals(found.by(whole, column, "d"))


def test_the_students_of_all_folds_are_averaged_on_another_data_set(store: Store) -> None:
    """Not counted as more windows: each of them is predicted by two students."""
    folds = folded(store, other="v")
    whole, found = trials_of(store, RANKS), Predictions(store)
    table, wanted = found.hits(folds, "test", 1, "other"), found.hits(whole, "test", 1, "d")
    assert table is not None and wanted is not None
    for mine, expected in zip(table, wanted, strict=True):
        np.testing.assert_allclose(mine, expected)
    only = found.only_one_hits(folds, folds[::-1], "test", "other")
    assert only is not None
    a_SG, b_SG, count_G = only
    assert (a_SG + b_SG <= count_G).all() and count_G == pytest.approx([3, 2])
    assert found.by(folds, "group", "other").windows.tolist() == [3, 2]
    macro, one = (
        found.interval(trials, on("test/macro_f1", name))
        for trials, name in ((folds, "other"), (whole, "d"))
    )
    assert macro == one is not None


def test_a_fold_without_a_measure_leaves_it_out(store: Store) -> None:
    first, *rest = folded(store)
    place = next(place for _, measure, place in first.measures() if measure == "knn")
    path = store.folder("trials", first.key) / f"{place}.parquet"
    write_table(path, pq.read_table(path).rename_columns({"knn/acc1": "knn/acc3"}))
    assert Predictions(store).interval([first, *rest], on("test/knn/acc1", "d")) is None
    assert Predictions(store).interval(rest[1:], on("test/knn/acc1", "d")) is not None
