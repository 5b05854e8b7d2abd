"""By what trials were made, and that mixed libraries do not stay unseen."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from comodo.config import read_sweep_file
from comodo.core.provenance import MadeBy, made_by
from comodo.core.store import Store, read_json
from comodo.evaluation.results import Results
from comodo.report.environment import mixed_libraries
from tests.config.test_load import sweep_file
from tests.evaluation.test_results import results_of
from tests.helpers import write_report

TORCH: MadeBy = {"torch": "9.0.0"}
TEXT = "different libraries"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path: Path, store: Store) -> Results:
    sweep = read_sweep_file(sweep_file(tmp_path, search__space={"method": ["comodo", "infonce"]}))
    return results_of(sweep, store, ["comodo", "infonce"])


def made(results: Results, store: Store, *by: MadeBy | None) -> Results:
    """Each configuration made in one of these ways."""
    rows = []
    for label, way in zip(results.by_label, by, strict=True):
        for row in results.by_label[label]:
            assert row.trained is not None
            rows.append(replace(row, trained=replace(row.trained, made_by=way)))
    return Results(results.sweep, rows, store)


def test_one_line_where_all_are_made_alike(results: Results, store: Store) -> None:
    alike = made(results, store, made_by(), made_by())
    folder = write_report(alike, store)
    page = (folder / "report.md").read_text()
    assert f"torch {made_by()['torch']}" in page
    assert TEXT not in page
    content = read_json(folder / "environment.json")
    assert content["report"] == made_by()
    (environment,) = content["trials"]
    assert environment["made_by"] == made_by()
    assert environment["trials"] == [row.trial.key for row in alike.rows]
    frame = pd.read_parquet(folder / "results.parquet")
    assert set(frame["made_by.torch"]) == {made_by()["torch"]}
    assert set(frame["made_by.host"]) == {made_by()["host"]}


def test_other_libraries_are_flagged_with_a_table(results: Results, store: Store) -> None:
    page_of = made(results, store, made_by(), made_by() | TORCH)
    folder = write_report(page_of, store)
    page = (folder / "report.md").read_text()
    assert TEXT in page
    assert "| comodo | 4 |" in page
    assert "| infonce | 4 | 9.0.0 |" in page
    environments = read_json(folder / "environment.json")["trials"]
    assert [len(environment["trials"]) for environment in environments] == [4, 4]


def test_other_machines_are_listed_and_not_flagged(results: Results, store: Store) -> None:
    elsewhere = made(results, store, made_by(), made_by() | {"host": "other", "commit": "abc"})
    assert mixed_libraries(elsewhere) == []
    assert (
        "| infonce | 4 | abc | other |"
        in (write_report(elsewhere, store) / "report.md").read_text()
    )


def test_trials_of_earlier_versions_have_none(results: Results, store: Store) -> None:
    assert mixed_libraries(results) == []
    folder = write_report(results, store)
    assert "## Made by" not in (folder / "report.md").read_text()
    assert read_json(folder / "environment.json")["trials"][0]["made_by"] is None
    some = made(results, store, made_by(), None)
    assert len(mixed_libraries(some)) == 1
    assert "| infonce | 4 | not recorded |" in (write_report(some, store) / "report.md").read_text()
