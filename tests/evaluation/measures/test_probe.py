"""The probe; its numbers in whole trials are in tests/runtime/test_worker.py."""

from pathlib import Path

import pytest

from comodo.evaluation.measures.probe import measure_probe
from tests.evaluation.measures.frozen import subject_of


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
