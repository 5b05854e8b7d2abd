"""Selection within each fold, against a plain choice from a table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comodo.core.store import Store
from comodo.evaluation.nested import chosen_in_each_fold
from comodo.evaluation.results import Results
from comodo.report.selection import selection_over_folds
from tests.evaluation.test_results import METHODS, folded_results, results_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_each_folds_val_groups_choose_what_is_tested_in_it(tmp_path: Path, store: Store) -> None:
    """Val accuracies are random here, so that folds disagree."""
    found = folded_results(tmp_path, store, methods=["none", *METHODS])
    random = np.random.default_rng(0)
    rows = [replace(row, metrics=row.metrics | {"val/acc1": random.random()}) for row in found.rows]
    chosen = chosen_in_each_fold(Results(found.sweep, rows, store))
    assert chosen is not None
    interval, counts = chosen
    tested, expected = [], dict[str, int]()
    for fold in range(1, 9):
        in_fold = [row for row in rows if row.trial.number[1] == fold]
        of_label = {
            label: [row for row in in_fold if row.label == label]
            for label in dict.fromkeys(row.label for row in in_fold)
        }
        best = max(of_label, key=lambda x: np.mean([r.metrics["val/acc1"] for r in of_label[x]]))
        tested += [row.metrics["test/acc1"] for row in of_label[best]]
        expected[best] = expected.get(best, 0) + 1
    assert interval.mean == pytest.approx(np.mean(tested))
    assert interval.low < interval.mean < interval.high
    assert counts == expected and len(counts) > 1 and sum(counts.values()) == 8
    (paragraph,) = selection_over_folds(Results(found.sweep, rows, store))
    assert f"out of 4 configurations, test Acc@1 is {100 * interval.mean:.1f} (" in paragraph
    assert f"{counts.most_common(1)[0][0]} in {max(counts.values())}" in paragraph


def test_without_folds_or_without_a_choice_there_is_nothing(tmp_path: Path, store: Store) -> None:
    whole = folded_results(tmp_path, store)
    alone = [row for row in whole.rows if row.label == "infonce"]
    assert chosen_in_each_fold(Results(whole.sweep, alone, store)) is None
    in_test = folded_results(tmp_path, store, objective__metric="test/acc1")
    assert in_test.selected is not None and chosen_in_each_fold(in_test) is None
    sweep = whole.sweep.model_copy(update={"seeds": [0, 1, 2, 3]})
    assert chosen_in_each_fold(results_of(sweep, store, ["none", *METHODS])) is None
