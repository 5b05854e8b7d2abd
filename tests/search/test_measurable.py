"""Data sets without labels: what is refused, with what to write instead, and what is said."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.search.measurable import (
    Classes,
    refuse_few_aligned,
    refuse_unmeasurable,
    unfit_sets,
    unlabelled_note,
)
from tests.config.test_load import sweep_file
from tests.errors import raises

LABELLED = {split: {"walk": 9, "run": 9} for split in ("train", "val", "test")}
NO_VAL = {split: LABELLED[split] for split in ("train", "test")}
CLASSES: dict[str, list[Classes]] = {"demo": [{}], "watch": [LABELLED]}
THERE = {"objective": {"metric": "on/watch/val/acc1"}}


def sweep_of(tmp_path: Path, **changes: Any) -> Sweep:
    """A sweep that trains on `demo` and is measured on `watch`, with the default references."""
    datasets = {"demo": {"kind": "simulated"}, "watch": {"kind": "simulated", "seed": 1}}
    path = sweep_file(tmp_path, **{"datasets": datasets, "evaluate_on": ["watch"], **changes})
    if "references" not in changes:
        text = path.read_text()
        path.write_text(text[: text.index("references:")])
    return read_sweep_file(path)


def test_students_of_a_set_without_labels_are_measured_on_another(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, **THERE)
    refuse_unmeasurable(sweep, CLASSES)
    assert unfit_sets(CLASSES) == {"demo"}
    note = unlabelled_note(sweep, "demo")
    assert "measured on watch" in note and "no student is trained with labels" in note


def test_alignment_alone_needs_no_labels(tmp_path: Path) -> None:
    aligned = {"measures": ["alignment"], "objective": {"metric": "test/alignment/cka"}}
    sweep = sweep_of(tmp_path, **aligned, evaluate_on=[])
    refuse_unmeasurable(sweep, {"demo": [{}]})
    assert "only alignment" in unlabelled_note(sweep, "demo")


def test_an_objective_of_alignment_needs_windows(tmp_path: Path) -> None:
    """All was trained, and none selected: splits with fewer are not measured."""
    aligned = {"measures": ["alignment"], "objective": {"metric": "val/alignment/cka"}}
    sweep = sweep_of(tmp_path, **aligned, evaluate_on=[])
    refuse_few_aligned(sweep, {"demo": [{"train": 40, "val": 12}]})
    with raises(ConfigError, "objective.metric", "'demo' has 2 windows in its val split", "12"):
        refuse_few_aligned(sweep, {"demo": [{"train": 40, "val": 12}, {"train": 50, "val": 2}]})
    refuse_few_aligned(sweep_of(tmp_path, **THERE), {"demo": [{"train": 40}]})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["the objective val/acc1 needs", "{metric: on/watch/val/acc1}"]),
        (
            {"objective": {"metric": "val/knn/acc1"}, "measures": ["probe", "knn"]},
            ["{metric: on/watch/val/knn/acc1}"],
        ),
        ({"evaluate_on": []}, ["evaluate_on: [NAME]", "{metric: on/NAME/val/acc1}"]),
        ({**THERE, "trial__method": "supervised"}, ["the method supervised needs"]),
        ({**THERE, "references": ["supervised"]}, ["the reference supervised needs", "leave that"]),
        ({**THERE, "measures": ["probe", "direct"]}, ["the measure direct needs", "leave that"]),
        ({**THERE, "early_stopping": {"name": "asha"}}, ["early_stopping needs", "leave that"]),
        (
            {"objective": {"metric": "student/parameters"}, "evaluate_on": []},
            ["the probe needs", "evaluate_on"],
        ),
    ],
)
def test_what_needs_labels_is_refused(
    tmp_path: Path, changes: dict[str, Any], names: list[str]
) -> None:
    with raises(ConfigError, "datasets.demo", "no labelled training windows", *names):
        refuse_unmeasurable(sweep_of(tmp_path, **changes), CLASSES)


OWN: dict[str, Any] = {"name": "mine", "file": "my_code.py", "class": "Mine"}


def with_own(tmp_path: Path, text: str, **changes: Any) -> Sweep:
    (tmp_path / "my_code.py").write_text(f"class Mine:\n    {text}\n")
    return sweep_of(tmp_path, allow_code=["my_code.py"], **changes)


def test_what_needs_labels_is_declared_by_the_class(tmp_path: Path) -> None:
    """A loss and a measure of the user's own, without which nothing needs labels of `demo`."""
    method: dict[str, Any] = {"trial__method": {"terms": [OWN, "l2"]}, "references": ["none"]}
    for text in ("pass", "NEEDS_LABELS = False"):
        refuse_unmeasurable(with_own(tmp_path, text, **THERE, **method), CLASSES)
    with raises(ConfigError, "datasets.demo", "which the term mine needs"):
        refuse_unmeasurable(with_own(tmp_path, "NEEDS_LABELS = True", **THERE, **method), CLASSES)

    measures: dict[str, Any] = {"measures": ["probe", OWN], "objective": "val/mine/acc3"}
    text = 'METRICS = ("acc3",)'
    with raises(ConfigError, "datasets.demo", "the objective val/mine/acc3 needs"):
        refuse_unmeasurable(with_own(tmp_path, text, **measures), CLASSES)
    sweep = with_own(tmp_path, f"{text}; NEEDS_LABELS = False", **measures)
    refuse_unmeasurable(sweep, CLASSES)  # and acc3 of two classes is what the class says it is
    on_watch = {**measures, "objective": "on/watch/val/mine/acc3"}
    classes: dict[str, list[Classes]] = {"demo": [{}], "watch": [NO_VAL]}
    refuse_unmeasurable(with_own(tmp_path, f"{text}; NEEDS_LABELS = False", **on_watch), classes)
    with raises(ConfigError, "objective.metric", "'watch'"):
        refuse_unmeasurable(with_own(tmp_path, text, **on_watch), classes)


def test_an_objective_that_is_never_known_is_refused(tmp_path: Path) -> None:
    classes: dict[str, list[Classes]] = {"demo": [{}], "watch": [NO_VAL]}
    with raises(ConfigError, "objective.metric", "'watch'", "use on/watch/test/acc1"):
        refuse_unmeasurable(sweep_of(tmp_path, **THERE), classes)
    with raises(ConfigError, "datasets.demo", "{metric: on/watch/test/acc1}"):
        refuse_unmeasurable(sweep_of(tmp_path), classes)
