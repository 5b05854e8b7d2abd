"""The tables of a report as lines of Markdown: accuracies, differences, transfer, importance.

Does not know how the numbers are computed, nor the page around the tables.
"""

import math
from collections import Counter
from collections.abc import Iterable

from comodo.config import NoneMethod
from comodo.config.metric import PARAMETERS, Measure, Metric, accuracy
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.results import Difference, Results, TrialRow
from comodo.evaluation.scoring import scored_metric
from comodo.evaluation.stats import Interval

UNEQUAL = 1.5
"""Windows of the largest class of a test split for each of the smallest, above which balanced
accuracy is shown next to accuracy."""
POOLED = (
    "The predictions of all folds of a seed are taken together, so every labelled window of a data "
    "set in folds is tested once per seed, by a student that was not trained on its group; a seed "
    "counts when all its folds are finished. "
)
MAX_NAMED_TRIALS = 12  # missing trials of one state that are listed


class Markup(str):
    """A cell of a table that is Markdown."""


def accuracy_section(results: Results) -> list[str]:
    """Every configuration, even if none of its trials has finished."""
    folds = any(row.trial.fold for row in results.rows)
    if "probe" not in results.sweep.measures:
        text = "No probe is measured, so there are no accuracies."
        labels = dict.fromkeys(row.label for row in results.rows)
        return section("Configurations", text, *accuracy_table(results, labels))
    lines = section(
        "Accuracy",
        f"{POOLED if folds else ''}"
        "Percent, mean over seeds; in brackets the 95 % interval for new seeds and new groups "
        "(subjects, captures or days); with one seed, of that student for new groups; with one "
        "group in test there is none. Acc@k only of more than k classes; balanced accuracy where "
        f"the largest class of test has over {UNEQUAL} times the windows of the smallest."
        f"{_scored_elsewhere(results)}",
        *accuracy_table(results, dict.fromkeys(row.label for row in results.rows)),
    )
    return [*lines, f"\\{results.star}.", ""] if results.star else lines


def _scored_elsewhere(results: Results) -> str:
    """Which configurations are measured on another data set, as their own has no labels."""
    trials = [row.trial for row in results.rows]
    pairs = {(trial.config.dataset, results.scored_on(trial)) for trial in trials}
    return "".join(
        f" {own} has too few labels for a probe: students trained on it are measured on {other}."
        for own, other in sorted(pairs)
        if own != other
    )


