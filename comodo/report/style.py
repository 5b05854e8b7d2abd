"""What the figures of a report share: colours, markers, lines and axes; how they are saved.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind people can
distinguish; markers and lines differ too. Does not know what is drawn.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no display, no global state
from matplotlib.ticker import LogLocator

from comodo.core.store import atomic
from comodo.search.labels import rounded

BLUE, GREY = "#0072B2", "0.75"
COLORS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.25")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", ":", "-.")
DPI = 150
matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a class name is no formula
MAX_TICKS = 12  # values with a tick each
MIN_TICK_DISTANCE = 0.07  # share of the axis between two ticks
MAX_NAME_LETTERS = 70  # letters of a name in a figure


def of_curve(number: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th curve, `number` from 0."""
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 5,
    }


def axes_of(width: float, height: float, **labels: str) -> tuple[Figure, Axes]:
    """A figure with one plot without a frame; sizes in inches, `labels` as for `Axes.set`."""
    figure, (axes,) = grid_of(1, 1, (width, height))
    axes.set(**labels)
    axes.title.set_fontsize("medium")
    return figure, axes


def grid_of(
    count: int, columns: int, size: tuple[float, float], sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` plots without frames in a grid; size in inches."""
    figure = Figure(figsize=size, layout="constrained")
    plots = list(figure.subplots(-(-count // columns), columns, squeeze=False, sharey=sharey).flat)
    for number, axes in enumerate(plots):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_visible(number < count)
    return figure, plots[:count]


def legend_below(figure: Figure, axes: Axes) -> None:
    """Below the plot, so that it covers nothing; the figure grows with its lines."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        columns = max(1, min(3, 90 // max(map(len, names))))
        lines = math.ceil(len(names) / columns)
        figure.set_figheight(figure.get_figheight() + 0.18 * max(0, lines - 2))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize="small")


def show_numbers(axes: Axes, values: list[float], log: bool = False) -> None:
    """Sets up the axis of a swept number: logarithmic if requested or if the values span a wide
    range; with a tick for each value if those are far enough apart."""
    ordered = sorted(set(values))
    log = ordered[0] > 0 and (log or ordered[-1] >= 8 * ordered[0])
    if log:
        axes.set_xscale("log")
    places = [math.log(value) if log else value for value in ordered]
    nearest = min((b - a for a, b in pairwise(places)), default=1)
    if nearest >= MIN_TICK_DISTANCE * (places[-1] - places[0]):
        turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if len(ordered) > 5 else {}
        labels = [f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for value in ordered]
        axes.set_xticks(ordered, labels, **turned)
        axes.minorticks_off()
    elif log:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()


def spread_out(values: list[float], number: int, of: int) -> list[float]:
    """Horizontal positions of the i-th (`number`) of several curves, shifted so that intervals do
    not hide each other."""
    shift = number - (of - 1) / 2
    if min(values) > 0:
        return [value * (1 + 0.02 * shift) for value in values]
    return [value + 0.01 * shift * (max(values) - min(values)) for value in values]


def percent_span(axes: Axes, least: float) -> None:
    """Widens an axis of percent to at least `least` points, so that noise looks like no effect."""
    low, high = axes.get_ylim()
    middle, half = (low + high) / 2, max(high - low, least) / 2
    axes.set_ylim(max(middle - half, min(low, 0)), min(middle + half, max(high, 100)))


def short(name: str, most: int = MAX_NAME_LETTERS) -> str:
    name = rounded(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def save_figure(figure: Figure, path: Path) -> None:
    """Saves the figure as PNG and SVG; equal figures give equal bytes."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    with matplotlib.rc_context({"svg.hashsalt": "comodo"}), atomic(path.with_suffix(".svg")) as svg:
        figure.savefig(svg, format="svg", metadata={"Date": None})
