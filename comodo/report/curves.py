"""Figures of how results depend on epochs, swept numbers and keys, and on each other: learning
curves, accuracy by each number, importance of each key, and the Pareto front.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from comodo.config.metric import PARAMETERS, QUICK_ACCURACY, TRAIN_LOSS
from comodo.evaluation.pareto import pareto_front
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import Interval
from comodo.report import published, style
from comodo.report.names import key_name, metric_axis, metric_name, scale_of
from comodo.report.tables import mean_cell, test_accuracy
from comodo.search.labels import rounded

MAX_LEARNING_CURVES = 8  # configurations in one picture of learning curves
MAX_CURVES = 10  # of accuracy by a number
MIN_INCHES = 2  # width of one of the plots of learning
MIN_AXIS_POINTS = 10  # points of accuracy on an axis
PARETO_LOOKS: dict[str, dict[str, Any]] = {
    "on the front": {"marker": "D", "color": style.BLUE, "zorder": 4},
    "others": {"marker": "o", "color": style.GREY, "markeredgecolor": "0.4", "zorder": 3},
    "references": {"marker": "x", "color": "black", "zorder": 3},
}


def draw_learning(results: Results) -> Figure | None:
    """Loss and quick accuracy by epoch: mean and range over seeds."""
    histories = {
        label: found for label, rows in results.by_label.items() if (found := _histories(rows))
    }
    if not histories:
        return None
    shown = _best_and_worst(results, list(histories))
    titles = {TRAIN_LOSS: "training loss"}
    if any(QUICK_ACCURACY in epoch for label in shown for epoch in histories[label][0]):
        titles[QUICK_ACCURACY] = "quick validation accuracy (%)"
    columns = len(titles) if style.width_of(9) > MIN_INCHES * len(titles) else 1
    size = 4.5 * columns, 4.2 if columns == len(titles) else 3.2 * len(titles)
    figure, plots = style.grid_of(len(titles), columns, size)
    for axes, (measure, title) in zip(plots, titles.items(), strict=True):
        scale = 100 if measure == QUICK_ACCURACY else 1
        for number, label in enumerate(shown):
            epochs = pd.DataFrame([epoch for history in histories[label] for epoch in history])
            if measure not in epochs or epochs[measure].isna().all():
                continue
            values = scale * epochs.dropna(subset=measure).set_index("epoch")[measure]
            by_epoch = values.groupby("epoch").agg(["mean", "min", "max"])
            look, every = style.of_curve(number), max(1, len(by_epoch) // 8)
            axes.plot(by_epoch["mean"], label=results.title(label), markevery=every, **look)
            band = by_epoch.index, by_epoch["min"], by_epoch["max"]
            axes.fill_between(*band, color=look["color"], alpha=0.15, lw=0)
        axes.set(xlabel="epoch", ylabel=title)
        axes.locator_params("x", integer=True)
    style.legend_below(figure, plots[0])
    return figure


def learning_caption(results: Results) -> str:
    """What `draw_learning` shows."""
    learnt = [x for x, rows in results.by_label.items() if _histories(rows)]
    cut = f"; the best and worst {MAX_LEARNING_CURVES // 2} of {len(learnt)}"
    many = len(learnt) > MAX_LEARNING_CURVES
    return f"learning: mean and range over seeds{cut * many}"


def _histories(rows: Iterable[TrialRow]) -> list[list[dict[str, Any]]]:
    return [row.trained.history for row in rows if row.trained and row.trained.history]


def _best_and_worst(results: Results, labels: list[str]) -> list[str]:
    if len(labels) <= MAX_LEARNING_CURVES:
        return labels
    scores = {label: results.objectives(label) for label in labels}
    known = [label for label in labels if scores[label] is not None] or labels
    sign, half = results.sweep.objectives[0].sign, MAX_LEARNING_CURVES // 2
    ordered = sorted(known, key=lambda label: -sign * (scores[label] or (0,))[0])
    return list(dict.fromkeys([*ordered[:half], *ordered[-half:]]))


def draw_by_numbers(results: Results) -> dict[str, Figure]:
    """For each swept number, test accuracy against it; by the number's dotted key."""
    flat = {
        label: results.varying[label]
        for label, rows in results.by_label.items()
        if not results.is_reference(rows[0].trial) and results.accuracy(label, "test") is not None
    }
    figures = {}
    for key in results.labels.keys:
        values = {label: config[key] for label, config in flat.items() if key in config}
        numbers = [x for x in values.values() if type(x) in (int, float)]  # bool is no number
        if len(numbers) == len(values) and len(set(numbers)) > 1:
            figures[key] = _by_number(results, key, values)
    return figures


