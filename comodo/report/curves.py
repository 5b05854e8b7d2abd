"""Curves of a report: learning, accuracy by each swept number, importance of each key."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS
from comodo.config.space import flatten
from comodo.evaluation.results import Results
from comodo.report import published
from comodo.report.style import (
    BLUE,
    axes_of,
    bounds,
    grid_of,
    legend_below,
    percent_span,
    short,
    show_numbers,
    spread_out,
    style,
)

MAX_LEARNING_CURVES = 8  # configurations in one picture of learning curves
MIN_AXIS_POINTS = 10  # points of accuracy on an axis


def draw_learning(results: Results) -> Figure | None:
    """Loss and quick accuracy by epoch: mean and range over seeds."""
    histories = {
        label: [row.trained.history for row in rows if row.trained and row.trained.history]
        for label, rows in results.by_label.items()
    }
    histories = {label: found for label, found in histories.items() if found}
    if not histories:
        return None
    shown = _best_and_worst(results, list(histories))
    titles = {TRAIN_LOSS: "training loss"}
    if any(QUICK_ACCURACY in epoch for label in shown for epoch in histories[label][0]):
        titles[QUICK_ACCURACY] = "quick validation accuracy (%)"
    figure, plots = grid_of(len(titles), len(titles), (4.5 * len(titles), 4.2))
    for axes, (measure, title) in zip(plots, titles.items(), strict=True):
        scale = 100 if measure == QUICK_ACCURACY else 1
        for number, label in enumerate(shown):
            epochs = pd.DataFrame([epoch for history in histories[label] for epoch in history])
            if measure not in epochs or epochs[measure].isna().all():
                continue
            look, values = style(number), epochs.dropna(subset=measure).groupby("epoch")[measure]
            mean = scale * values.mean()
            every = max(1, len(mean) // 8)
            axes.plot(mean, label=short(label), markevery=every, **look)
            low, high = scale * values.min(), scale * values.max()
            axes.fill_between(mean.index, low, high, color=look["color"], alpha=0.15, lw=0)
        axes.set(xlabel="epoch", ylabel=title)
        axes.locator_params("x", integer=True)
    legend_below(figure, plots[0])
    cut = f"; the best and worst {MAX_LEARNING_CURVES // 2}" if len(shown) < len(histories) else ""
    figure.suptitle(f"learning: mean and range over seeds{cut}", fontsize="medium")
    return figure


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
        label: flatten(rows[0].trial.config.model_dump(mode="json"))
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
    """A curve for each configuration apart from the key; only dots if each has a single value."""
    curves: dict[str, list[str]] = {}
    ordered = sorted(values, key=lambda label: values[label])
    for label in ordered:
        name = results.labels.configuration(results.by_label[label][0].trial, leave_out=key)
        curves.setdefault(name, []).append(label)
    joined = len(curves) < len(values)
    if not joined:
        curves = {"configurations": ordered}
    title = f"test accuracy by {key}: mean and 95 % interval"
    figure, axes = axes_of(7, 4.6, xlabel=key, ylabel="test Acc@1 (%)", title=title)
    for number, (name, labels) in enumerate(curves.items()):
        look = style(number) if joined else {**style(number), "linestyle": "none"}
        shifted = spread_out([values[label] for label in labels], number, len(curves))
        axes.errorbar(shifted, *percents(results, labels), capsize=2, label=short(name), **look)
    published_xy = _published(results, values) if key == "method.queue_size" else []
    if published_xy:
        axes.plot(*zip(*published_xy, strict=True), "*", color="black", markersize=9,
                  label="published, single runs", linestyle="none")  # fmt: skip
    for name, mean in _untrained(results, list(values)).items():
        axes.axhline(mean, color="0.4", linestyle=(0, (1, 2)), label=name)
    show_numbers(axes, list(values.values()), log="queue_size" in key)
    percent_span(axes, MIN_AXIS_POINTS)
    legend_below(figure, axes)
    return figure


def percents(results: Results, labels: list[str]) -> tuple[list[float], list[list[float]]]:
    """Test accuracies in percent, and the lengths of their intervals below and above."""
    found = [results.accuracy(label, "test") for label in labels]
    rows = [bounds(x.mean, x.low, x.high) for x in found if x is not None]
    return [row[0] for row in rows], [[row[1] for row in rows], [row[2] for row in rows]]


def _published(results: Results, queues: dict[str, float]) -> list[tuple[float, float]]:
    """Queue size and accuracy (percent) of the published runs of these configurations."""
    found = []
    for label, queue in queues.items():
        config, sweep = results.by_label[label][0].trial.config, results.sweep
        run = published.find(sweep, config, config.dataset)
        stand_in = published.is_stand_in(sweep.datasets[config.dataset])
        if run is not None and run.queue_size == queue and not stand_in:
            found.append((queue, 100 * run.accuracy[1]))
    return found


def _untrained(results: Results, labels: list[str]) -> dict[str, float]:
    """Accuracy (percent) of the untrained student, if these configurations share one."""
    trials = [results.by_label[label][0].trial for label in labels]
    names = {results.labels.configuration(trial.untrained) for trial in trials}
    if len(names) > 1 or not names <= results.by_label.keys():
        return {}
    (name,) = names
    found = results.accuracy(name, "test")
    return {} if found is None else {name: 100 * found.mean}


def draw_importance(results: Results) -> Figure | None:
    """Each key's share of the variance, with its range over resamplings."""
    found = results.importances()
    if not found:
        return None
    figure, axes = axes_of(
        7,
        1.2 + 0.45 * len(found),
        xlabel=f"share of the variance of {results.sweep.objective.metric} (%)",
        title="hyperparameter importance: mean and 5 to 95 % of resamplings",
    )
    places = range(len(found))
    mean_N, *errors_2N = np.array([bounds(x.mean, x.low, x.high) for x in found.values()]).T
    axes.barh(places, mean_N, color=BLUE)
    errors = np.clip(errors_2N, 0, None)
    axes.errorbar(mean_N, places, xerr=errors, fmt="none", color="black", capsize=3)
    axes.set_yticks(places, list(found))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    return figure
