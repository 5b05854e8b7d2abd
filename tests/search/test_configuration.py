"""The trials of a configuration: seeds times folds, in stages; and their keys."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.config.dataset_base import FoldSplit
from comodo.data.folds import Folds, make_folds
from comodo.search.configuration import references, stages, trials_each, trials_of
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.helpers import trial_config

FOLDS = make_folds({f"g{i}": {"a": 4, "b": 4} for i in range(4)}, FoldSplit(folds="all"))


def trials(folds: Folds = FOLDS) -> list[Trial]:
    evaluation = Evaluation(folds={"d": folds} if folds else {})
    return trials_of(trial_config(), [3, 4], ("w", "f"), evaluation)


def test_one_for_each_seed_and_fold() -> None:
    assert [t.number for t in trials()] == [(s, f) for s in (3, 4) for f in (1, 2, 3, 4)]
    assert [t.repetition for t in trials()[3:5]] == ["seed 3 fold 4", "seed 4 fold 1"]
    assert [(t.number, t.repetition) for t in trials(())] == [
        ((3, 0), "seed 3"),
        ((4, 0), "seed 4"),
    ]
    assert [t.in_each_seed for t in (trials()[0], trials(())[0])] == [4, 1]


def test_the_groups_of_a_fold_are_in_the_key_and_nothing_else_of_it() -> None:
    """So a fold that another number of folds has too is the same trial."""
    found = trials()
    assert len({t.key for t in found}) == 8
    assert len({t.untrained.key for t in found}) == 8
    other = make_folds({f"g{i}": {"a": 4, "b": 4} for i in range(4)}, FoldSplit(folds=4))
    assert {frozenset(f.test) for f in other} == {frozenset(f.test) for f in FOLDS}
    same = [t for t in trials(other) for mine in found if t.fold and mine.fold
            and t.seed == mine.seed and t.fold.for_key == mine.fold.for_key]  # fmt: skip
    assert {t.key for t in same} <= {t.key for t in found}
    assert trials(())[0].key == Trial(trial_config(), 3, "w", "f").key == "9cbde17b1f8564ba"


def sweep_of(tmp_path: Path, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(tmp_path, seeds=[3, 4], **changes))


@pytest.mark.parametrize(
    ("changes", "folds", "ends"),
    [
        ({}, FOLDS, [8]),
        ({"early_stopping": {"name": "asha"}}, (), [2]),
        ({"early_stopping": {"name": "asha"}}, FOLDS, [1, 8]),
        ({"search__hopeless_below": 0.1}, (), [1, 2]),
        ({"search__hopeless_below": 0.1}, FOLDS, [4, 8]),
        ({"search__hopeless_below": 0.1, "early_stopping": {"name": "asha"}}, FOLDS, [1, 4, 8]),
    ],
)
def test_later_trials_run_only_after_good_ones(
    tmp_path: Path, changes: dict[str, Any], folds: Folds, ends: list[int]
) -> None:
    found = stages(sweep_of(tmp_path, **changes), trials(folds))
    assert [len(stage) for stage in found] == ends
    assert all(stage == trials(folds)[: len(stage)] for stage in found)


def test_the_budget_counts_the_data_set_with_most_folds(tmp_path: Path) -> None:
    both = {"demo": {"kind": "simulated"}, "more": {"kind": "simulated", "seed": 1}}
    sweep = sweep_of(tmp_path, datasets=both, search__space={"dataset": ["demo", "more"]})
    assert trials_each(sweep, {}) == 2
    assert trials_each(sweep, {"demo": 4, "more": 7, "unused": 9}) == 14


def test_references_that_need_labels_are_left_out_without_them(tmp_path: Path) -> None:
    """Also features, where nothing is measured of them."""
    everything = ["none", "features", "supervised"]
    sweep = sweep_of(tmp_path, references=everything)

    def compared(evaluation: Evaluation) -> list[str]:
        found = references(sweep, [Trial(trial_config(), 3, "w", "f", evaluation)])
        return ["features" if t.is_hand_crafted else t.config.method.name for t in found]

    assert compared(Evaluation()) == everything
    assert compared(Evaluation(targets={"watch": "v"}, unlabelled=frozenset({"d"}))) == [
        "none",
        "features",
    ]
    assert compared(Evaluation(("alignment",), unlabelled=frozenset({"d"}))) == ["none"]