def _by_number(results: Results, key: str, values: dict[str, float]) -> Figure:
    """A curve for each configuration apart from the key; only dots if each has a single value, or
    if there are too many to tell apart."""
    curves: dict[str, list[str]] = {}
    ordered = sorted(values, key=lambda label: values[label])
    for label in ordered:
        name = results.labels.configuration(results.by_label[label][0].trial, leave_out=key)
        curves.setdefault(name, []).append(label)
    joined = len(curves) < len(values) and len(curves) <= MAX_CURVES
    if not joined:
        curves = {"configurations": ordered}
    labels = {"xlabel": key_name(key), "ylabel": f"{test_accuracy(results)} (%)"}
    figure, axes = style.axes_of(7, 4.6, **labels)
    for number, (name, of) in enumerate(curves.items()):
        look = style.of_curve(number) | ({} if joined else {"linestyle": "none"})
        shifted = style.spread_out([values[label] for label in of], number, len(curves))
        found = percents(results.accuracy(label, "test") for label in of)
        shown = rounded(name, results.digits)
        axes.errorbar(shifted, *found, capsize=2, label=shown, **look)
    if key == "method.queue_size" and (points := _published(results, values)):
        axes.plot(*zip(*points, strict=True), "*", color="black", markersize=9,
                  label="published, single runs", linestyle="none")  # fmt: skip
    for number, (name, mean) in enumerate(_references(results, list(values)).items()):
        axes.axhline(mean, color="0.4", linestyle=(0, (1 + 2 * number, 2)), label=name)
    style.show_numbers(axes, list(values.values()), log="queue_size" in key)
    style.percent_span(axes, MIN_AXIS_POINTS)
    style.legend_below(figure, axes)
    return figure


def percents(
    found: Iterable[Interval | None],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means [N] in percent, and the lengths of the intervals below and above [2, N], 0 without one;
    of N intervals without those that are None."""
    mean_N, low_N, high_N = np.array([(x.mean, x.low, x.high) for x in found if x is not None]).T
    errors_2N = np.clip([mean_N - low_N, high_N - mean_N], 0, None)
    return 100 * mean_N, 100 * np.nan_to_num(errors_2N)


def _published(results: Results, queues: dict[str, float]) -> list[tuple[float, float]]:
    """Queue size and accuracy (percent) of the published runs of these configurations."""
    found = []
    for label, queue in queues.items():
        config, sweep = results.by_label[label][0].trial.config, results.sweep
        run = published.find(sweep, config, config.dataset)
        stand_in = published.is_stand_in(config.dataset, sweep)
        if run is not None and run.queue_size == queue and not stand_in:
            found.append((queue, 100 * run.accuracy[1]))
    return found


def _references(results: Results, labels: list[str]) -> dict[str, float]:
    """Accuracies (percent) of the untrained student and of hand-crafted features, of each if these
    configurations share it."""
    means = {}
    for compared in zip(*(results.compared_with[label] for label in labels), strict=True):
        name, *others = set(compared)
        found = None if others or name not in results.by_label else results.accuracy(name, "test")
        if found is not None:
            means[name] = 100 * found.mean
    return means


def draw_importance(results: Results) -> Figure | None:
    """Each key's share of the variance, with its range over resamplings."""
    found = results.importances()
    if not found:
        return None
    says = [mean_cell(share) for share in found.values()]
    xlabel = f"share of the variance of {metric_name(results.sweep.objective.metric)} (%)"
    figure, axes, rows = style.rows_of(list(map(key_name, found)), says, 5.6, xlabel)
    mean_N, errors_2N = percents(found.values())
    axes.errorbar(mean_N, rows, xerr=errors_2N, fmt="o", color=style.BLUE, capsize=3)
    axes.grid(axis="x", color="0.9", lw=0.6)
    axes.set_xlim(0, 100)
    return figure


def draw_pareto(results: Results) -> Figure | None:
    """Configurations by the first two objectives, with the front among them. With one objective the
    second axis is the size of the student; None if sizes do not differ, or no configuration has
    both metrics."""
    metrics = [objective.metric for objective in results.sweep.objectives][:2]
    signs = [objective.sign for objective in results.sweep.objectives][:2]
    if len(metrics) == 1:
        sizes = {
            rows[0].metrics.get(PARAMETERS)
            for rows in results.by_label.values()
            if not rows[0].trial.is_hand_crafted
        }
        if len(sizes) < 2 or None in sizes:
            return None
        metrics, signs = [*metrics, PARAMETERS], [*signs, -1]
    dots = _means(results, metrics)
    if not dots:
        return None
    own = [x for x in dots if not results.is_reference(results.by_label[x][0].trial)]
    front = pareto_front({label: dots[label] for label in own}, signs)
    groups = {
        "on the front": front,
        "others": [label for label in own if label not in front],
        "references": [label for label in dots if label not in own],
    }
    ylabel, xlabel = (metric_axis(name, scale_of(name, results.sweep)) for name in metrics)
    figure, axes = style.axes_of(7, 4.6, ylabel=ylabel, xlabel=xlabel)
    for name, labels in groups.items():
        y, x = np.reshape([dots[label] for label in labels], (-1, 2)).T
        axes.plot(x, y, linestyle="none", label=name, **PARETO_LOOKS[name])
    line = zip(*sorted(dots[label][::-1] for label in front), strict=True)
    axes.plot(*line, "--", color=style.BLUE, lw=1, zorder=2)
    if metrics[1] == PARAMETERS:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(0.1)
    style.legend_below(figure, axes)
    return figure


def _means(results: Results, metrics: list[str]) -> dict[str, tuple[float, ...]]:
    """Means over seeds by configuration, shares in percent."""
    return {
        label: tuple(
            scale_of(name, results.sweep) * float(np.mean([row.metrics[name] for row in rows]))
            for name in metrics
        )
        for label, rows in results.by_label.items()
        if all(name in row.metrics for row in rows for name in metrics)
    }
