"""A sweep's description and view in MLflow."""

import json
from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.mlflow_pages import (
    MAX_COMPARED_RUNS,
    MAX_NOTE_LETTERS,
    finished_description,
    saved_view,
    sweep_question,
)
from comodo.search.labels import Labels
from comodo.search.trial import Evaluation, Trial, read_result
from comodo.tracking.runs import SweepRuns
from tests.config.test_load import sweep_file
from tests.helpers import answer

COMMAND = "comodo sweep FILE"


def sweep_of(folder: Path, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(folder, **changes))


def described(sweep: Sweep, trials: list[tuple[dict[str, Any], float]], store: Store) -> str:
    """The description of a sweep whose trials came to these accuracies."""
    names, rows = Labels(sweep), []
    for values, accuracy in trials:
        trial = Trial(sweep.with_values(values), 0, "w", "f")
        answer(store, trial, accuracy, groups=2)
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
    saved = SweepRecord(sweep, COMMAND, {}, Evaluation(), {}, {})
    keys = {row.trial.key: f"{number:032x}" for number, row in enumerate(rows)}
    runs = SweepRuns("sqlite:///x", "7", "p" * 32, keys)
    return finished_description(Results(sweep, rows, store), saved, runs)


def test_the_question_names_keys_values_and_what_decides(tmp_path: Path) -> None:
    space = {"method.queue_size": [8, 16], "learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}}
    sweep = sweep_of(
        tmp_path,
        search={"sampler": "random", "space": space},
        budget={"trials": 4},
        seeds=[0, 5],
    )
    assert sweep_question(sweep) == (
        "val/acc1 (max) by method.queue_size (8, 16), learning_rate (0.0001 to 0.01, log); "
        "trained on demo; seeds 0, 5; protocol corrected."
    )


def test_the_best_come_first_and_pages_are_linked(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, search__space={"method.queue_size": [8, 16]}, seeds=[0])
    trials = [({"method.queue_size": 8}, 0.5), ({"method.queue_size": 16}, 0.8)]
    text = described(sweep, trials, Store(tmp_path / "store"))
    assert f"`{COMMAND}`" in text and "**A demonstration**" in text
    rows = (line for line in text.splitlines() if line.startswith("| ") and "queue_size=" in line)
    found = [line.split(" | ")[0] for line in rows]
    assert found == ["| **comodo queue_size=16** (selected)", "| comodo queue_size=8"]
    assert (
        f"(#/experiments/7/runs?viewStateShareKey=comodo-{'p' * 32}&compareRunsMode=CHART)" in text
    )
    compared = f"%5B%22{1:032x}%22%2C%22{0:032x}%22%5D"
    assert f"[compare all](#/compare-runs?runs={compared}&experiments=%5B%227%22%5D)" in text


def test_a_long_table_is_cut_where_mlflow_would_cut_it(tmp_path: Path) -> None:
    queues = list(range(8, 108))
    sweep = sweep_of(tmp_path, search__space={"method.queue_size": queues}, seeds=[0])
    trials = [({"method.queue_size": queue}, 0.4 + queue / 300) for queue in queues]
    text = described(sweep, trials, Store(tmp_path / "store"))
    assert MAX_NOTE_LETTERS - 300 < len(text) <= MAX_NOTE_LETTERS
    rows = ("| comodo queue_size=", "| **comodo queue_size=")
    shown = sum(line.startswith(rows) for line in text.splitlines())
    assert text.endswith(
        f"{100 - shown} more configurations are in report/report.html among the artifacts."
    )
    assert f"[compare the best {MAX_COMPARED_RUNS} of 100]" in text
    assert text.count("%22%2C%22") == MAX_COMPARED_RUNS - 1


@pytest.mark.parametrize("methods", [1, 2])
def test_the_view_shows_what_was_swept(tmp_path: Path, methods: int) -> None:
    space: dict[str, Any] = {"method.queue_size": [8, 16], "learning_rate": [1e-3, 1e-2]}
    if methods == 2:
        space = {"method": [{"name": "infonce"}, "comodo"], "learning_rate": [1e-3, 1e-2]}
    sweep = sweep_of(tmp_path, search__space=space)
    tag = saved_view(sweep, created=1.5, parent="p")
    assert len(tag) < 20_000  # MLflow's limit for a tag of an experiment
    envelope = json.loads(tag)
    assert envelope["createdAt"] == 1500
    view = json.loads(envelope["state"])
    axes = ["method.name"] if methods == 2 else ["method.queue_size"]
    axes.append("learning_rate")
    columns = [f"params.`{key}`" for key in axes]
    assert set(columns) <= set(view["selectedColumns"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/acc1`", False)
    charts = view["compareRunCharts"]
    assert charts[0]["type"] == "PARALLEL" and charts[0]["selectedParams"] == axes
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts} == sections


def test_a_saved_view_shows_accuracies_where_there_are_labels(tmp_path: Path) -> None:
    datasets = {"demo": {"kind": "simulated"}, "watch": {"kind": "simulated", "seed": 1}}
    changes = {"datasets": datasets, "evaluate_on": ["watch"]}
    sweep = sweep_of(tmp_path, **changes, objective={"metric": "on/watch/val/acc1"})

    def bars(unlabelled: frozenset[str]) -> list[str]:
        envelope = json.loads(saved_view(sweep, 1.5, "p", unlabelled))
        charts = json.loads(envelope["state"])["compareRunCharts"]
        return [chart["metricKey"] for chart in charts if chart["type"] == "BAR"]

    there = ["on/watch/val/acc1", "on/watch/test/acc1"]
    assert bars(frozenset({"demo"})) == there
    assert bars(frozenset()) == [*there, "val/acc1", "test/acc1"]
