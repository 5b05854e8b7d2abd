"""Finished stores of each version that `scripts/example_store.py` archived, read by this one and,
as far as versions of numbers go, by later ones."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import comodo
from comodo.core.store import Store
from comodo.deploy.export import export_run
from comodo.deploy.selection import resolve_run
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.sweep_record import read_sweep_record
from comodo.models.students import load_student
from comodo.report.report import ReportError, write_report
from comodo.runtime.worker import frozen_student_of
from tests.errors import raises
from tests.paths import ROOT

ARCHIVES = sorted(ROOT.joinpath("tests/stores").glob("*.tar.xz"))
SWEEPS = ("grid", "search")
TRIALS = {"0.2.0": (8, 3), "0.2.0-references": (10, 4)}
"""Of each sweep, by archive: the second one's references include hand-crafted features."""


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / request.param.name.removesuffix(".tar.xz")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return Store(folder)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version with other numbers everywhere."""
    for place in (
        "search.trial.TRIAL_VERSION",
        "search.trial.MEASURES_VERSION",
        "search.trial.HAND_CRAFTED_VERSION",
        "data.keys.LAYOUT_VERSION",
        "data.feature_sets.FEATURE_VERSION",
        "data.window_sets.WINDOW_VERSION",
    ):
        monkeypatch.setattr(f"comodo.{place}", 1000)


def results_file(sweep: str, store: Store) -> Path:
    return store.folder("sweeps", sweep) / "report/results.parquet"


def test_there_are_stores() -> None:
    assert ARCHIVES
    assert all(path.stat().st_size < 300_000 for path in ARCHIVES)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_later_version_has_the_same_rows(sweep: str, store: Store) -> None:
    recorded = pd.read_parquet(results_file(sweep, store))
    trials = TRIALS[store.root.name][SWEEPS.index(sweep)]
    assert recorded.state.tolist() == ["finished"] * trials
    found = comodo.load_sweep(sweep, store.root).trials
    again = pa.Table.from_pandas(found, preserve_index=False).to_pandas()
    pd.testing.assert_frame_equal(again[list(recorded.columns)], recorded)
    assert len(comodo.load_sweep(sweep, store.root).predictions) > 100


@pytest.mark.usefixtures("later")
def test_a_later_version_writes_the_same_report(store: Store) -> None:
    recorded = pd.read_parquet(results_file("grid", store))
    record = read_sweep_record("grid", store)
    folder = write_report(record.results(store), record, store)
    page = (folder / "report.md").read_text()
    assert "{0} of {0} trials finished".format(TRIALS[store.root.name][0]) in page
    assert "now 1000" in page
    again = pd.read_parquet(folder / "results.parquet")
    pd.testing.assert_frame_equal(again[list(recorded.columns)], recorded)
    assert (folder / "accuracy.png").exists()


@pytest.mark.usefixtures("later")
def test_a_later_version_finds_the_student_and_its_windows(store: Store) -> None:
    found = resolve_run("grid", store)
    assert resolve_run(found.row.trial.key, store).row.trial.key == found.row.trial.key
    student = load_student(store.folder("trials", found.row.trial.key) / "student")
    frozen = frozen_student_of(found.row.trial, store, student, "here")
    assert len(fit_probe(frozen).classes_) > 2


@pytest.mark.slow
@pytest.mark.usefixtures("later")
def test_a_later_version_exports_it(store: Store, tmp_path: Path) -> None:
    exported = export_run(resolve_run("grid", store), store, out=tmp_path / "out")
    assert exported.about["accuracy"]["trial"] is not None


def lose_all(store: Store) -> None:
    for path in sorted(store.root.glob("trials/*")):
        path.rename(path.with_name(path.name[::-1]))


def lose_one(store: Store) -> None:
    (store.folder("trials", resolve_run("grid", store).row.trial.key) / "trained.json").unlink()


@pytest.mark.parametrize("lose", [pytest.param(lose_all, marks=pytest.mark.slow), lose_one])
def test_an_emptier_report_replaces_none(store: Store, lose: Callable[[Store], None]) -> None:
    record = read_sweep_record("grid", store)
    folder = write_report(record.results(store), record, store)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    lose(store)
    with raises(ReportError, "report.emptier", str(folder)):
        write_report(record.results(store), record, store)
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
