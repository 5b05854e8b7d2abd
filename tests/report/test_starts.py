"""What plan and report say about students that started from trained ones."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import read_sweep_file
from comodo.config.source import Source
from comodo.core.store import Store
from comodo.deploy.sources import sources_in
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import read_sweep_record
from comodo.report.answer import answer_sentences
from comodo.report.head import limits
from comodo.report.plan.plan import make_plan
from comodo.report.plan.starts import plan_notes, start_lines
from comodo.report.starts import card_start, started_from
from comodo.search.trial import Evaluation
from tests.config.test_load import sweep_file
from tests.config.test_source import settings_of
from tests.deploy.test_sources import finish, first_sweep
from tests.evaluation.test_sweep_record import saved_of
from tests.helpers import TINY_MANTIS
from tests.report.plan.test_plan import text
from tests.search.test_earlier_stages import swept, windows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def second_results(folder: Path, store: Store, **changes: Any) -> Results:
    first_sweep(folder, store)
    windows(store, "w", [("anna", "a-1", "train")])
    content = {"trial__student": {"from": "first"}, "name": "second", "seeds": [0, 1]}
    file = sweep_file(folder, **content, trial__method="supervised", **changes)
    saved = saved_of(read_sweep_file(file, sources=sources_in(store)), Evaluation())
    saved.write(store)
    for row in saved.results(store).rows:
        finish(row.trial, store, 0.6 if row.label == "supervised" else 0.4)
    return read_sweep_record("second", store).results(store)


def test_a_report_names_the_source_and_what_untrained_means(tmp_path: Path, store: Store) -> None:
    results = second_results(tmp_path, store)
    assert {row.label for row in results.rows} == {"before this stage", "supervised"}
    (sentence,) = started_from(results)
    assert "sweep first (comodo queue_size=16, the best by val/acc1)" in sentence
    assert "'before this stage' is that student as it came" in sentence
    assert "the student before this stage" in answer_sentences(results)[0]
    (unknown,) = [caution for caution in limits(results) if "student.from" in caution]
    assert "is not known here" in unknown  # the windows of this source are not in the store
    trained = next(row.trial for row in results.rows if row.label == "supervised")
    chain, caution = card_start(trained, results)
    assert chain.startswith("Training started from sweep first") and "not known here" in caution
    plain = first_sweep(tmp_path / "again", store, name="plain").results(store)
    assert started_from(plain) == card_start(plain.rows[0].trial, plain) == []
    assert not plain.stage_notes


def test_labels_tell_what_students_start_from(tmp_path: Path, store: Store) -> None:
    """Also beside a student that starts from nothing."""
    first_sweep(tmp_path, store)
    space = {"student": [TINY_MANTIS, {"from": "first"}]}
    file = sweep_file(tmp_path, name="second", seeds=[0], search__space=space)
    saved = saved_of(read_sweep_file(file, sources=sources_in(store)), Evaluation())
    labels = [row.label for row in saved.results(store).rows]
    assert labels == ["untrained", "comodo", "before this stage from=first", "comodo from=first"]


def test_a_plan_names_the_source(tmp_path: Path, store: Store) -> None:
    first_sweep(tmp_path, store)
    content = {"trial__student": {"from": "first"}, "name": "second", "seeds": [0, 1]}
    file = sweep_file(tmp_path, **content, datasets__demo__window_seconds=4)
    plan = make_plan(read_sweep_file(file, sources=sources_in(store)), store)
    shown = text(plan)
    title = "sweep first (comodo queue_size=16, the best by val/acc1)"
    assert f"starts from {title}: 2 trials, for each seed its own" in shown
    assert f"student.from: {title} was trained on windows of 5.0 s, those of demo have 4.0" in shown
    assert "is not known here" in shown and plan.trials.left == 4


def test_a_plan_says_that_a_name_means_other_trials(tmp_path: Path, store: Store) -> None:
    second_results(tmp_path, store)
    file = tmp_path / "sweep.yaml"
    same = read_sweep_file(file, sources=sources_in(store))
    assert not any("other trials" in note for note in plan_notes(same, {}, store))
    first_sweep(tmp_path / "again", store, trial__epochs=3)
    sweep = read_sweep_file(
        sweep_file(tmp_path, trial__student={"from": "first"}, name="second", seeds=[0, 1]),
        sources=sources_in(store),
    )
    (note,) = [note for note in plan_notes(sweep, {}, store) if "other trials" in note]
    assert note.startswith("student.from: first means other trials than when this sweep was last")


def test_a_plan_says_what_a_folder_does_not_tell(tmp_path: Path, store: Store) -> None:
    folder = Source("folder x", settings_of(TINY_MANTIS), folder="/x", content="c" * 64)
    sweep = swept(tmp_path, folder)
    assert start_lines(sweep) == [f"folder x: weights {'c' * 12}, for all trials"]
    people, rate = plan_notes(sweep, {}, store)
    assert "on whom folder x was trained is not known" in people
    assert "rate and length of the windows that folder x was trained on are not known" in rate
    assert plan_notes(read_sweep_file(sweep_file(tmp_path)), {}, store) == []
