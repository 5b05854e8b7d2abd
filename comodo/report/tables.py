"""What the tables of a report share, and its small ones as lines of Markdown: missing trials, the
Pareto front, transfer, importance.

Does not know how the numbers are computed, nor the page around the tables.
"""

import math
from collections.abc import Iterable

from comodo.config.metric import PARAMETERS
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.importance import MAX_RESAMPLED
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import Interval
from comodo.evaluation.transfer import transfer_grid
from comodo.report.names import scale_of

STAR = "* of its own classifier, not of a probe"
MAX_NAMED_TRIALS = 4  # missing trials of one state that are listed


class Markup(str):
    """A cell of a table that is Markdown."""


def missing(rows: list[TrialRow], command: str) -> list[str]:
    """Trials that should have a result, by state, and the command that runs them: pruned ones have
    ended, and do not run again."""
    states: dict[str, list[str]] = {}
    for row in rows:
        if row.state not in ("finished", "pruned"):
            states.setdefault(row.state, []).append(f"{row.label} {row.trial.repetition}")
    if not states:
        return []
    parts = []
    for state, names in states.items():
        more = f" and {len(names) - MAX_NAMED_TRIALS} more" if len(names) > MAX_NAMED_TRIALS else ""
        listed = as_text("; ".join(names[:MAX_NAMED_TRIALS]))
        parts.append(f"{len(names)} {state} ({listed}{more})")
    missed = f"**Missing: {sum(map(len, states.values()))} of {len(rows)} trials**"
    return [f"{missed}: {', '.join(parts)}. To run them: {as_code(command)}", ""]


def star(results: Results) -> str:
    """`STAR`, if any configuration has one."""
    return STAR if any(rows[0].title != label for label, rows in results.by_label.items()) else ""


def measured(results: Results, label: str, name: str) -> str:
    """The cell of any measure of a configuration."""
    if name == PARAMETERS:
        found = results.by_label[label][0].metrics.get(name)
        return "–" if found is None else f"{found:,.0f}"
    return cell(results.measure(label, name), scale_of(name, results.sweep))


def pareto_section(results: Results) -> list[str]:
    """Empty for a single objective."""
    if len(results.sweep.objectives) == 1 or not results.pareto:
        return []
    objectives = results.sweep.objectives
    return section(
        "Pareto front",
        "Configurations to which no other is at least as good in all objectives and better in one, "
        "by means over seeds; shares in percent, with 95 % intervals.",
        ["configuration", *(f"{o.metric} ({o.mode})" for o in objectives)],
        [[x, *(measured(results, x, o.metric) for o in objectives)] for x in results.pareto],
    )


def test_accuracy(results: Results) -> str:
    """`test Acc@1`, with the data set where that is none of those trained on."""
    return f"test Acc@1{f' on {results.elsewhere}' if results.elsewhere else ''}"


def transfer_section(results: Results, command: str) -> list[str]:
    datasets = results.tested_on
    if len(datasets) < 2:
        return []
    lines = ["## Transfer", ""]
    header = ["trained on", "student", *(f"tested on {name}" for name in datasets)]
    measures = {
        "probe": "Test Acc@1 of a probe fitted on the train split of the test data set.",
        "direct": "Test Acc@1 of the probe of the training data set, without labels of the test "
        "data set; on the classes that both have.",
    }
    for measure, says in measures.items():
        rows = [
            [row.trained_on, row.label, *(cell(row.cells[name]) for name in datasets)]
            for row in transfer_grid(results, measure)
        ]
        if rows:
            lines += [says, "", *markdown(header, rows)]
    return lines + missing(results.rows, command)


def importance_section(results: Results) -> list[str]:
    found = results.importances()
    if not found:
        return []
    many = len(results.points()[0])
    drawn = f", {MAX_RESAMPLED:,} of the {many:,} in each" if many > MAX_RESAMPLED else ""
    return section(
        "Hyperparameter importance",
        f"Share of the variance of {results.sweep.objective.metric} that each key explains alone "
        "(fANOVA), in percent; in brackets the range from 5 to 95 % of resamplings of the "
        f"configurations{drawn}. The shares always add up to 100 %, even if no key has an effect: "
        "read them only if configurations above are distinguishable.",
        ["key", "importance"],
        [[key, cell(share)] for key, share in found.items()],
    )


def mean_cell(found: Interval | None) -> str:
    """A value without its interval, in percent."""
    return "–" if found is None else f"{100 * found.mean:.1f}"


def cell(found: Interval | None, scale: int = 100) -> str:
    """A value with its interval, in percent, or as it is."""
    if found is None:
        return "–"
    mean, low, high = (number(x, scale) for x in (found.mean, found.low, found.high))
    return mean if math.isnan(found.low) else f"{mean} ({low}–{high})"


def number(value: float, scale: int = 100) -> str:
    """A value as tables show it; `scale`: as of `scale_of`."""
    return f"{100 * value:.1f}" if scale == 100 else f"{value:.4g}"


def section(title: str, text: str, header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A heading, a paragraph, if there is a text, and a table."""
    return [f"## {title}", "", *([text, ""] if text else []), *markdown(header, rows)]


def markdown(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """The lines of a table, then an empty line. Cells are shown as they are, but for `Markup`."""

    def line(cells: list[str]) -> str:
        shown = (cell if isinstance(cell, Markup) else as_text(cell) for cell in cells)
        return "| " + " | ".join(text.replace("|", "\\|") for text in shown) + " |"

    return [line(header), "|" + " --- |" * len(header), *map(line, rows), ""]
