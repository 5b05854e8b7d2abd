"""The tables of what was measured of each configuration: accuracies, the best first, then the other
measures, as lines of Markdown. Headings of the third level are folded on the page.

Does not know how the numbers are computed, nor the page around the tables.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from comodo.config.metric import Metric
from comodo.core.markdown import as_text
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.scoring import scored_metric
from comodo.report.tables import Markup, cell, markdown, measured, section, star

UNEQUAL = 1.5
"""Windows of the largest class of a test split for each of the smallest, above which balanced
accuracy is shown next to accuracy."""
POOLED = (
    "The predictions of all folds of a seed are taken together, so every labelled window of a data "
    "set in folds is tested once per seed, by a student that was not trained on its group; a seed "
    "counts when all its folds are finished. "
)
MAX_SHOWN = 20  # configurations that are not folded

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""


def ranked(results: Results) -> list[str]:
    """All configurations, the best by the first objective first, those without it last."""
    first = results.sweep.objectives[0]

    def badness(label: str) -> float:
        found = results.objectives(label) if label in results.by_label else None
        return math.inf if found is None else -first.sign * found[0]

    return sorted(dict.fromkeys(row.label for row in results.rows), key=badness)


def accuracy_section(results: Results) -> list[str]:
    """Every configuration, even if none of its trials has finished."""
    folds = any(row.trial.fold for row in results.rows)
    labels = ranked(results)
    measured_labels = [label for label in labels if label in results.by_label]
    others = _without_results(results, [x for x in labels if x not in results.by_label])
    if "probe" not in results.sweep.measures:
        text = "No probe is measured, so there are no accuracies."
        lines = section("Configurations", text, *accuracy_table(results, measured_labels))
        return [*lines, *others]
    lines = section(
        "Accuracy",
        f"{POOLED if folds else ''}"
        f"Sorted by {results.sweep.objective.metric}, which selects. Percent, mean over seeds; in "
        "brackets the 95 % interval for new seeds and new groups (people, captures or days); with "
        "one seed, of that student for new groups; with one group in test there is none."
        f"{_scored_elsewhere(results)}",
        *accuracy_table(results, _in_front(results, measured_labels)),
    )
    lines += [f"\\{star(results)}.", ""] if star(results) else []
    if left := len(measured_labels) - len(_in_front(results, measured_labels)):
        shown = accuracy_table(results, measured_labels)
        lines += [f"### All {len(measured_labels)} configurations, {left} more", ""]
        lines += markdown(*shown)
    more, text = _more_columns(results), ""
    if any(name.endswith("balanced_accuracy") for name in more):
        text = "Balanced accuracy is shown where the largest class of test has over "
        text += f"{UNEQUAL} times the windows of the smallest."
    if more:
        lines += ["### More measures of the probe", "", *([text, ""] if text else [])]
        lines += markdown(*_table(results, measured_labels, more))
    return [*lines, *others]


def _in_front(results: Results, labels: list[str]) -> list[str]:
    """The best of many configurations, and all references."""
    references = [x for x in labels if results.is_reference(results.by_label[x][0].trial)]
    if len(labels) <= MAX_SHOWN or len(labels) <= len(references):
        return labels
    own = [label for label in labels if label not in references]
    shown = {*references, *own[: max(1, MAX_SHOWN - len(references))]}
    return [label for label in labels if label in shown]


def _without_results(results: Results, labels: list[str]) -> list[str]:
    """Configurations of which no seed has finished, such as those that were pruned."""
    if not labels:
        return []
    rows, rows_of = [], defaultdict[str, list[TrialRow]](list)
    for row in results.rows:
        rows_of[row.label].append(row)
    for label in labels:
        own = rows_of[label]
        states = Counter(row.state for row in own)
        shown = ", ".join(f"{count} {state}" for state, count in states.items())
        rows.append([own[0].title, shown, next((row.reason for row in own if row.reason), "–")])
    return [
        f"### {len(labels)} configurations without a result",
        "",
        *markdown(["configuration", "trials", "reason of the first"], rows),
    ]


def _scored_elsewhere(results: Results) -> str:
    """Which configurations are measured on another data set, as their own has no labels."""
    trials = [row.trial for row in results.rows]
    pairs = {(trial.config.dataset, results.scored_on(trial)) for trial in trials}
    return "".join(
        f" {own} has too few labels for a probe: students trained on it are measured on {other}."
        for own, other in sorted(pairs)
        if own != other
    )


def accuracy_table(results: Results, labels: Iterable[str]) -> Table:
    """Test Acc@1, macro F1 and the objectives; the selected configuration is marked."""
    return _table(results, labels, _first_columns(results))


def _table(results: Results, labels: Iterable[str], columns: list[str]) -> Table:
    rows = []
    titles = {row.label: row.title for row in results.rows}
    seeds_of = Counter(label for label, _ in {(r.label, r.trial.seed) for r in results.rows})
    for label in labels:
        trials = results.by_label.get(label, [])
        cells = ["–"] * len(columns)
        if trials:
            cells = [_first_cell(results, label, name) for name in columns]
        seeds, finished = str(seeds_of[label]), len({row.trial.seed for row in trials})
        if finished < seeds_of[label]:
            seeds = f"{finished} of {seeds}"
        title = titles[label]
        if label == results.selected:
            title = Markup(f"**{as_text(title)}** (selected)")
        rows.append([title, seeds, *cells])
    return ["configuration", "seeds", *columns], rows


def _first_columns(results: Results) -> list[str]:
    """The metrics of `accuracy_table`, by which a reader decides."""
    objectives = [objective.metric for objective in results.sweep.objectives]
    if "probe" not in results.sweep.measures:
        return objectives
    names = [str(Metric("test", name, dataset=results.elsewhere)) for name in ("acc1", "macro_f1")]
    always = {*names[:1], *objectives}
    return [x for x in dict.fromkeys([*names, *objectives]) if x in always or _any(results, x)]


def _more_columns(results: Results) -> list[str]:
    """The other metrics of the probe: Acc@k of more than k classes, and balanced accuracy of
    unequal ones."""
    averages = ["balanced_accuracy"] * _has_unequal_classes(results)
    names = [
        str(Metric(split, name, dataset=results.elsewhere))
        for split, several in (("test", averages), ("val", []))
        for name in ("acc1", *several, "acc3", "acc5")
    ]
    first = _first_columns(results)
    return [name for name in names if name not in first and _any(results, name)]


def _any(results: Results, name: str) -> bool:
    return any(_first_cell(results, label, name) != "–" for label in results.by_label)


def _first_cell(results: Results, label: str, name: str) -> str:
    metric = Metric.parse(name)
    if metric.measure == "probe" and metric.name.startswith("acc"):
        there = metric.dataset if metric.dataset != results.elsewhere else ""
        return cell(results.accuracy(label, metric.split, int(metric.name[3:]), there))
    trial = results.by_label[label][0].trial
    return measured(results, label, scored_metric(metric, trial, results.sweep))


def _has_unequal_classes(results: Results) -> bool:
    """Whether any data set that students are scored on has, by `UNEQUAL`."""
    known = [label for label in results.by_label if results.accuracy(label, "test") is not None]
    scored = {results.scored_on(results.by_label[label][0].trial): label for label in known}
    for label in scored.values():
        windows = results.test_predictions(label).label.value_counts()
        if windows.max() > UNEQUAL * windows.min():
            return True
    return False


def other_measures_section(results: Results) -> list[str]:
    """Metrics that are not in the other tables, with a folded table for each measure and data
    set."""
    known = {*_first_columns(results), *_more_columns(results)}
    tables: dict[str, list[str]] = {}
    for name in dict.fromkeys(
        name for rows in results.by_label.values() for name in results.metrics_of(rows[0])
    ):
        metric = Metric.parse(name)
        hidden = name.endswith(("probe/C", "probe/trees", "_std"))
        if name not in known and not hidden and not name.startswith("test/fine_tuned/"):
            on = f" on {metric.dataset}" if metric.dataset else ""
            tables.setdefault(f"{metric.measure}{on}", []).append(name)
    if not tables:
        return []
    labels = [label for label in ranked(results) if label in results.by_label]
    lines = [
        "## Other measures",
        "",
        "Percent, ranks and counts as they are; mean over seeds; in brackets the 95 % interval for "
        "new seeds and new groups, of alignment and median ranks for new seeds alone.",
        "",
    ]
    for title, names in tables.items():
        rows = [
            [results.title(label), *(measured(results, label, name) for name in names)]
            for label in labels
        ]
        lines += [f"### {title}", "", *markdown(["configuration", *names], rows)]
    return lines
