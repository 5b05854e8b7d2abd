"""Writes the files of a sweep's report, and builds its table for the terminal."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Column, Table

from comodo.config.base import SMOKE_SUFFIX
from comodo.core.errors import ComodoError
from comodo.core.parts import is_whole, write_table
from comodo.core.redaction import redacted
from comodo.core.store import Store, atomic, fetched, remove, write_json
from comodo.evaluation.dataframes import SweepFrames
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report import figures, mlflow_pages, mlflow_views, tables
from comodo.report.accuracy import ranked
from comodo.report.answer import answer_sentences
from comodo.report.differences import gains
from comodo.report.environment import environment_file
from comodo.report.head import limits
from comodo.report.html import html_page
from comodo.report.page import report_page
from comodo.report.study import write_study
from comodo.search.labels import ran_instead, rounded
from comodo.tracking import configurations
from comodo.tracking.runs import attach, find_runs


class ReportError(ComodoError, RuntimeError):
    """A report is not written."""


def report_folder(sweep: str, store: Store) -> Path:
    return store.folder("sweeps", sweep) / "report"


def write_report(results: Results, record: SweepRecord, store: Store, mlflow: bool = True) -> Path:
    """Writes report.md, report.html, results.parquet, the study, environment.json, figures and CSV
    tables of accuracies into the sweep's report folder, attaches them to its MLflow run (with
    `mlflow=False` MLflow is left alone), and returns the folder.

    Raises ReportError if an earlier report has results that this one would lack; it is kept.
    """
    folder = fetched(report_folder(results.sweep.name, store))
    _refuse_emptier(results, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.suffix in (".png", ".svg", ".csv"):
            remove(old)  # of an earlier report, which may have had more figures
    pictures = figures.draw_figures(results, folder)
    trials = pa.Table.from_pandas(SweepFrames(results, store).trials, preserve_index=False)
    write_table(folder / "results.parquet", trials)
    write_study(results, store, folder)
    if (label := results.selected) is not None and results.accuracy(label, "test") is not None:
        for column, name in (("label", "class"), ("group", "group")):
            with atomic(folder / f"accuracy_by_{name}.csv") as path:
                results.accuracy_by(label, column).to_csv(path, index=False)
    write_json(folder / "environment.json", environment_file(results))
    runs = find_runs(results.sweep.name, store) if mlflow else None
    page = "\n".join(report_page(results, record, store, pictures, runs))
    text = redacted(rounded(page, results.digits)) + "\n"
    for name, content in (("report.md", text), ("report.html", html_page(text, folder))):
        with atomic(folder / name) as path:
            path.write_text(content)
    if runs is not None:
        attach(
            folder,
            runs,
            mlflow_pages.finished_description(results, record, runs),
            mlflow_pages.experiment_answer(results, runs),
        )
        configurations.record(
            mlflow_pages.configurations(results, runs),
            {row.trial.key: row.label for row in results.rows},
            mlflow_views.configurations_view(results, time.time(), runs.parent),
            runs,
        )
    return folder


def _refuse_emptier(results: Results, folder: Path) -> None:
    """A configuration that the sweep file no longer has is no loss, unless nothing is left."""
    path = folder / "results.parquet"
    if not path.exists() or not is_whole(path):
        return
    known = pq.read_schema(path).names
    columns = [name for name in ("configuration", "seed", "fold", "state") if name in known]
    earlier = pq.read_table(path, columns=columns).to_pylist()
    before = {
        (row["configuration"], row["seed"], int(row.get("fold") or 0))
        for row in earlier
        if row["state"] == "finished"
    }
    states = {(row.label, *row.trial.number): row.state for row in results.rows}
    finished = {trial for trial, state in states.items() if state == "finished"}
    lost = before - finished if not finished else before & states.keys() - finished
    if lost:
        label, seed, fold = min(lost)
        named = f"{label} seed {seed}{f' fold {fold}' * (fold > 0)}"
        raise ReportError(
            "report.emptier",
            f"{folder} is kept: {len(lost)} trials that are finished in it are not now, such as "
            f"{named}: {states.get((label, seed, fold), 'unknown')}; to replace it, run the "
            "same comodo sweep again until they are, or rename the folder",
        )


def accuracy_on_terminal(results: Results) -> Table:
    """The accuracies of all configurations, or without a probe the first objective; the best by it
    first."""
    states = [row.state for row in results.rows]
    waiting, pruned = states.count("not begun"), states.count("pruned")
    left = f"{waiting} trials not begun" if waiting else ""
    ended = f"{pruned} trials pruned" if pruned else ""
    notes = ["percent, with 95 % intervals", *filter(None, [tables.star(results), left, ended])]
    if instead := ran_instead(results.sweep):
        notes.append(instead)
    caption = "\n".join(["; ".join(notes), *answer_sentences(results), *limits(results)])
    objective = results.sweep.objectives[0].metric
    probed = "probe" in results.sweep.measures
    names = ("seeds", tables.test_accuracy(results) if probed else objective)
    columns = (
        Column("configuration", overflow="fold", min_width=20),
        *(Column(name, justify="right", no_wrap=True) for name in names),
        Column("over untrained", no_wrap=True),
    )
    title = results.sweep.name
    if title.endswith(SMOKE_SUFFIX):
        title += ": a smoke run, its numbers mean nothing"
    shown = Table(*columns, title=title, caption=caption)
    gained = gains(results)
    for label in (label for label in ranked(results) if label in results.by_label):
        value = tables.measured(results, label, objective)
        if probed:
            value = tables.cell(results.accuracy(label, "test"))
        seeds = str(len({row.trial.seed for row in results.by_label[label]}))
        style = "bold" if label == results.selected else None
        title = results.title(label)
        shown.add_row(title, seeds, value, gained.get(label, ""), style=style)
    for row in results.rows:
        if row.state not in ("finished", "not begun", "pruned"):
            name = rounded(f"{row.label} {row.trial.repetition}", results.digits)
            shown.add_row(name, "", row.state, "")
    return shown
