"""Alignment of student and teacher: which windows it is of."""

from pathlib import Path

import pytest

from comodo.core.labels import NO_LABEL
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measures.alignment import measure_alignment
from tests.evaluation.measures.frozen import subject_of


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
