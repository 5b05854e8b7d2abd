"""Figures of a search with many configurations, pruned ones and conditional keys."""

from typing import Any

import pytest

from comodo.config import read_sweep_file
from comodo.core.console import console
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report import tables
from comodo.report.report import accuracy_on_terminal
from comodo.report.search_figures import ABSENT, ABSENT_PLACE, axis_of, draw_history, draw_parallel
from comodo.search.labels import Labels
from comodo.search.trial import Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer, write_report

RATES = (0.021246970232956238, 0.0012345678901234567, 0.0056789012345678901)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Of 30 configurations, of which each third was pruned; the best lack the queue."""
    folder = tmp_path_factory.mktemp("search")
    space: dict[str, Any] = {
        "method.name": ["comodo", "infonce"],
        "method.queue_size": {
            "min": 8, "max": 512, "integer": True, "when": {"method.name": "comodo"},
        },
        "learning_rate": {"min": 1e-4, "max": 0.1, "log": True},
    }  # fmt: skip
    search = {"sampler": "tpe", "space": space}
    file = sweep_file(folder, search=search, budget={"trials": 30}, seeds=[0])
    sweep, store = read_sweep_file(file), Store(folder / "store")
    names, rows = Labels(sweep), list[TrialRow]()
    for number in range(30):
        values: dict[str, Any] = {"learning_rate": RATES[number % 3] / (1 + number)}
        values |= {"method.name": "infonce" if number % 2 else "comodo"}
        if number % 2 == 0:
            values["method.queue_size"] = 8 + 10 * number
        trial = Trial(sweep.with_values(values), 0, "w", "f")
        label = names.configuration(trial)
        if number % 3 == 2:
            rows.append(TrialRow(trial, label, "pruned", {}, "worse than others at epoch 3"))
            continue
        answer(store, trial, 0.5 + 0.2 * (number % 2) + number / 300, groups=4)
        result = read_result(trial, store)
        assert result is not None
        rows.append(TrialRow(trial, label, "finished", result.metrics, trained=result.trained))
    return Results(sweep, rows, store)


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    return (write_report(results, results._store) / "report.md").read_text()


def test_history_is_in_the_order_tried(results: Results) -> None:
    figure = draw_history(results)
    assert figure is not None
    dots, best, pruned, selected = figure.axes[0].lines
    assert [round(x) for x in dots.get_xdata()] == [n + 1 for n in range(30) if n % 3 != 2]  # type: ignore
    assert [round(x) for x in pruned.get_xdata()] == list(range(3, 31, 3))  # type: ignore
    heights = list(best.get_ydata())  # type: ignore
    assert heights == sorted(heights) and heights[-1] == pytest.approx(max(dots.get_ydata()))  # type: ignore
    assert list(selected.get_ydata()) == [heights[-1]]  # type: ignore


def test_no_configuration_lacks_a_line_for_want_of_a_key(results: Results) -> None:
    assert results.selected is not None and results.selected.startswith("infonce")
    figure = draw_parallel(results)
    assert figure is not None
    axes = figure.axes[0]
    (others,) = axes.collections
    selected = axes.lines[0]
    lines = [*others.get_segments(), selected.get_xydata()]  # type: ignore
    assert len(lines) == len(results.by_label) == 20
    assert all(len(line) == 4 for line in lines)
    assert sum(ABSENT_PLACE in line[:, 1] for line in lines) == 10
    assert [text.get_text() for text in axes.texts].count(ABSENT) == 1
    assert selected.get_label() == f"selected: {results.title(results.selected)}"


def test_places_on_an_axis() -> None:
    axis = axis_of("key", {"a": 1, "b": 10, "c": 100, "d": ABSENT})
    assert axis.places == pytest.approx({"a": 0, "b": 0.5, "c": 1, "d": ABSENT_PLACE})
    assert [text for _, text in axis.ticks] == ["1", "10", "100", ABSENT]
    assert axis_of("key", {"a": 2, "b": 3, "c": 4}).places == {"a": 0, "b": 0.5, "c": 1}
    assert axis_of("key", {"a": "x", "b": None}).places == {"a": 1, "b": 0}


def test_numbers_have_the_digits_that_distinguish_them(results: Results, page: str) -> None:
    assert results.digits == 2
    assert "0.0212469" not in page and "learning_rate=0.021" in page
    shown = {results.title(label) for label in results.by_label}
    assert len(shown) == len(results.by_label)
    with console.capture() as captured:
        console.print(accuracy_on_terminal(results))
    assert "learning_rate=0.021 " in captured.get() and "0.0212469" not in captured.get()


def test_pruned_trials_are_not_missing(results: Results, page: str) -> None:
    assert "Missing" not in page and "To run them" not in page
    assert "20 of 30 trials finished, 10 were pruned; " in page
    assert "### 10 configurations without a result" in page
    first = page[: page.index("### ")]
    assert "pruned |" not in first and first.count("\n| ") == 2 + 20
    with console.capture() as captured:
        console.print(accuracy_on_terminal(results))
    assert "10 trials pruned" in captured.get()
    assert captured.get().count("learning_rate=") < 30  # pruned ones have no row


def test_the_best_come_first_and_the_selected_one_is_marked(results: Results, page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| configuration | seeds | test/acc1 | test/macro_f1 | val/acc1 |")
    assert rows[2].startswith(f"| **{results.title(results.selected or '')}** (selected) | 1 | ")
    values = [float(row.split(" | ")[-1].split()[0]) for row in rows[2:22]]
    assert values == sorted(values, reverse=True)


def test_the_report_says_that_a_resampling_has_only_some_configurations(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "of the configurations. The shares" in "\n".join(tables.importance_section(results))
    monkeypatch.setattr(tables, "MAX_RESAMPLED", 10)
    said = "\n".join(tables.importance_section(results))
    assert "of the configurations, 10 of the 20 in each. The shares" in said
