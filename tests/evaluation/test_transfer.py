"""The grid of students by the data set that they were trained on."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.transfer import transfer_grid
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer

ACCURACY = {"none": 0.5, "comodo": 0.7, "supervised": 0.8}


def test_transfer_grid(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "datasets": {name: {"kind": "simulated"} for name in ("demo", "other", "third")},
        "evaluate_on": ["other", "third"],
        "measures": ["probe", "direct"],
        "search__space": {"dataset": ["demo", "other"]},
    }
    sweep, store = read_sweep_file(sweep_file(tmp_path, **changes)), Store(tmp_path / "store")
    assert sweep.references == ["none", "supervised"]
    evaluation = Evaluation(("probe", "direct"), {"other": "v", "third": "u"}, frozenset({"third"}))
    names, rows = Labels(sweep), []
    for dataset, windows in (("demo", "w"), ("other", "v")):
        for method in ("none", "supervised", "comodo"):
            config = sweep.with_values({"dataset": dataset, "method": method})
            trial = Trial(config, 0, windows, "f", evaluation)
            for name in trial.measured_on():
                answer(store, trial, ACCURACY[method], name)
            result = read_result(trial, store)
            assert result is not None
            rows.append(
                TrialRow(
                    trial,
                    names.configuration(trial),
                    "finished",
                    result.metrics,
                    trained=result.trained,
                )
            )
    results = Results(sweep, rows, store)
    assert results.tested_on == ["demo", "other", "third"]
    grid = {(row.trained_on, row.label): row.cells for row in transfer_grid(results)}
    assert list(grid) == [
        ("–", "untrained"),
        ("demo", "supervised"),
        ("demo", "comodo"),
        ("other", "supervised"),
        ("other", "comodo"),
    ]
    assert grid["–", "untrained"].keys() == {"demo", "other", "third"}
    assert grid["–", "untrained"]["demo"] is not None  # of the student next to demo
    assert grid["–", "untrained"]["other"] is not None
    assert grid["demo", "comodo"]["third"] is None  # it has no labels for a probe
    assert grid["other", "comodo"]["demo"] is None  # which is not in evaluate_on
    cell = grid["demo", "supervised"]["other"]
    assert cell is not None
    assert cell.mean == pytest.approx(0.8, abs=0.1)
    direct = {(row.trained_on, row.label): row.cells for row in transfer_grid(results, "direct")}
    assert ("demo", "untrained") in direct and ("other", "untrained") in direct
    assert direct["demo", "comodo"]["demo"] is None
    assert direct["demo", "comodo"]["third"] is not None
