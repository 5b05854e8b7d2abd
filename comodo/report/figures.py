"""The figures of a report, drawn from `Results` with matplotlib; computes no metric itself."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comodo.config import NoneMethod, SupervisedMethod
from comodo.config.metric import Metric, accuracy
from comodo.evaluation.results import Results
from comodo.evaluation.scoring import scored_metric
from comodo.evaluation.stats import Interval
from comodo.report import curves, search_figures, style
from comodo.report.accuracy import MAX_SHOWN, ranked
from comodo.report.differences import draw_differences, forest_caption
from comodo.report.fine_tuning import draw_fine_tuning
from comodo.report.tables import star, test_accuracy

MIN_EFFECT_POINTS = 10  # range of the accuracy axis, in points
CROWDED_LETTERS = 30  # letters of tick labels below one plot
MAX_VALUE_LETTERS = 24

PercentsByValue = list[tuple[Any, list[float]]]
"""Each value of a key, with the scores in percent of the configurations that have it."""


def draw_figures(results: Results, folder: Path) -> dict[str, str]:
    """Saves the figures that the results have data for, as PNG and SVG.

    Returns what each shows, by the name of its PNG file.
    """
    drawn = {
        "differences.png": (forest_caption(results), draw_differences(results)),
        "accuracy.png": ("test accuracy by configuration", _accuracy(results)),
        "transfer.png": ("transfer grid", _transfer(results)),
        "few_shot.png": ("accuracy against labelled windows", _few_shot(results)),
        "fine_tuned.png": ("frozen and fine-tuned accuracy", draw_fine_tuning(results)),
        "effects.png": ("mean objective by value of each key", _effects(results)),
        "history.png": ("the objective in the order tried", search_figures.draw_history(results)),
        "parallel.png": (
            "settings of each configuration; a light line: a better objective",
            search_figures.draw_parallel(results),
        ),
        "importance.png": ("share of the variance by key", curves.draw_importance(results)),
        "pareto.png": ("configurations and their Pareto front", curves.draw_pareto(results)),
        "learning.png": ("learning curves", curves.draw_learning(results)),
        "confusion.png": ("confusion of the selected configuration", _confusion(results)),
    }
    for key, curve in curves.draw_by_numbers(results).items():
        drawn[f"by_{key.replace('.', '_')}.png"] = (f"test accuracy by {key}", curve)
    made = {}
    for name, (shows, figure) in drawn.items():
        if figure is not None:
            style.save_figure(figure, folder / name)
            made[name] = shows
    return made


def _accuracy(results: Results) -> Figure | None:
    """Bars: mean. Lines: interval. Dots: seeds."""
    known = [x for x in results.by_label if results.accuracy(x, "test") is not None]
    if not known:
        return None
    references = [x for x in known if results.is_reference(results.by_label[x][0].trial)]
    best = [x for x in ranked(results) if x in known and x not in references][:MAX_SHOWN]
    labels = [x for x in known if x in (*references, *best)]
    longest = max(len(style.short(results.title(label))) for label in labels)
    title = f"{results.sweep.name}: IMU-only accuracy of the probe"
    figure, axes = style.axes_of(5 + 0.07 * longest, 1.4 + 0.45 * len(labels), title=title)
    heights = range(len(labels))
    means, errors = curves.percents(results.accuracy(label, "test") for label in labels)
    methods = [results.by_label[label][0].trial.config.method for label in labels]
    grey = [isinstance(method, NoneMethod | SupervisedMethod) for method in methods]
    axes.barh(heights, means, color=[style.GREY if x else style.BLUE for x in grey])
    for color, width in (("white", 3.5), ("black", 1.5)):  # readable on bars and beyond
        axes.errorbar(means, heights, xerr=errors, fmt="none", color=color, elinewidth=width)
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.6}
    for height, label in enumerate(labels):
        rows = results.by_label[label]
        name = scored_metric(accuracy("test"), rows[0].trial, results.sweep)
        found = {row.trial.number: row.metrics.get(name) for row in rows}
        of_seeds = pd.Series(found, dtype=float).groupby(level=0).mean().dropna()
        seeds = [100 * value for value in of_seeds]
        axes.plot(seeds, [height + 0.2] * len(seeds), "o", color="black", markersize=4, **edge)
        right = max(means[height] + errors[1][height], *seeds)
        axes.annotate(f"{means[height]:.1f}", (right, height), (6, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_yticks(heights, [style.short(results.title(label)) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    says = [
        f"{test_accuracy(results)} (%): bar = mean, line = 95 % interval, dots = seeds",
        star(results),
        f"the best {MAX_SHOWN} of {len(known) - len(references)}"
        if len(labels) < len(known)
        else "",
    ]
    axes.set_xlabel("\n".join(filter(None, says)), loc="right")  # there is room below the names
    return figure


def _transfer(results: Results) -> Figure | None:
    grid, datasets = results.transfer(), results.tested_on
    if len(datasets) < 2 or not grid:
        return None
    cells = [[row.cells[name] for name in datasets] for row in grid]
    values = np.array([[math.nan if x is None else 100 * x.mean for x in row] for row in cells])
    figure, axes = style.axes_of(
        4.5 + 1.2 * len(datasets),
        1.4 + 0.5 * len(grid),
        xlabel="tested on",
        ylabel="trained on: student",
        title="transfer: test Acc@1 (%), 95 % interval",
    )
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
    axes.set_xticks(range(len(datasets)), datasets)
    students = [style.short(f"{row.trained_on}: {row.label}") for row in grid]
    axes.set_yticks(range(len(grid)), students)
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
        title=f"{results.sweep.name}: few labels, mean and 95 % interval",
    )
    for number, (label, curve) in enumerate(curves_of.items()):
        shots = list(curve)
        shifted = style.spread_out([float(shot) for shot in shots], number, len(curves_of))
        found, look = curves.percents(curve.values()), style.of_curve(number)
        saw_all = results.by_label[label][0].trial.config.method.needs_labels
        name = style.short(results.title(label)) + ", trained with all labels" * saw_all
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
    columns = min(3, len(effects))
    size = 3.1 * columns + 0.6, 3.1 * math.ceil(len(effects) / columns) + 0.4
    figure, plots = style.grid_of(len(effects), columns, size, sharey=True)
    legend = "dots: configurations"
    for axes, (key, values) in zip(plots, effects.items(), strict=True):
        axes.set_title(key, fontsize="medium")
        percents = [(value, [100 * score for score in scores]) for value, scores in values]
        numbers = all(isinstance(value, int | float) for value, _ in values)
        once = all(len(scores) == 1 for _, scores in values)
        if numbers and (once or len(values) > style.MAX_TICKS):
            _draw_dots(axes, percents)
        else:
            _draw_means(axes, percents, "D-" if numbers else "D")
            legend = "diamonds: mean, dots: configurations"
    style.percent_span(plots[0], MIN_EFFECT_POINTS)
    for axes in plots[::columns]:
        axes.set_ylabel(f"{results.sweep.objective.metric} (%)")
    figure.suptitle(legend, fontsize="medium")
    return figure


def _draw_dots(axes: Axes, values: PercentsByValue) -> None:
    """A dot for each configuration, by the number itself."""
    xs = [value for value, scores in values for _ in scores]
    axes.plot(xs, [score for _, scores in values for score in scores], ".", color=style.BLUE)
    style.show_numbers(axes, xs)


def _draw_means(axes: Axes, values: PercentsByValue, line: str) -> None:
    """A tick for each value, with its mean and a dot for each configuration."""
    for place, (_, scores) in enumerate(values):
        axes.plot([place] * len(scores), scores, ".", color="0.6")
    axes.plot([statistics.mean(scores) for _, scores in values], line, color=style.BLUE)
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value, _ in values]
    shown = [style.short(text, MAX_VALUE_LETTERS) for text in shown]
    crowded = sum(len(text) + 3 for text in shown) > CROWDED_LETTERS
    turned: dict[str, Any] = {"rotation": 60, "ha": "right"} if crowded else {}
    counts = [f"(n={len(scores)})" for _, scores in values]
    names = map((" " if crowded else "\n").join, zip(shown, counts, strict=True))
    axes.set_xticks(range(len(values)), list(names), fontsize="small", **turned)
    axes.margins(x=0.15)


def _confusion(results: Results) -> Figure | None:
    label = results.selected
    if label is None or results.accuracy(label, "test") is None:
        return None
    predictions = results.test_predictions(label)
    counts = pd.crosstab(predictions.label, predictions.predicted, normalize="index")
    classes = sorted({*counts.index, *counts.columns})
    shares = 100 * counts.reindex(index=classes, columns=classes, fill_value=0).to_numpy()
    size = 2.5 + 0.42 * len(classes)
    title = style.short(results.title(label))
    labels = {"xlabel": "predicted", "ylabel": "true (each row sums to 100 %)", "title": title}
    figure, axes = style.axes_of(size + 0.8, size, **labels)
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
