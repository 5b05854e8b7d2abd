"""The figures of a report, drawn from `Results` with matplotlib; computes no metric itself."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comodo.config.metric import Metric, accuracy
from comodo.evaluation.results import Results
from comodo.evaluation.scoring import scored_metric
from comodo.evaluation.stats import Interval
from comodo.evaluation.transfer import transfer_grid
from comodo.report import curves, search_figures, style
from comodo.report.accuracy import MAX_SHOWN, ranked
from comodo.report.differences import draw_differences, forest_caption
from comodo.report.fine_tuning import draw_fine_tuning
from comodo.report.names import key_name, metric_axis, metric_name, scale_of, value_name
from comodo.report.tables import mean_cell, star, test_accuracy

MIN_EFFECT_POINTS = 10  # range of the accuracy axis, in points
MIN_SPAN_POINTS = 5  # of the axis of all configurations
MAX_ON_PAPER = 10  # configurations in a figure of a paper, besides references
MIN_VALUE_LETTERS, VALUE_LETTERS = 8, 24  # of a line of a value's name, upright or turned
MIN_PLOT_INCHES = 1.7  # width of one of several plots
MIN_CLASS_INCHES = 0.2  # width of a class in the confusion matrix, labels of the axis included

PercentsByValue = list[tuple[Any, list[float]]]
"""Each value of a key, with the scores in percent of the configurations that have it."""


def draw_figures(results: Results, folder: Path) -> dict[str, str]:
    """Saves the figures that the results have data for, as PNG and SVG.

    Returns what each shows, by the name of its PNG file.
    """
    made = {}
    for name, (shows, figure) in drawn_figures(results).items():
        style.save_figure(figure, folder / f"{name}.png")
        made[f"{name}.png"] = shows
    return made


def drawn_figures(results: Results) -> dict[str, tuple[str, Figure]]:
    """What each figure that the results have data for shows, and the figure, by name."""
    metric = metric_name(results.sweep.objective.metric)
    drawn = {
        "differences": (forest_caption(results), draw_differences(results)),
        "accuracy": (_accuracy_caption(results), _accuracy(results)),
        "transfer": ("transfer: test Acc@1 (%), 95 % interval", _transfer(results)),
        "few_shot": ("accuracy with few labels: mean and 95 % interval", _few_shot(results)),
        "fine_tuned": (
            "accuracy of the frozen and of the fine-tuned student: mean and 95 % interval",
            draw_fine_tuning(results),
        ),
        "effects": (
            f"{metric} by value of each key; dots: configurations, diamonds: their mean",
            _effects(results),
        ),
        "history": (f"{metric} in the order tried", search_figures.draw_history(results)),
        "parallel": (
            "settings of each configuration; a light line: a better objective",
            search_figures.draw_parallel(results),
        ),
        "importance": (
            f"share of the variance of {metric} that each key explains: mean, and 5 to 95 % of "
            "resamplings",
            curves.draw_importance(results),
        ),
        "pareto": (
            "Pareto front: no other configuration is better in both",
            curves.draw_pareto(results),
        ),
        "learning": (curves.learning_caption(results), curves.draw_learning(results)),
        "confusion": (
            f"confusion of {results.title(results.selected)}; each row sums to 100 %"
            if results.selected is not None
            else "",
            _confusion(results),
        ),
    }
    for key, curve in curves.draw_by_numbers(results).items():
        shows = f"{test_accuracy(results)} by {key_name(key)}: mean and 95 % interval"
        drawn[f"by_{key.replace('.', '_')}"] = (shows, curve)
    return {name: (shows, figure) for name, (shows, figure) in drawn.items() if figure is not None}


def _shown_accuracies(results: Results) -> list[str]:
    """References and the best of the others, all of which have a test accuracy."""
    finished = [label for label in ranked(results) if label in results.by_label]
    known = [x for x in finished if results.accuracy(x, "test") is not None]
    own = [x for x in known if not results.is_reference(results.by_label[x][0].trial)]
    return [x for x in known if x not in own[_most_shown() :]]


def _most_shown() -> int:
    return MAX_ON_PAPER if style.is_on_paper() else MAX_SHOWN


def _accuracy_caption(results: Results) -> str:
    own = [x for x in results.by_label if not results.is_reference(results.by_label[x][0].trial)]
    most = _most_shown()
    cut = f" (the best {most} of {len(own)})" if len(own) > most else ""
    noted = f"; {star(results)}" if star(results) else ""
    return (
        f"{test_accuracy(results)} by configuration{cut}: mean, 95 % interval, and each seed as a "
        f"small dot; filled: selected, diamonds: references{noted}"
    )


def _accuracy(results: Results) -> Figure | None:
    """The mean of each configuration with its interval, and below it the seeds."""
    labels = _shown_accuracies(results)
    if not labels:
        return None
    means, errors = curves.percents(results.accuracy(label, "test") for label in labels)
    says = [mean_cell(results.accuracy(label, "test")) for label in labels]
    xlabel = f"{test_accuracy(results)} (%)"
    titles = [results.title(label) for label in labels]
    figure, axes, rows = style.rows_of(titles, says, 5.6, xlabel)
    axes.grid(axis="x", color="0.9", lw=0.6)
    for label, title, row, mean, *sides in zip(labels, titles, rows, means, *errors, strict=True):
        trials = results.by_label[label]
        name = scored_metric(accuracy("test"), trials[0].trial, results.sweep)
        found = {trial.trial.number: trial.metrics.get(name) for trial in trials}
        of_seeds = pd.Series(found, dtype=float).groupby(level=0).mean().dropna()
        reference = results.is_reference(trials[0].trial)
        color = "0.35" if reference else style.BLUE
        axes.errorbar(
            [mean], [row], xerr=[[side] for side in sides], fmt="D" if reference else "o",
            color=color, markerfacecolor=color if label == results.selected else "white",
            capsize=3, markersize=6, label=title,
        )  # fmt: skip
        seeds = [100 * value for value in of_seeds]
        axes.plot(seeds, [row + 0.22] * len(seeds), ".", color="0.2", markersize=4)
    low, high = axes.get_xlim()
    middle, half = (low + high) / 2, max(high - low, MIN_SPAN_POINTS) / 2
    axes.set_xlim(max(middle - half, 0), min(middle + half, 100))
    return figure


def _transfer(results: Results) -> Figure | None:
    datasets = results.tested_on
    if len(datasets) < 2 or not (grid := transfer_grid(results)):
        return None
    cells = [[row.cells[name] for name in datasets] for row in grid]
    values = np.array([[math.nan if x is None else 100 * x.mean for x in row] for row in cells])
    width = 4.5 + 1.2 * len(datasets)
    most = style.letters(0.3 * style.width_of(width))
    students = [style.wrapped(f"{row.trained_on}: {row.label}", most) for row in grid]
    lines = sum(1 + max(1, name.count("\n")) for name in students)
    labels = {"xlabel": "tested on", "ylabel": "trained on: student"}
    figure, axes = style.axes_of(width, 1.4 + 0.25 * lines, **labels)
    low, high = np.nanmin(values), np.nanmax(values)
    middle, half = (low + high) / 2, max(high - low, MIN_EFFECT_POINTS) / 2
    span = {"vmin": middle - half, "vmax": middle + half}
    image = axes.imshow(values, cmap="cividis", aspect="auto", **span)
    for (y, x), value in np.ndenumerate(values):
        cell = cells[y][x]
        text = "–" if cell is None else f"{value:.1f}"
        if cell is not None and not math.isnan(cell.low):
            text += f"\n{100 * cell.low:.0f}–{100 * cell.high:.0f}"
        color = "white" if value < middle else "black"
        axes.text(x, y, text, ha="center", va="center", color=color, fontsize="small")
    axes.set_xticks(range(len(datasets)), datasets, **style.turned_if_crowded(axes, datasets))
    axes.set_yticks(range(len(grid)), students, fontsize="small")
    figure.colorbar(image, ax=axes)
    return figure


def _few_shot(results: Results) -> Figure | None:
    curves_of = {x: curve for x in results.by_label if (curve := _few_shot_curve(results, x))}
    if not curves_of:
        return None
    figure, axes = style.axes_of(
        7,
        4.8,
        xlabel="labelled windows of each class",
        ylabel=f"{test_accuracy(results)} (%) of a linear classifier",
    )
    for number, (label, curve) in enumerate(curves_of.items()):
        shots = list(curve)
        shifted = style.spread_out([float(shot) for shot in shots], number, len(curves_of))
        found, look = curves.percents(curve.values()), style.of_curve(number)
        saw_all = results.by_label[label][0].trial.config.method.needs_labels
        name = results.title(label) + ", trained with all labels" * saw_all
        axes.errorbar(shifted, *found, capsize=2, label=name, **look)
    axes.set_xscale("log")
    axes.set_xticks(shots, [str(shot) for shot in shots])
    axes.minorticks_off()
    style.legend_below(figure, axes)
    return figure


def _few_shot_curve(results: Results, label: str) -> dict[int, Interval]:
    """Accuracy by number of labelled windows of each class."""
    curve, there = {}, results.elsewhere
    for metric in map(Metric.parse, results.by_label[label][0].metrics):
        if metric.measure == "few-shot" and metric.dataset == there and metric.name.isdecimal():
            measured = results.measure(label, str(metric))
            assert measured is not None
            curve[int(metric.name)] = measured
    return dict(sorted(curve.items()))


def _effects(results: Results) -> Figure | None:
    effects = results.main_effects()
    if not effects:
        return None
    metric = results.sweep.objective.metric
    scale = scale_of(metric, results.sweep)
    columns = min(3, len(effects), max(1, int(style.width_of(9.9) / MIN_PLOT_INCHES)))
    width = 3.1 * columns + 0.6
    row = min(3.1, 1.1 * style.width_of(width) / columns / style.scale())
    size = width, row * math.ceil(len(effects) / columns)
    figure, plots = style.grid_of(len(effects), columns, size, sharey=True)
    highest = 0.0  # inches of ticks with several lines, or turned
    for axes, (key, values) in zip(plots, effects.items(), strict=True):
        axes.set_xlabel(key_name(key))
        shown = [(value, [scale * score for score in scores]) for value, scores in values]
        numbers = all(isinstance(value, int | float) for value, _ in values)
        once = all(len(scores) == 1 for _, scores in values)
        if numbers and (once or len(values) > style.MAX_TICKS):
            _draw_dots(axes, shown)
        else:
            names = [value_name(key, value) for value, _ in values]
            line = "D-" if numbers else "D"
            height = _draw_means(axes, names, [scores for _, scores in shown], line)
            highest = max(highest, height)
    if scale == 100:
        style.percent_span(plots[0], MIN_EFFECT_POINTS)
    figure.set_figheight(figure.get_figheight() + highest * math.ceil(len(effects) / columns))
    figure.supylabel(metric_axis(metric, scale), fontsize="medium")
    return figure


def _draw_dots(axes: Axes, values: PercentsByValue) -> None:
    """A dot for each configuration, by the number itself."""
    xs = [value for value, scores in values for _ in scores]
    axes.plot(xs, [score for _, scores in values for score in scores], ".", color=style.BLUE)
    style.show_numbers(axes, xs)


def _draw_means(axes: Axes, names: list[str], percents: list[list[float]], line: str) -> float:
    """A tick for each value, with its mean and a dot for each configuration. Returns how much
    higher than two lines of text the ticks are, in inches."""
    for place, scores in enumerate(percents):
        axes.plot([place] * len(scores), scores, ".", color="0.6")
    axes.plot([statistics.mean(scores) for scores in percents], line, color=style.BLUE)
    room = style.letters_below(axes) // len(names) - 2
    most = room if room >= MIN_VALUE_LETTERS else VALUE_LETTERS
    shown = [style.wrapped(name, most) for name in names]
    counts = [f"(n={len(scores)})" for scores in percents]
    counted = list(map("\n".join, zip(shown, counts, strict=True)))
    lines, letters = max(text.count("\n") for text in counted) - 1, 0
    if turned := style.turned_if_crowded(axes, counted):
        counted = list(map(" ".join, zip(shown, counts, strict=True)))
        letters = max(len(part) for text in counted for part in text.split("\n")) - 4
    axes.set_xticks(range(len(counted)), counted, fontsize="small", **turned)
    axes.margins(x=0.15)
    return style.scale() * (0.14 * lines + 0.05 * letters)


def _confusion(results: Results) -> Figure | None:
    label = results.selected
    if label is None or results.accuracy(label, "test") is None:
        return None
    predictions = results.test_predictions(label)
    counts = pd.crosstab(predictions.label, predictions.predicted, normalize="index")
    classes = sorted({*counts.index, *counts.columns})
    shares = 100 * counts.reindex(index=classes, columns=classes, fill_value=0).to_numpy()
    size = 2.5 + 0.42 * len(classes)
    if style.width_of(size) < MIN_CLASS_INCHES * len(classes):
        return None  # their names would overlap
    height = min(size, style.width_of(size + 0.8) / style.scale() - 0.8)
    figure, axes = style.axes_of(size + 0.8, height, xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(True)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if len(classes) <= 15:
        for (y, x), share in np.ndenumerate(shares):
            color = "white" if share > 50 else "black"
            axes.text(x, y, f"{share:.0f}", ha="center", va="center", color=color, fontsize="small")
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize="small")
    axes.set_yticks(range(len(classes)), classes, fontsize="small")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
