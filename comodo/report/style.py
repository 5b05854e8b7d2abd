"""What the figures of a report share: colours, markers, lines, axes and sizes; how they are saved.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind people can
distinguish; markers and lines differ too. A report's figures have no title: what they show is in
the caption below. Does not know what is drawn.
"""

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no display, no global state
from matplotlib.ticker import LogLocator

from comodo.core.store import atomic

BLUE, GREY = "#0072B2", "0.75"
COLORS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.25")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", ":", "-.")
DPI = 150
matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a class name is no formula
MAX_TICKS = 12  # values with a tick each
MIN_TICK_DISTANCE = 0.07  # share of the axis between two ticks
LETTER_WIDTH = 0.6  # of the height
PAPER: Any = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # TrueType: text that can be searched and edited
    "svg.fonttype": "none",  # text, not its outlines
}
_paper_width = ContextVar[float | None]("_paper_width", default=None)


@contextmanager
def on_paper(width: float) -> Iterator[None]:
    """Figures made in the block are `width` inches wide, with letters of a paper's size."""
    before = _paper_width.set(width)
    try:
        with matplotlib.rc_context(PAPER):
            yield
    finally:
        _paper_width.reset(before)


def is_on_paper() -> bool:
    return _paper_width.get() is not None


def width_of(width: float) -> float:
    """Inches of what is `width` inches wide on the page."""
    return _paper_width.get() or width


def scale() -> float:
    """Of letters, and so of rows: 1 on the page."""
    return float(matplotlib.rcParams["font.size"]) / 10


def letters(inches: float) -> int:
    """How many small letters fit."""
    return int(inches * 72 / (LETTER_WIDTH * 8.33 * scale()))


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
    """A figure with `count` plots without frames in a grid; size in inches on the page."""
    width, height = size
    figure = Figure(figsize=(width_of(width), scale() * height), layout="constrained")
    plots = list(figure.subplots(-(-count // columns), columns, squeeze=False, sharey=sharey).flat)
    for number, axes in enumerate(plots):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_visible(number < count)
    return figure, plots[:count]


def rows_of(
    names: Sequence[str], says: Sequence[str], width: float, xlabel: str
) -> tuple[Figure, Axes, list[float]]:
    """A figure with a row for each name, which is above what is drawn in the row, so that the
    figure is narrow enough for a phone; at the right end is what the row `says`. Also returns the
    heights of the rows."""
    room = letters(width_of(width)) - max(map(len, says)) - 4
    lines = [wrapped(name, room) for name in names]
    heights = [1 + 0.45 * text.count("\n") for text in lines]  # in rows of one line
    rows = list(accumulate(heights))
    figure, axes = axes_of(width, 0.75 + 0.42 * rows[-1], xlabel=xlabel)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over lines of the grid
    above: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "bottom",
                             "fontsize": "small", "bbox": box}  # fmt: skip
    for row, name, said in zip(rows, lines, says, strict=True):
        axes.text(0, row - 0.22, name, ha="left", **above)
        axes.text(1, row - 0.22, said, ha="right", **above)
    axes.set_ylim(rows[-1] + 0.4, 0.25)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure, axes, rows


def legend_below(figure: Figure, axes: Axes) -> None:
    """Below the plot, so that it covers nothing; the figure grows with its lines."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        across = letters(figure.get_figwidth())
        shown = [wrapped(name, across - 8) for name in names]
        longest = max(len(line) for name in shown for line in name.split("\n"))
        columns = max(1, min(3, across // (longest + 8)))
        lines = math.ceil(sum(1 + name.count("\n") for name in shown) / columns)
        figure.set_figheight(figure.get_figheight() + 0.18 * scale() * max(0, lines - 2))
        figure.legend(handles, shown, loc="outside lower center", ncols=columns, fontsize="small")


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
        labels = [f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for value in ordered]
        axes.set_xticks(ordered, labels, **turned_if_crowded(axes, labels))
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


def letters_below(axes: Axes) -> int:
    """How many letters fit below a plot."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure is not None and place is not None
    return letters(0.85 * figure.get_figwidth() / place.get_gridspec().ncols)


def turned_if_crowded(axes: Axes, labels: list[str]) -> dict[str, Any]:
    """How the labels of an x axis with evenly spread ticks are set."""
    widths = [max(map(len, label.split("\n"))) + 2 for label in labels]
    crowded = max(widths) * len(labels) > letters_below(axes)
    return {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


class _Wrapper(textwrap.TextWrapper):
    """Lines may also end after `+`, `,` and `/`, as in names of channels."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=[+,/]))")


class _NarrowWrapper(textwrap.TextWrapper):
    """And within names, but not within numbers."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=[+,/_=])|(?<=[a-z]\.))")


def wrapped(text: str, most: int) -> str:
    """The text on lines of at most so many letters; nothing is cut."""
    parts = _Wrapper.wordsep_simple_re.split(text)
    wrapper = _Wrapper if max(map(len, parts)) <= most else _NarrowWrapper
    return wrapper(max(most, 1), break_on_hyphens=False).fill(text)


def save_figure(figure: Figure, path: Path) -> None:
    """Saves the figure as PNG and SVG; equal figures give equal bytes."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    with atomic(path.with_suffix(".svg")) as temporary:
        temporary.write_bytes(as_bytes(figure, "svg"))


def as_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as `svg` or `pdf`, without the time of day."""
    content = io.BytesIO()
    undated = {"Date": None} if kind == "svg" else {"CreationDate": None}
    with matplotlib.rc_context({"svg.hashsalt": "comodo"}):
        figure.savefig(content, format=kind, metadata=undated)
    return content.getvalue()
