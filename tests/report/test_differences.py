"""Paired differences: from the selected configuration, and as a forest plot."""

from dataclasses import replace
from pathlib import Path

import pytest

from comodo.config import read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results
from comodo.report import differences
from comodo.report.differences import difference_section, draw_differences, from_selected, p_of
from tests.config.test_load import sweep_file
from tests.evaluation.test_results import METHODS, results_of


@pytest.fixture
def results(tmp_path: Path) -> Results:
    space = {"method": METHODS}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space, seeds=[0, 1, 2, 3]))
    return results_of(sweep, Store(tmp_path / "store"), ["none", *METHODS])


def test_each_is_the_selected_one_minus_the_other(results: Results) -> None:
    found = from_selected(results)
    others = [label for label in results.by_label if label != results.selected]
    assert next(iter(found)) == "untrained" and set(found) == set(others)
    own = results.accuracy(results.selected or "", "test")
    for label, difference in found.items():
        other, c = results.accuracy(label, "test"), difference.comparison
        assert own is not None and other is not None
        assert c.difference == pytest.approx(own.mean - other.mean)
        assert c.low < c.difference < c.high
        assert (difference.first, difference.second) == (results.selected, label)


def test_pairs_of_the_other_order_are_turned(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "selected", "untrained", raising=False)
    turned = from_selected(results)["infonce"]
    (given,) = [d for d in results.differences if (d.first, d.second) == ("infonce", "untrained")]
    assert turned.comparison.difference == -given.comparison.difference
    assert (turned.comparison.low, turned.comparison.high) == (
        -given.comparison.high,
        -given.comparison.low,
    )
    assert turned.p == given.p


def test_the_forest_shows_what_is_clear(results: Results) -> None:
    figure = draw_differences(results)
    assert figure is not None
    axes = figure.axes[0]
    dots = [container.lines[0] for container in axes.containers]  # type: ignore
    found = list(from_selected(results).values())
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(
        [100 * d.comparison.difference for d in found]
    )
    filled = [dot.get_markerfacecolor() != "white" for dot in dots]
    assert filled == [d.distinguishable for d in found] and set(filled) == {True, False}
    assert [dot.get_marker() for dot in dots] == ["D", "o", "o"]
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if "\n" not in text][::2] == list(from_selected(results))


def test_of_many_the_best_are_in_the_forest(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "MAX_SHOWN", 1)
    figure = draw_differences(results)
    assert figure is not None and len(figure.axes[0].containers) == 2
    assert "(1 of 2 configurations)" in differences.forest_caption(results)


def test_the_selected_ones_pairs_are_in_front(results: Results) -> None:
    lines = difference_section(results)
    fold = lines.index("### All 5 comparisons")
    front = [line for line in lines[:fold] if " – " in line]
    assert len(front) == 3 and all(f"| {results.selected} – " in line for line in front)
    assert len([line for line in lines[fold:] if " – " in line]) == 5


def test_a_small_p_is_no_zero(results: Results) -> None:
    difference = results.differences[0]
    shown = [p_of(replace(difference, p=p)) for p in (0.0151, 1e-9, None)]
    assert shown == ["p 0.015", "p < 0.001", ""]
