"""Frozen against fine-tuned students by number of labels: a table and a figure.

Does not know how the numbers are computed, nor the page around them.
"""

from dataclasses import replace

from matplotlib.figure import Figure

from comodo.config.measures import DECLARED
from comodo.config.metric import Metric
from comodo.core.store import Store
from comodo.evaluation.predictions import Predictions
from comodo.evaluation.results import Difference, Results
from comodo.evaluation.stats import Interval, holm
from comodo.report import style
from comodo.report.curves import percents
from comodo.report.differences import difference_cells
from comodo.report.tables import cell, section

KINDS = {"frozen": "frozen_", "fine-tuned": ""}
"""What the metrics of both have in front of the number of labels."""
SHOTS = [name for name in DECLARED["fine-tuned"].metrics if not name.startswith(KINDS["frozen"])]


def fine_tuning_section(results: Results, store: Store) -> list[str]:
    """Both accuracies of each configuration and number of labels, with their difference."""
    predictions = Predictions(store)
    rows, found = [], []
    for label in _measured(results):
        trials, dataset = [row.trial for row in results.by_label[label]], results.trained_on(label)
        seeds, groups = len({trial.seed for trial in trials}), results.test_groups.get(dataset, 0)
        for shots in SHOTS:
            probed, tuned = (
                replace(_metric(kind, shots), dataset=dataset) for kind in ("frozen", "fine-tuned")
            )
            if (comparison := predictions.paired(trials, tuned, probed)) is not None:
                names = str(tuned), str(probed)
                pair = Difference(*names, seeds, groups, comparison, comparison.p)
                found.append(pair)
                rows.append([results.title(label), shots, *_cells(results, label, shots)])
    if not rows:
        return []
    adjusted = iter(holm([pair.p for pair in found if pair.p is not None]))
    corrected = [pair if pair.p is None else replace(pair, p=next(adjusted)) for pair in found]
    return section(
        "Frozen and fine-tuned",
        "Test Acc@1 in percent, of a linear classifier on the frozen student, and of the whole "
        "student fine-tuned on the same labelled windows, beginning with that classifier. Early "
        "stopping of fine-tuning uses the labels of val, if there are any. Paired by seed, group "
        "and window; p is corrected for the number of rows.",
        ["configuration", "labels of each class", *KINDS, "points (95 %)", "p (Holm)", "verdict"],
        [[*row, *difference_cells(pair)] for row, pair in zip(rows, corrected, strict=True)],
    )


def draw_fine_tuning(results: Results) -> Figure | None:
    """Accuracy by number of labels: dashed lines frozen, solid lines fine-tuned."""
    if not (labels := _measured(results)):
        return None
    shown = [s for s in SHOTS if any(_interval(results, x, "frozen", s) for x in labels)]
    figure, axes = style.axes_of(
        7,
        4.8,
        xlabel="labelled windows of each class",
        ylabel="test Acc@1 (%)",
    )
    lines = [(label, kind) for label in labels for kind in KINDS]
    for number, (label, kind) in enumerate(lines):
        found = [_interval(results, label, kind, shots) for shots in shown]
        shift = 0.04 * (number - (len(lines) - 1) / 2)  # so that intervals are apart
        places = [place + shift for place, x in enumerate(found) if x is not None]
        look = style.of_curve(number // 2) | {"linestyle": "--" if kind == "frozen" else "-"}
        name = f"{results.title(label)}, {kind}"
        axes.errorbar(places, *percents(found), capsize=2, label=name, **look)
    axes.set_xticks(range(len(shown)), shown)
    style.legend_below(figure, axes)
    return figure


def _metric(kind: str, shots: str) -> Metric:
    return Metric("test", f"{KINDS[kind]}{shots}", "fine-tuned")


def _interval(results: Results, label: str, kind: str, shots: str) -> Interval | None:
    return results.measure(label, str(_metric(kind, shots)))


def _cells(results: Results, label: str, shots: str) -> list[str]:
    return [cell(_interval(results, label, kind, shots)) for kind in KINDS]


def _measured(results: Results) -> list[str]:
    """Configurations that were fine-tuned on their own data set."""
    every = str(_metric("fine-tuned", "all"))
    return [x for x, rows in results.by_label.items() if every in rows[0].metrics]
