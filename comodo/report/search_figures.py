"""Figures of a search with many configurations: the objective in the order in which they were
tried, and parallel coordinates of their settings. Computes no metric itself.
"""

import math
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from comodo.evaluation.results import Results
from comodo.report import style
from comodo.report.names import key_name, metric_axis, scale_of, value_name

MIN_CONFIGURATIONS = 8  # fewer are read in the table
MAX_AXES = 8  # keys; the most important ones
MIN_INCHES = 1  # for each axis
MAX_TICKS = 4  # values with a tick each
ABSENT = "absent"
ABSENT_PLACE = -0.14  # below the axis, whose values are at 0 to 1
COLOURS = "viridis"  # light: better, readable in grey


def draw_history(results: Results) -> Figure | None:
    """The objective of each configuration in the order in which they were tried, with the best so
    far; pruned ones are marked on the axis. None for a grid, whose order says nothing."""
    order = [x for x in _tried(results) if results.sweep.search.sampler != "grid"]
    known = {x: found for x in order if (found := _score(results, x)) is not None}
    if len(known) < 2:
        return None
    metric, sign = _axis_name(results), results.sweep.objectives[0].sign
    figure, axes = style.axes_of(7, 3.4, xlabel="configurations in the order tried", ylabel=metric)
    places = {label: number for number, label in enumerate(order, 1)}
    axes.plot([places[x] for x in known], list(known.values()), "o", color=style.BLUE,
              markersize=4, label="configuration")  # fmt: skip
    best = sign * np.maximum.accumulate([sign * score for score in known.values()])
    axes.step([places[x] for x in known], best, where="post", color="0.2", label="best so far")
    states = {row.label: row.state for row in results.rows if row.label not in results.by_label}
    pruned = [place for label, place in places.items() if states.get(label) == "pruned"]
    if pruned:
        axes.plot(pruned, [0.02] * len(pruned), "x", color="0.4", markersize=5,
                  transform=axes.get_xaxis_transform(), label="pruned")  # fmt: skip
    if results.selected in known:
        axes.plot([places[results.selected]], [known[results.selected]], "D", color="#D55E00",
                  markersize=7, label="selected")  # fmt: skip
    axes.locator_params("x", integer=True)
    style.legend_below(figure, axes)
    return figure


@dataclass(frozen=True)
class Axis:
    """Where the values of one key are on its axis, from 0 to 1; absent ones below it."""

    name: str
    places: dict[str, float]
    """By label."""
    ticks: list[tuple[float, str]]


def draw_parallel(results: Results) -> Figure | None:
    """A line for each configuration across the values of the swept keys and the objective. A key
    that a configuration lacks has a place of its own, so that none is left out."""
    scores = {x: found for x in _tried(results) if (found := _score(results, x)) is not None}
    flat = {label: results.varying[label] for label in scores}
    values = {key: {x: _value(f, key) for x, f in flat.items()} for key in _keys(results)}
    varied = [key for key, of in values.items() if len(set(map(str, of.values()))) > 1]
    varied = varied[: min(MAX_AXES, int(style.width_of(99) / MIN_INCHES) - 1)]
    if len(scores) < MIN_CONFIGURATIONS or len(varied) < 2:
        return None
    metric = _axis_name(results)
    axes_of = [axis_of(key_name(key), values[key]) for key in varied]
    axes_of.append(axis_of(metric, dict(scores)))
    width = 1.6 + 1.35 * len(axes_of)
    room = style.width_of(width) / len(axes_of)  # inches for each axis
    figure, axes = style.axes_of(width, 4.0)
    axes.spines[:].set_visible(False)
    sign = results.sweep.objectives[0].sign
    better = sorted(scores, key=lambda x: sign * scores[x])
    ranks = {label: rank / len(better) for rank, label in enumerate(better)}
    colours = matplotlib.colormaps[COLOURS]
    others = [label for label in better if label != results.selected]
    lines = [list(enumerate(axis.places[label] for axis in axes_of)) for label in others]
    drawn = LineCollection(lines, colors=colours([ranks[x] for x in others]), lw=1, alpha=0.7)
    axes.add_collection(drawn)
    axes.autoscale_view()
    if results.selected in ranks:  # above the others
        look: dict[str, Any] = {"color": "#D55E00", "lw": 3}
        look["label"] = f"selected: {results.title(results.selected)}"
        axes.plot([axis.places[results.selected] for axis in axes_of], **look)
    for x, axis in enumerate(axes_of):
        axes.axvline(x, ymin=0.0, color="0.3", lw=1)
        for place, text in axis.ticks:
            box = {"facecolor": "white", "alpha": 0.8, "pad": 0.8, "edgecolor": "none"}
            name = style.wrapped(text, style.letters(0.9 * room))
            aligned = "top" if place > 0.8 and "\n" in name else "center"
            axes.text(x + 0.04, place, name, fontsize="small", va=aligned, bbox=box)
    names = [style.wrapped(axis.name, style.letters(0.85 * room)) for axis in axes_of]
    axes.set_xticks(range(len(axes_of)), names, fontsize="small")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(axes_of) - 0.4)
    style.legend_below(figure, axes)
    return figure


def axis_of(name: str, values: dict[str, Any]) -> Axis:
    """Numbers by their size, on a logarithmic scale if they span a wide range, others evenly."""
    present = {x: value for x, value in values.items() if value != ABSENT}
    numbers = all(type(value) in (int, float) for value in present.values())
    if numbers:
        low, high = min(present.values()), max(present.values())
        log = low > 0 and high >= 8 * low
        place = math.log if log else float
        span = (place(high) - place(low)) or 1.0
        places = {x: (place(value) - place(low)) / span for x, value in present.items()}
        inner = math.sqrt(low * high) if log else (low + high) / 2
        ticks = [(0.0, _number(low)), (0.5, _number(inner)), (1.0, _number(high))]
        if len(set(present.values())) <= MAX_TICKS:
            ticks = [((place(v) - place(low)) / span, _number(v)) for v in set(present.values())]
    else:
        known = sorted(set(map(str, present.values())))
        at = {text: n / max(len(known) - 1, 1) for n, text in enumerate(known)}
        places = {x: at[str(value)] for x, value in present.items()}
        ticks = [(place, text) for text, place in at.items()]
    if len(present) < len(values):
        ticks.append((ABSENT_PLACE, ABSENT))
    return Axis(name, {x: places.get(x, ABSENT_PLACE) for x in values}, ticks)


def _value(settings: dict[str, Any], key: str) -> Any:
    """A number, or the name of another value."""
    value = settings.get(key, ABSENT)
    return value if type(value) in (int, float) else value_name(key, value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _keys(results: Results) -> list[str]:
    """Swept keys, the most important ones first where that is known."""
    keys = ["method.name", *results.labels.keys]
    important = list(results.importances())
    return sorted(keys, key=lambda key: important.index(key) if key in important else len(keys))


def _tried(results: Results) -> list[str]:
    """Configurations without references, in the order in which they were proposed."""
    rows = (row for row in results.rows if not results.is_reference(row.trial))
    return list(dict.fromkeys(row.label for row in rows))


def _score(results: Results, label: str) -> float | None:
    """The objective, a share in percent."""
    found = results.objectives(label) if label in results.by_label else None
    scale = scale_of(results.sweep.objective.metric, results.sweep)
    return None if found is None else scale * found[0]


def _axis_name(results: Results) -> str:
    metric = results.sweep.objective.metric
    return metric_axis(metric, scale_of(metric, results.sweep))