def accuracy_table(results: Results, labels: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Header, and a row for each of these configurations."""
    rows = []
    titles = {row.label: row.title for row in results.rows}
    seeds_of = Counter(label for label, _ in {(r.label, r.trial.seed) for r in results.rows})
    shown = _first_columns(results)
    for label in labels:
        trials = results.by_label.get(label, [])
        cells = ["–"] * len(shown)
        if trials:
            cells = [cell(_first_cell(results, label, name)) for name in shown]
        seeds, finished = str(seeds_of[label]), len({row.trial.seed for row in trials})
        if finished < seeds_of[label]:
            seeds = f"{finished} of {seeds}"
        rows.append([titles[label], seeds, *cells])
    return ["configuration", "seeds", *shown], rows


def _first_columns(results: Results) -> list[str]:
    """The metrics of `accuracy_table`: Acc@k, macro F1 on test, or where it is an objective, and
    balanced accuracy of unequal classes; none where no probe is measured."""
    if "probe" not in results.sweep.measures:
        return []
    objectives = [objective.metric for objective in results.sweep.objectives]
    shown = []
    for split in ("val", "test"):
        averages = {
            "macro_f1": split == "test" or f"{split}/macro_f1" in objectives,
            "balanced_accuracy": split == "test" and _has_unequal_classes(results),
        }
        names = ["acc1", *(name for name, wanted in averages.items() if wanted), "acc3", "acc5"]
        shown += [str(Metric(split, name, dataset=results.elsewhere)) for name in names]
    always = {str(accuracy(split, dataset=results.elsewhere)) for split in ("val", "test")}
    return [
        name
        for name in shown
        if name in always or any(_first_cell(results, label, name) for label in results.by_label)
    ]


def _first_cell(results: Results, label: str, name: str) -> Interval | None:
    metric = Metric.parse(name)
    if metric.name.startswith("acc"):
        return results.accuracy(label, metric.split, int(metric.name[3:]))
    trial = results.by_label[label][0].trial
    return results.measure(label, scored_metric(metric, trial, results.sweep))


def _has_unequal_classes(results: Results) -> bool:
    """Whether any data set that students are scored on has, by `UNEQUAL`."""
    measured = [label for label in results.by_label if results.accuracy(label, "test") is not None]
    scored = {results.scored_on(results.by_label[label][0].trial): label for label in measured}
    for label in scored.values():
        windows = results.test_predictions(label).label.value_counts()
        if windows.max() > UNEQUAL * windows.min():
            return True
    return False


def missing(rows: list[TrialRow], command: str) -> list[str]:
    """Trials without a result, by state, and the command that runs them."""
    states: dict[str, list[str]] = {}
    for row in rows:
        if row.state != "finished":
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
        [[x, *(_measured(results, x, o.metric) for o in objectives)] for x in results.pareto],
    )


def test_accuracy(results: Results) -> str:
    """`test Acc@1`, with the data set where that is none of those trained on."""
    return f"test Acc@1{f' on {results.elsewhere}' if results.elsewhere else ''}"


def difference_section(results: Results) -> list[str]:
    if not results.differences:
        return []
    rows = []
    for d in results.differences:
        pair = f"{results.title(d.first)} – {results.title(d.second)}"
        rows.append([pair, str(d.seeds), *difference_cells(d), _needed(d)])
    return section(
        "Differences",
        "Paired by seed, group and window. p is corrected for the number of rows; the interval is "
        "not. With one seed or one group in test nothing follows for the configurations: the "
        "difference is one between these students on these groups. "
        "More seeds needed: for 50 % power, if the true difference is the one measured here.",
        [
            f"{test_accuracy(results)} of",
            "pairs",
            "points (95 %)",
            "p (Holm)",
            "verdict",
            "more seeds needed",
        ],
        rows,
    )


def difference_cells(difference: Difference) -> list[str]:
    """Points with their interval, p and verdict."""
    found, p = difference.comparison, difference.p
    points = f"{100 * found.difference:+.1f}"
    if not math.isnan(found.low):
        points += f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    return [points, "–" if p is None else f"{p:.2g}", _verdict(difference)]


def _verdict(difference: Difference) -> str:
    if difference.lacks:
        return f"about these students on these groups only ({difference.lacks})"
    if not difference.distinguishable:
        return "not distinguishable at 95 %"
    points = 100 * difference.comparison.difference
    return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}"


def _needed(difference: Difference) -> str:
    more = difference.comparison.more_seeds
    if difference.distinguishable:
        return "–"
    if difference.seeds == 1:
        return "at least 1"
    if more is None:
        return "more groups"
    return str(more) if more else "none, without the correction of p"


def gains(results: Results) -> dict[str, str]:
    """Gain of each configuration over its untrained student in points, and whether it is clear, or
    why that cannot be known."""
    found = {}
    for difference in results.differences:
        trial = results.by_label[difference.second][0].trial
        untrained = isinstance(trial.config.method, NoneMethod) and not trial.is_hand_crafted
        if untrained and difference.first not in found:
            clear = "clear" if difference.distinguishable else "not distinguishable"
            points = f"{100 * difference.comparison.difference:+.1f}"
            found[difference.first] = f"{points}, {difference.lacks or clear}"
    return found


def other_metrics_section(results: Results) -> list[str]:
    """Metrics that are not in the other tables."""
    if not results.by_label:
        return []
    names = [
        name
        for rows in results.by_label.values()
        for name in results.metrics_of(rows[0])
        if name not in (*_first_columns(results), PARAMETERS)
        and not name.endswith(("probe/C", "probe/trees", "_std"))
        and not name.startswith("test/fine_tuned/")
    ]
    rows = [
        [name, *(_measured(results, label, name) for label in results.by_label)]
        for name in [*dict.fromkeys(names), PARAMETERS]
    ]
    return section(
        "Other measures",
        "Percent, mean over seeds; in brackets the 95 % interval for new seeds and new groups, of "
        "alignment for new seeds on the same windows.",
        ["measure", *map(results.title, results.by_label)],
        rows,
    )


def _measured(results: Results, label: str, name: str) -> str:
    """The cell of any measure of a configuration."""
    if name == PARAMETERS:
        return f"{results.by_label[label][0].metrics[name]:,.0f}"
    return cell(results.measure(label, name))


def transfer_section(results: Results, command: str) -> list[str]:
    datasets = results.tested_on
    if len(datasets) < 2:
        return []
    lines = ["## Transfer", ""]
    header = ["trained on", "student", *(f"tested on {name}" for name in datasets)]
    measures: dict[Measure, str] = {
        "probe": "Test Acc@1 of a probe fitted on the train split of the test data set.",
        "direct": "Test Acc@1 of the probe of the training data set, without labels of the test "
        "data set; on the classes that both have.",
    }
    for measure, says in measures.items():
        rows = [
            [row.trained_on, row.label, *(cell(row.cells[name]) for name in datasets)]
            for row in results.transfer(measure)
        ]
        if rows:
            lines += [says, "", *markdown(header, rows)]
    return lines + missing(results.rows, command)


def importance_section(results: Results) -> list[str]:
    found = results.importances()
    if not found:
        return []
    return section(
        "Hyperparameter importance",
        f"Share of the variance of {results.sweep.objective.metric} that each key explains alone "
        "(fANOVA), in percent; in brackets the range from 5 to 95 % of resamplings of the "
        "configurations. The shares always add up to 100 %, even if no key has an effect: read "
        "them only if configurations above are distinguishable.",
        ["key", "importance"],
        [[key, cell(share)] for key, share in found.items()],
    )


def cell(found: Interval | None) -> str:
    """A value with its interval, in percent."""
    if found is None:
        return "–"
    if math.isnan(found.low):
        return f"{100 * found.mean:.1f}"
    return f"{100 * found.mean:.1f} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def section(title: str, text: str, header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A heading, a paragraph, if there is a text, and a table."""
    return [f"## {title}", "", *([text, ""] if text else []), *markdown(header, rows)]


def markdown(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """The lines of a table, then an empty line. Cells are shown as they are, but for `Markup`."""

    def line(cells: list[str]) -> str:
        shown = (cell if isinstance(cell, Markup) else as_text(cell) for cell in cells)
        return "| " + " | ".join(text.replace("|", "\\|") for text in shown) + " |"

    return [line(header), "|" + " --- |" * len(header), *map(line, rows), ""]
