"""Table, figures and page of a sweep."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from comodo.config import read_sweep_file
from comodo.core.console import console
from comodo.core.store import Store
from comodo.evaluation.results import Results, TrialRow
from comodo.report.page import limits
from comodo.report.report import accuracy_on_terminal
from comodo.report.tables import markdown
from comodo.search.labels import Labels
from comodo.search.trial import Trial, read_result
from tests.config.test_load import sweep_file
from tests.evaluation.test_results import METHODS, results_of
from tests.helpers import answer, write_report


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path: Path, store: Store) -> Results:
    """Four configurations, of which the last lost a seed."""
    sweep = read_sweep_file(
        sweep_file(tmp_path, search__space={"method": METHODS}, seeds=[0, 1, 2, 3])
    )
    whole = results_of(sweep, store, ["none", *METHODS])
    lost = whole.rows[-1]
    failed = TrialRow(lost.trial, lost.label, "failed", {}, "the loss became nan")
    return Results(sweep, [*whole.rows[:-1], failed], store)


def page_of(results: Results, store: Store) -> str:
    return (write_report(results, store) / "report.md").read_text()


def test_page_has_intervals_and_verdicts(results: Results, store: Store) -> None:
    page = page_of(results, store)
    assert "**A demonstration** on simulated data (demo)" in page
    assert f"Selected by val/acc1: **{results.selected}**" in page
    accuracy = r"\d+\.\d \(\d+\.\d–\d+\.\d\)"
    assert re.search(rf"\| untrained \| 4 \|( {accuracy} \|){{4}}\n", page)
    assert "acc3" in page and "acc5" not in page  # all windows have ranks below five
    assert "not distinguishable at 95 %" in page
    assert re.search(r"\| comodo queue_size=8 – untrained \| 4 \| \+\d+\.\d .* points better", page)
    assert "| infonce | 3 | failed | the loss became nan |" in page


def test_missing_trials_are_listed_with_the_command(results: Results, store: Store) -> None:
    page = page_of(results, store)
    missing = "**Missing: 1 of 16 trials**: 1 failed (infonce seed 3). To run them: `comodo sweep"
    assert missing in page
    assert "| infonce | 3 of 4 |" in page
    assert "15 of 16 trials finished" in page


def test_results_are_a_row_for_each_trial(results: Results, store: Store) -> None:
    frame = pd.read_parquet(write_report(results, store) / "results.parquet")
    assert frame.state.tolist() == ["finished"] * 15 + ["failed"]
    assert frame.reason.iloc[-1] == "the loss became nan"
    assert frame["test/acc1"].tolist()[:15] == [
        row.metrics["test/acc1"] for row in results.rows[:15]
    ]
    assert frame["method.queue_size"].dropna().tolist() == [8.0] * 4 + [16.0] * 4
    names = {f"{split}/acc{k}" for split in ("val", "test") for k in (1, 3)}
    assert {name for name in map(str, frame.columns) if "acc" in name} == names
    assert frame["student.channels"].iloc[0].startswith('["acc_x"')
    assert frame.seconds.tolist()[:15] == [1.0] * 15


def test_files(results: Results, store: Store) -> None:
    stale = store.folder("sweeps", results.sweep.name) / "report/old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    folder = write_report(results, store)
    with (folder / "accuracy_by_group.csv").open() as file:
        groups = list(csv.DictReader(file))
    assert [row["group"] for row in groups] == [f"g{i}" for i in range(8)]
    assert all(float(row["low"]) < float(row["acc1"]) < float(row["high"]) for row in groups)
    with (folder / "accuracy_by_class.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    pictures = {path.stem: Image.open(path).size for path in folder.glob("*.png")}
    assert pictures.keys() == {"accuracy", "by_method_queue_size", "confusion", "learning"}
    assert all(width > 400 for width, _ in pictures.values())
    assert {path.stem for path in folder.glob("*.svg")} == pictures.keys()
    again = {path: path.read_bytes() for path in folder.glob("*.svg")}
    write_report(results, store)
    assert all(path.read_bytes() == content for path, content in again.items())


def test_selection_on_test_is_shown(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, objective__metric="test/acc1"))
    page = page_of(results_of(sweep, store, ["comodo"]), store)
    assert "**Selected on the test split**" in page


def test_one_seed_claims_nothing(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={"method": METHODS}))
    whole = results_of(sweep, store, ["none", *METHODS])
    one = Results(sweep, [row for row in whole.rows if row.trial.seed == 0], store)
    page = page_of(one, store)
    assert "one seed: " in page and "seeds: [0, 1, 2]" in page
    verdicts = re.findall(r"\| (about these students [^|]*) \|", page)
    assert len(verdicts) == len(one.differences) == 5
    with console.capture() as captured:
        console.print(accuracy_on_terminal(one), width=80)
    for text in (page, captured.get()):
        assert not re.search(r"points (better|worse)|, clear|distinguishable at", text)


def test_few_groups_in_test_are_said_first(tmp_path: Path, store: Store) -> None:
    sweep = read_sweep_file(sweep_file(tmp_path))
    trial = Trial(sweep.trial, 0, "w", "f")
    for groups, noted in ((1, True), (2, True), (3, False)):
        answer(store, trial, 0.7, groups=groups)
        result = read_result(trial, store)
        assert result is not None
        rows = [TrialRow(trial, "comodo", "finished", result.metrics, trained=result.trained)]
        said = limits(Results(sweep, rows, store))
        assert any(f"demo: groups in test: {groups}, " in sentence for sentence in said) == noted


def test_nothing_finished(store: Store, results: Results) -> None:
    failed = Results(results.sweep, results.rows[-1:], store)
    page = page_of(failed, store)
    assert "none is selected" in page
    assert "the loss became nan" in page


def test_table_fits_a_terminal(results: Results) -> None:
    with console.capture() as captured:
        console.print(accuracy_on_terminal(results), width=80)
    shown = captured.get()
    assert max(map(len, shown.splitlines())) <= 80
    assert "comodo queue_size=8 " in shown
    assert ", clear" in shown
    assert "failed" in shown


def test_effects_of_a_larger_search(tmp_path: Path, store: Store) -> None:
    space = {"method.queue_size": [8, 16, 32], "learning_rate": [1e-3, 1e-2]}
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=space))
    names, rows = Labels(sweep), []
    for number, values in enumerate(sweep.grid()):
        trial = Trial(sweep.with_values(values), 0, "w", "f")
        answer(store, trial, 0.5 + number / 20)
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
    folder = write_report(Results(sweep, rows, store), store)
    page = (folder / "report.md").read_text()
    assert "## Hyperparameter importance" in page
    assert "| method.queue_size | " in page
    assert (folder / "effects.png").exists()


def test_leakage_is_shown_with_every_result(results: Results, store: Store) -> None:
    leaking = Results(results.sweep, results.rows, store, {"demo": {"test": "1 of 4"}, "other": {}})
    page = page_of(leaking, store)
    assert "**demo: leakage: 1 of 4 groups of test are also in train" in page
    with console.capture() as capture:
        console.print(accuracy_on_terminal(leaking))
    assert "1 of 4 groups of test" in " ".join(capture.get().split())
    assert "leakage" not in page_of(results, store)


PLANTED = "no ![p](http://evil/accuracy.png) <img src=http://evil/p.png> [go](http://evil) ` **b**"


def test_what_data_say_is_text(results: Results, store: Store) -> None:
    lost = results.rows[-1]
    rows = [*results.rows[:-1], TrialRow(lost.trial, lost.label, "failed", {}, PLANTED)]
    planted = Results(results.sweep, rows, store, {"demo": {PLANTED: "1 of 4"}})
    folder = write_report(planted, store)
    tokens = MarkdownIt("commonmark").enable("table").parse((folder / "report.md").read_text())
    parts = [part for token in tokens for part in token.children or ()]
    assert sum(PLANTED in part.content for part in parts) == 2  # of the trial, and of the leak
    assert {part.type for part in parts if "evil" in f"{part.content}{part.attrs}"} == {"text"}
    assert not [token for token in [*tokens, *parts] if token.type.startswith("html")]
    page = (folder / "report.html").read_text()
    assert re.findall("<[^>]*evil[^>]*>", page) == []


def test_cells_cannot_break_a_table() -> None:
    lines = markdown(["a", "b"], [["|acc| (g)", "two\nlines"]])
    assert lines[2] == "| \\|acc\\| (g) | two lines |"
