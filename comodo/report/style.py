"""What the pictures of a report share: colours, markers, lines, axes; and how they are kept.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind people can
tell apart; without colour, markers and lines do it.
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
matplotlib.rcParams["text.parse_math"] = False  # a dollar in a class's name is a dollar
MAX_TICKS = 12  # values of a number that each have one
MIN_TICK_DISTANCE = 0.07  # of an axis, between two values that each have a tick
MAX_WIDTH = 70  # letters of a name in a picture


def style(number: int) -> dict[str, Any]:
    """Colour, marker and line of the so-manieth of several curves."""
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 5,
    }


def axes_of(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure (inches) of one plot without a frame."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend_below(figure: Figure, axes: Axes) -> None:
    """Where it covers nothing, however long the names are; the figure grows with its lines."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        columns = max(1, min(3, 90 // max(map(len, names))))
        lines = math.ceil(len(names) / columns)
        figure.set_figheight(figure.get_figheight() + 0.18 * max(0, lines - 2))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize="small")


def show_numbers(axes: Axes, values: list[float], log: bool = False) -> None:
    """The axis of a swept number: logarithmic if asked or if they span much; with a tick for each
    value where those lie far enough apart."""
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


def legend_beside(values: list[float], number: int, of: int) -> list[float]:
    """Where the so-manieth of several curves has its dots, or intervals would hide each other."""
    aside = number - (of - 1) / 2
    if min(values) > 0:
        return [value * (1 + 0.02 * aside) for value in values]
    return [value + 0.01 * aside * (max(values) - min(values)) for value in values]


def percent_span(axes: Axes, least: float) -> None:
    """Widens the axis of percent to at least so many points: or noise would look like an effect."""
    low, high = axes.get_ylim()
    middle, half = (low + high) / 2, max(high - low, least) / 2
    axes.set_ylim(max(middle - half, min(low, 0)), min(middle + half, max(high, 100)))


def short(name: str) -> str:
    name = rounded(name)
    return name if len(name) <= MAX_WIDTH else f"{name[: MAX_WIDTH - 1]}…"


def keep(figure: Figure, path: Path) -> None:
    """Writes the picture as PNG, and beside it as SVG, the same bytes each time."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    with matplotlib.rc_context({"svg.hashsalt": "comodo"}), atomic(path.with_suffix(".svg")) as svg:
        figure.savefig(svg, format="svg", metadata={"Date": None})


def bounds(mean: float, low: float, high: float) -> tuple[float, float, float]:
    """In percent; without an interval both bounds are the mean."""
    if math.isnan(low):
        low = high = mean
    return 100 * mean, 100 * (mean - low), 100 * (high - mean)
