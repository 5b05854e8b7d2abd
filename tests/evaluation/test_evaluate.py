"""Measures of a frozen student; those of whole trials are in tests/runtime/test_worker.py."""

from pathlib import Path

import numpy as np
import pytest

from comodo.core.store import Store
from comodo.data.arrays import NO_LABEL, FeatureArrays, WindowArrays
from comodo.evaluation.evaluate import measure_alignment, measure_few_shot, measure_probe
from comodo.evaluation.frozen_student import FrozenStudent, TeacherContext
from comodo.models.students import build_student
from tests.helpers import make_arrays, trial_config


def subject_of(folder: Path, windows: int, classes: int = 3) -> FrozenStudent:
    """A student with random weights, and so many training windows."""
    store = Store(folder)
    keys = make_arrays(store, windows, classes)
    arrays, features = (store.folder("arrays", key) for key in keys)
    student = build_student(trial_config().student)
    teacher = TeacherContext(FeatureArrays.load(features), None)
    return FrozenStudent(student, WindowArrays.load(arrays), 0, teacher=teacher)


@pytest.mark.parametrize(("classes", "measured_k"), [(3, [1]), (4, [1, 3]), (6, [1, 3, 5])])
def test_metrics_of_the_probe_are_those_of_its_rows(
    tmp_path: Path, classes: int, measured_k: list[int]
) -> None:
    measured = measure_probe(subject_of(tmp_path, 40, classes))
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    assert rows.groupby("split").size().to_dict() == {"test": 20, "val": 20}
    for split, part in rows.groupby("split"):
        names = [f"{split}/acc{k}" for k in measured_k]  # of three classes all are the best three
        assert [name for name in measured.metrics if name.startswith(f"{split}/acc")] == names
        for k in measured_k:
            assert measured.metrics[f"{split}/acc{k}"] == (part["rank"] < k).mean()
        # The most probable class is what is predicted.
        assert ((part["rank"] == 0) == (part.label == part.predicted)).all()
        recalls = (part.label == part.predicted).groupby(part.label).mean()
        assert measured.metrics[f"{split}/balanced_accuracy"] == pytest.approx(recalls.mean())


def test_draws_of_a_few_shots_are_averaged_for_each_window(tmp_path: Path) -> None:
    measured = measure_few_shot(subject_of(tmp_path, 40))
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    assert set(rows.split) == {"test"}
    for name in ("few_shot/1", "few_shot/5"):
        assert measured.metrics[f"test/{name}"] == pytest.approx(rows[name].mean())
        assert measured.metrics[f"test/{name}_std"] >= 0
    assert len(np.unique(rows["few_shot/1"])) > 2  # more than right and wrong


def test_alignment_needs_enough_windows(tmp_path: Path) -> None:
    names = {
        f"{split}/alignment/{key}" for split in ("val", "test") for key in ("cka", "neighbours")
    }
    enough = measure_alignment(subject_of(tmp_path / "24", 24)).metrics  # 12 in each split
    assert enough.keys() == names
    assert all(0 <= value <= 1 for value in enough.values())
    assert measure_alignment(subject_of(tmp_path / "22", 22)).metrics == {}


def test_alignment_needs_no_labels(tmp_path: Path) -> None:
    frozen = subject_of(tmp_path, 24)
    labelled = measure_alignment(frozen).metrics
    for split in ("val", "test"):
        frozen.windows.splits[split].label_N.fill_(NO_LABEL)
    frozen = FrozenStudent(frozen.student, frozen.windows, 0, teacher=frozen.teacher)
    assert frozen.scored() == {}
    assert measure_alignment(frozen).metrics == pytest.approx(labelled)
