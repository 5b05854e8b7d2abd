"""What a report says first about students and hand-crafted features."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import read_sweep_file
from comodo.core.console import console
from comodo.core.store import Store, read_json, write_json
from comodo.evaluation.results import Results, TrialRow
from comodo.report.answer import answer_sentences
from comodo.report.hand_crafted import not_beaten
from comodo.report.report import accuracy_on_terminal
from comodo.search.labels import Labels
from comodo.search.trial import Trial, read_result
from tests.config.test_load import sweep_file
from tests.helpers import answer, write_report

CHANNELS = [["acc_x", "acc_y"], ["acc_x"]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def results_of(
    tmp_path: Path,
    store: Store,
    students: list[float],
    features: list[float],
    seeds: int = 4,
    chosen: str = "C",
    **changes: Any,
) -> Results:
    """Students and features of one or two sets of channels, with these accuracies."""
    space = {"student.channels": CHANNELS[: len(students)]}
    changes = {"search__space": space, "seeds": list(range(seeds)), **changes}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes))
    names, rows = Labels(sweep), []
    for values, own, of_features in zip(sweep.grid(), students, features, strict=True):
        for seed in range(seeds):
            trial = Trial(sweep.with_values(values), seed, "w", "f")
            for found, accuracy in ((trial, own), (trial.hand_crafted, of_features)):
                answer(store, found, accuracy)
                if found.is_hand_crafted:
                    ((*_, place),) = found.measures()
                    path = store.folder("trials", found.key) / f"{place}.json"
                    write_json(path, read_json(path) | {f"probe/{chosen}": 1.0})
                result = read_result(found, store)
                assert result is not None
                label = names.configuration(found)
                metrics, trained = result.metrics, result.trained
                rows.append(TrialRow(found, label, "finished", metrics, trained=trained))
    return Results(sweep, rows, store)


def test_a_student_that_is_better_needs_no_such_sentence(tmp_path: Path, store: Store) -> None:
    results = results_of(tmp_path, store, [0.8], [0.6])
    assert results.differences[0].distinguishable
    assert not_beaten(results) == []
    (sentence,) = answer_sentences(results)
    assert "points over hand-crafted features with logistic regression (p " in sentence


def test_that_none_is_better_is_the_first_sentence(tmp_path: Path, store: Store) -> None:
    results = results_of(tmp_path, store, [0.6], [0.8], chosen="trees")
    (sentence,) = not_beaten(results)
    start = "No student beats hand-crafted features with a random forest ("
    assert sentence.startswith(start)
    page = (write_report(results, store) / "report.md").read_text().splitlines()
    assert page[0] == "# small" and page[2].startswith(f"**{start}")
    assert "points below hand-crafted features (p " in page[2]
    with console.capture() as shown:
        console.print(accuracy_on_terminal(results))
    assert start in " ".join(shown.get().split())


def test_what_chance_may_have_made_is_no_win(tmp_path: Path, store: Store) -> None:
    (sentence,) = not_beaten(results_of(tmp_path, store, [0.72], [0.7]))
    assert sentence.startswith("No student clearly beats hand-crafted features")
    (sentence,) = not_beaten(results_of(tmp_path, store, [0.9], [0.5], seeds=1))
    assert sentence.startswith("With one seed no student is known to beat hand-crafted features")


def test_each_student_against_the_features_of_its_channels(tmp_path: Path, store: Store) -> None:
    """The second would beat the features of the first student's channels."""
    results = results_of(tmp_path, store, [0.9, 0.7], [0.95, 0.8])
    (sentence,) = not_beaten(results)
    assert sentence.startswith("No student beats hand-crafted features acc_xy with")
    pairs = {(d.first, d.second) for d in results.differences}
    assert ("comodo acc_x", "hand-crafted features acc_x") in pairs
    other = results_of(tmp_path, Store(tmp_path / "other"), [0.9, 0.7], [0.95, 0.5])
    (sentence,) = not_beaten(other)
    assert "does not beat hand-crafted features acc_xy" in sentence
    assert sentence.startswith("The student selected by val/acc1 does not beat")
    assert sentence.endswith("1 of 2 students beat the features of their channels")


def test_without_a_selected_student(tmp_path: Path, store: Store) -> None:
    """Such as on data without a val split."""
    lost: dict[str, Any] = {"objective__metric": "val/knn/acc1", "measures": ["probe", "knn"]}
    results = results_of(tmp_path, store, [0.6, 0.5], [0.8, 0.8], **lost)
    assert results.selected is None
    (sentence,) = not_beaten(results)
    assert sentence.startswith("No student beats hand-crafted features acc_xy with")
    assert "or hand-crafted features acc_x with" in sentence
    assert "the differences are -" in sentence


def test_nothing_is_said_without_them(tmp_path: Path, store: Store) -> None:
    results = results_of(tmp_path, store, [0.6], [0.8])
    rows = [row for row in results.rows if not row.trial.is_hand_crafted]
    assert not_beaten(Results(results.sweep, rows, store)) == []
