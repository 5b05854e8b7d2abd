"""The first screen of a report: the answer, what it rests on, and the largest caution."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, read_sweep_file
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report.answer import answer_sentences, highest_on_test, rests_on
from comodo.report.report import accuracy_on_terminal
from comodo.search.labels import Labels
from comodo.search.trial import Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer, write_report

SPACE: dict[str, Any] = {
    "method": [{"name": "comodo", "queue_size": 8}, {"name": "comodo", "queue_size": 16}, "infonce"]
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def results_of(sweep: Sweep, store: Store, found: list[float], references: list[float]) -> Results:
    """Trials of a grid with these accuracies, and of the untrained student and hand-crafted
    features."""
    names, rows = Labels(sweep), list[TrialRow]()
    points = [Trial(sweep.with_values(values), 0, "w", "f") for values in sweep.grid()]
    compared = [points[0].untrained, points[0].hand_crafted]
    for trial, accuracy in zip([*compared, *points], [*references, *found], strict=True):
        for seed in sweep.seeds:
            own = replace(trial, seed=seed)
            answer(store, own, accuracy, groups=12)
            result = read_result(own, store)
            assert result is not None
            label = names.configuration(own)
            rows.append(TrialRow(own, label, "finished", result.metrics, trained=result.trained))
    return Results(sweep, rows, store)


def swept(tmp_path: Path, seeds: int = 5, **changes: Any) -> Sweep:
    space = {"search__space": SPACE, "seeds": list(range(seeds)), **changes}
    return read_sweep_file(sweep_file(tmp_path, **space))


def test_the_answer_is_one_sentence(tmp_path: Path, store: Store) -> None:
    results = results_of(swept(tmp_path), store, [0.79, 0.78, 0.8], [0.6, 0.65])
    (sentence,) = answer_sentences(results)
    title = re.escape(results.title(results.selected or ""))
    accuracy, p = r"\d\d\.\d % \(\d\d\.\d to \d\d\.\d\)", r"\(p (< )?0\.\d+\)"
    assert re.fullmatch(
        rf"{title} reaches {accuracy}: \d\d\.\d points over the untrained student {p}, "
        rf"\d\d\.\d points over hand-crafted features {p}; not distinguishable from .+ or .+",
        sentence,
    )
    difference = next(d for d in results.differences if d.second == "untrained"
                      and d.first == results.selected)  # fmt: skip
    assert f": {100 * difference.comparison.difference:.1f} points over the untrained" in sentence
    page = (write_report(results, store) / "report.md").read_text().splitlines()
    assert page[2] == f"**{sentence}.**"
    picture = next(i for i, line in enumerate(page) if line.startswith("!["))
    assert page[picture].endswith("(differences.png)")
    assert picture < page.index("## Accuracy")


def test_names_that_differ_in_one_value_are_short(tmp_path: Path, store: Store) -> None:
    results = results_of(swept(tmp_path), store, [0.7, 0.7, 0.9], [0.5, 0.5])
    assert results.selected == "infonce"
    (sentence,) = answer_sentences(results)
    assert sentence.endswith("; better than comodo queue_size=8 or 16")


def test_what_it_rests_on(tmp_path: Path, store: Store) -> None:
    results = results_of(swept(tmp_path), store, [0.7, 0.7, 0.9], [0.5, 0.5])
    (sentence,) = rests_on(results, {})
    groups = "12 groups (people, captures or days)"
    assert sentence.startswith(f"Test Acc@1 of {groups}, 480 windows and 5 seeds; ")
    assert sentence.endswith(f"; p is corrected for {len(results.differences)} comparisons")


def test_one_seed_claims_nothing_and_is_the_first_caution(tmp_path: Path, store: Store) -> None:
    results = results_of(swept(tmp_path, 1), store, [0.7, 0.7, 0.9], [0.5, 0.5])
    first, sentence = answer_sentences(results)
    assert first.startswith("With one seed no student is known to beat hand-crafted features")
    assert sentence.endswith("; with one seed nothing follows about the 2 other configurations")
    assert "(p " not in sentence
    page = (write_report(results, store) / "report.md").read_text()
    assert page.index("one seed: nothing is said") < page.index("(differences.png)")


def test_leakage_is_the_caution_above_all_others(tmp_path: Path, store: Store) -> None:
    one = results_of(swept(tmp_path, 1), store, [0.7, 0.7, 0.9], [0.5, 0.5])
    leaking = Results(one.sweep, one.rows, store, {"demo": {"test": "1 of 4"}})
    page = (write_report(leaking, store) / "report.md").read_text()
    forest = page.index("(differences.png)")
    assert page.index("**demo: leakage") < forest < page.index("**one seed: ")


def test_who_is_highest_on_test_is_said(tmp_path: Path, store: Store) -> None:
    results = results_of(swept(tmp_path), store, [0.9, 0.7, 0.7], [0.5, 0.5])
    assert highest_on_test(results) == ""
    rows = [
        replace(row, metrics={**row.metrics, "val/acc1": 0.99 if row.label == "infonce" else 0.1})
        for row in results.rows
    ]
    other = Results(results.sweep, rows, store)
    found = other.accuracy("comodo queue_size=8", "test")
    assert found is not None and other.selected == "infonce"
    name = f"comodo queue_size=8 is highest on test ({100 * found.mean:.1f} %)"
    assert highest_on_test(other).startswith(name)
    (*_, sentence) = answer_sentences(other)
    assert "; worse than comodo queue_size=8" in sentence.replace("; not distinguishable", "")


def test_an_untrained_student_that_is_selected_is_compared_with_the_others(
    tmp_path: Path, store: Store
) -> None:
    results = results_of(swept(tmp_path), store, [0.6, 0.6, 0.6], [0.8, 0.5])
    assert results.selected == "untrained"
    sentence = answer_sentences(results)[-1]
    assert sentence.startswith("untrained reaches ")
    assert sentence.endswith("better than comodo queue_size=8, comodo queue_size=16 or infonce")


def test_without_a_probe_the_terminal_shows_the_objective(tmp_path: Path) -> None:
    metric = "val/alignment/cka"
    changes = {"measures": ["alignment"], "objective": {"metric": metric}, "seeds": [0]}
    sweep, store = read_sweep_file(sweep_file(tmp_path, **changes)), Store(tmp_path / "store")
    names, trial = Labels(sweep), Trial(sweep.trial, 0, "w", "f")
    label = names.configuration(trial)
    row = TrialRow(trial, label, "finished", {metric: 0.4})
    table = accuracy_on_terminal(Results(sweep, [row], store))
    assert [column.header for column in table.columns[2:3]] == [metric]
    assert list(table.columns[2].cells) == ["40.0"]
