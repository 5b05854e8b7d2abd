"""The few-shot curve; its classifiers are in tests/evaluation/test_feature_metrics.py."""

from pathlib import Path

import numpy as np
import pytest

from comodo.evaluation.measures.few_shot import measure_few_shot
from tests.evaluation.measures.frozen import subject_of


def test_draws_of_a_few_shots_are_averaged_for_each_window(tmp_path: Path) -> None:
    measured = measure_few_shot(subject_of(tmp_path, 40))
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    assert set(rows.split) == {"test"}
    for name in ("few_shot/1", "few_shot/5"):
        assert measured.metrics[f"test/{name}"] == pytest.approx(rows[name].mean())
        assert measured.metrics[f"test/{name}_std"] >= 0
    assert len(np.unique(rows["few_shot/1"])) > 2  # more than right and wrong
