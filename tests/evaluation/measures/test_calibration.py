"""Whose calibration is measured, and what is stored of each window; the scores themselves are in
tests/evaluation/test_calibration.py."""

from pathlib import Path

import pytest
import torch
from torch import nn

from comodo.evaluation import calibration
from comodo.evaluation.measures.calibration import METRICS, measure_calibration
from tests.evaluation.measures.frozen import subject_of


@pytest.mark.parametrize("has_classifier", [False, True])
def test_the_scores_are_those_of_the_stored_windows(tmp_path: Path, has_classifier: bool) -> None:
    frozen = subject_of(tmp_path, 40)
    torch.manual_seed(0)
    frozen.head = nn.Linear(frozen.student.dim, 3) if has_classifier else None
    measured = measure_calibration(frozen)
    names = [name for name in METRICS if has_classifier or not name.startswith("classifier_")]
    splits = ("val", "test")
    assert measured.metrics.keys() == {f"{s}/calibration/{name}" for s in splits for name in names}
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for split in splits:
        of_split = rows[rows.split == split]
        assert len(of_split) == 20
        for prefix in ("", "classifier_") if has_classifier else ("",):
            columns = {c: of_split[f"{prefix}{c}"].to_numpy() for c in calibration.COLUMNS}
            for name, value in calibration.scores(columns).items():
                assert measured.metrics[f"{split}/calibration/{prefix}{name}"] == value
