"""A sweep's description and view in MLflow."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from comodo.config import Sweep, read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.mlflow_pages import (
    MAX_COMPARED_RUNS,
    MAX_NOTE_LETTERS,
    configurations,
    experiment_answer,
    finished_description,
    sweep_question,
)
from comodo.report.mlflow_views import configurations_view
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


def searched(folder: Path, store: Store) -> Results:
    """A search with a key that the winner lacks, of one seed but for the winner's two."""
    space = {
        "method.name": ["comodo", "infonce"],
        "method.queue_size": {"values": [8, 16], "when": {"method.name": "comodo"}},
    }
    sweep = sweep_of(folder, search={"space": space}, seeds=[0, 1])
    points: list[tuple[dict[str, Any], float]] = [
        ({"method.name": "comodo", "method.queue_size": 8}, 0.5),
        ({"method.name": "infonce"}, 0.8),
        ({"method.name": "comodo", "method.queue_size": 16}, 0.6),
    ]
    names, rows = Labels(sweep), []
    for values, accuracy in points:
        own = Trial(sweep.with_values(values), 0, "w", "f")
        for trial in (own, replace(own, seed=1), own.untrained):
            answer(store, trial, accuracy if trial.config.method.name != "none" else 0.3)
            result = read_result(trial, store)
            assert result is not None
            rows.append(TrialRow(trial, names.configuration(trial), "finished", result.metrics))
    return Results(sweep, rows, store)


def test_a_run_for_each_configuration(tmp_path: Path) -> None:
    results = searched(tmp_path, Store(tmp_path / "store"))
    keys = {row.trial.key: f"{number:032x}" for number, row in enumerate(results.rows)}
    runs = SweepRuns("sqlite:///x", "7", "p" * 32, keys)
    found = configurations(results, runs)
    labels = [one.label for one in found]
    assert labels == ["infonce", "comodo queue_size=16", "comodo queue_size=8", "untrained"]
    best, second, _, untrained = found
    interval = results.measure("infonce", "val/acc1")
    assert interval is not None
    shown = f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
    assert best.name == f"★ {100 * best.metrics['val/acc1']:.1f} ({shown}) infonce"
    assert not second.name.startswith("★")
    assert best.tags["val/acc1 interval"] == shown
    assert (best.tags["selected"], second.tags["selected"]) == ("yes", "no")
    assert best.tags["seeds"] == "0, 1"
    metrics = [row.metrics["test/acc1"] for row in results.rows if row.label == "infonce"]
    assert best.metrics["test/acc1"] == sum(metrics) / 2
    assert f"| [seed 1](#/experiments/7/runs/{keys[results.by_label['infonce'][1].trial.key]})" in (
        best.description
    )
    stood_for = [one.params.get("queue_size or 0") for one in found]
    assert stood_for == ["0", "16", "8", None]
    assert "method.queue_size" not in best.params and untrained.params["method.name"] == "none"
    text = experiment_answer(results, runs)
    assert text.startswith("infonce reaches") and f"({runs.runs_page()})" in text
    view = json.loads(json.loads(configurations_view(results, 1.5, "p"))["state"])
    (chart,) = [c for c in view["compareRunCharts"] if c["type"] == "PARALLEL"]
    axes = chart["selectedParams"]
    assert axes == ["method.name", "queue_size or 0"]
    own = [one for one in found if one is not untrained]
    assert all(key in one.params for one in own for key in axes), "MLflow leaves one out"
    assert "tags.`selected`" in view["selectedColumns"]
