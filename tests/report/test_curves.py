"""The curves of a report: what they draw, and when there is nothing to draw."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comodo.config import read_sweep_file
from comodo.config.metric import PARAMETERS
from comodo.core.store import Store
from comodo.evaluation.results import Results
from comodo.report import curves
from comodo.report.style import spread_out
from tests.config.test_load import sweep_file
from tests.evaluation.test_results import results_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def queues(tmp_path: Path, store: Store, sizes: list[int]) -> Results:
    methods: list[Any] = [{"name": "comodo", "queue_size": size} for size in sizes]
    file = sweep_file(tmp_path, search__space={"method": methods}, seeds=[0, 1, 2, 3])
    return results_of(read_sweep_file(file), store, ["none", *methods])


def names_of(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_learning_is_the_mean_over_seeds(tmp_path: Path, store: Store) -> None:
    results = queues(tmp_path, store, [8, 16])
    figure = curves.draw_learning(results)
    assert figure is not None
    loss, quick = figure.axes
    assert [np.asarray(line.get_ydata()).tolist() for line in loss.lines] == [[1, 0.5]] * 2
    assert np.asarray(quick.lines[0].get_ydata()) == pytest.approx([100 / 9, 200 / 9])
    assert names_of(figure) == ["comodo queue_size=8", "comodo queue_size=16"]
    looks = {(line.get_marker(), line.get_linestyle()) for line in loss.lines}
    assert len(looks) == 2  # distinguishable without colour
    untrained = [row for row in results.rows if row.label == "untrained"]
    assert curves.draw_learning(Results(results.sweep, untrained, store)) is None


def test_of_many_the_best_and_the_worst_learn(tmp_path: Path, store: Store) -> None:
    sizes = list(range(8, 18))
    results = queues(tmp_path, store, sizes)
    rows = [
        replace(row, metrics={**row.metrics, "val/acc1": row.trial.config.method.queue_size / 100})
        if row.trial.config.method.name == "comodo"
        else row
        for row in results.rows
    ]
    figure = curves.draw_learning(Results(results.sweep, rows, store))
    assert figure is not None
    assert names_of(figure) == [f"comodo queue_size={n}" for n in (17, 16, 15, 14, 11, 10, 9, 8)]
    of_two = curves.draw_learning(queues(tmp_path, Store(tmp_path / "other"), [8, 16]))
    assert of_two is not None
    assert figure.get_figheight() > of_two.get_figheight()  # a legend of three lines


def test_accuracy_by_queue_is_on_a_log_axis(tmp_path: Path, store: Store) -> None:
    results = queues(tmp_path, store, [8, 16])
    figures = curves.draw_by_numbers(results)
    assert figures.keys() == {"method.queue_size"}
    (axes,) = figures["method.queue_size"].axes
    assert axes.get_xscale() == "log"
    assert names_of(figures["method.queue_size"]) == ["untrained", "comodo"]
    assert axes.get_xlabel() == "queue size" and axes.get_ylabel() == "test Acc@1 (%)"
    low, high = axes.get_ylim()
    assert high - low >= curves.MIN_AXIS_POINTS


def test_curves_that_nobody_could_tell_apart_are_dots(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = queues(tmp_path, store, [8, 16])
    monkeypatch.setattr(curves, "MAX_CURVES", 0)
    figure = curves.draw_by_numbers(results)["method.queue_size"]
    assert names_of(figure) == ["untrained", "configurations"]


def test_the_front_of_accuracy_and_size(tmp_path: Path, store: Store) -> None:
    results = queues(tmp_path, store, [8, 16])
    assert curves.draw_pareto(results) is None  # all of one size
    rows = [
        replace(row, metrics={**row.metrics, PARAMETERS: 5.0 if "=8" in row.label else 9.0})
        for row in results.rows
    ]
    figure = curves.draw_pareto(Results(results.sweep, rows, store))
    assert figure is not None
    assert figure.axes[0].get_xlabel() == "parameters of the student"
    assert figure.axes[0].get_ylabel() == "validation Acc@1 (%)"
    assert names_of(figure) == ["on the front", "others", "references"]


def test_dots_of_several_curves_do_not_overlap() -> None:
    assert spread_out([100.0], 1, 3) == [100.0]
    assert spread_out([100.0], 0, 3) < [100.0] < spread_out([100.0], 2, 3)
    assert spread_out([0.0, 10.0], 0, 2) == pytest.approx([-0.05, 9.95])
