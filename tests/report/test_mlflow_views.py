"""The views of MLflow's pages: columns and charts of what was swept."""

import json
from pathlib import Path
from typing import Any

import pytest

from comodo.core.store import Store
from comodo.report.mlflow_views import absent_values, stand_in, trials_view
from tests.report.test_mlflow_pages import searched, sweep_of


def test_what_stands_for_an_absent_value_is_no_value(tmp_path: Path) -> None:
    results = searched(tmp_path, Store(tmp_path / "store"))
    for values, stands in (
        ([0.0, 0.5], "-0.05"),
        ([-2, -2], "-3"),
        (["a", "b"], "absent"),
        ([True, False], "absent"),
    ):
        assert stand_in(values) == stands
    assert absent_values(results) == {"method.queue_size": "0"}


@pytest.mark.parametrize("methods", [1, 2])
def test_the_view_of_trials_shows_what_was_swept(tmp_path: Path, methods: int) -> None:
    space: dict[str, Any] = {"method.queue_size": [8, 16], "learning_rate": [1e-3, 1e-2]}
    if methods == 2:
        space = {"method": [{"name": "infonce"}, "comodo"], "learning_rate": [1e-3, 1e-2]}
    sweep = sweep_of(tmp_path, search__space=space)
    tag = trials_view(sweep, created=1.5, parent="p")
    assert len(tag) < 20_000  # MLflow's limit for a tag of an experiment
    envelope = json.loads(tag)
    assert envelope["createdAt"] == 1500
    view = json.loads(envelope["state"])
    axes = ["method.name"] if methods == 2 else ["method.queue_size"]
    axes.append("learning_rate")
    columns = [f"params.`{key}`" for key in axes]
    assert set(columns) <= set(view["selectedColumns"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/acc1`", False)
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections


def test_a_saved_view_shows_accuracies_where_there_are_labels(tmp_path: Path) -> None:
    datasets = {"demo": {"kind": "simulated"}, "watch": {"kind": "simulated", "seed": 1}}
    changes = {"datasets": datasets, "evaluate_on": ["watch"]}
    sweep = sweep_of(tmp_path, **changes, objective={"metric": "on/watch/val/acc1"})

    def bars(unlabelled: frozenset[str]) -> list[str]:
        envelope = json.loads(trials_view(sweep, 1.5, "p", unlabelled))
        charts = json.loads(envelope["state"])["compareRunCharts"]
        return [chart["metricKey"] for chart in charts if chart["type"] == "BAR"]

    there = ["on/watch/val/acc1", "on/watch/test/acc1"]
    assert bars(frozenset({"demo"})) == there
    assert bars(frozenset()) == [*there, "val/acc1", "test/acc1"]
