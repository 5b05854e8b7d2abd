"""The figures of a data set's quality, drawn with matplotlib; measures nothing itself."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from comodo.core.store import atomic
from comodo.data.quality import QUALITY_CHECKS, class_windows
from comodo.data.recordings import IN_FOLDS
from comodo.report.style import axes_of, grid_of

# Dark to light, also when printed in grey.
SHADES = {"train": "#1f4e79", "val": "#6fa8dc", "test": "#d9e8f6", IN_FOLDS: "#6fa8dc"}
BARS: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.6}
MAX_CLASSES = 40
BINS = 30
RATE_TITLE = "sampling rate (Hz)"


def class_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Windows of each class (rows, most first) in each split that has labels (columns)."""
    rows = table[table.rejected.isna()].to_dict("records")
    found = [(row["split"], *of) for row in rows for of in class_windows(row).items()]
    labelled = pd.DataFrame(found, columns=["split", "label", "windows"])
    counts = labelled.pivot_table("windows", "label", "split", "sum", fill_value=0)
    counts = counts[[split for split in SHADES if split in counts]]
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return counts.loc[order]


def draw_quality(name: str, table: pd.DataFrame, folder: Path) -> list[tuple[str, str]]:
    """Saves the figures that the table has data for; returns each file name and what it shows."""
    made = []
    for file, shows, figure in (
        ("classes.png", "windows of each class and split", _classes(name, table)),
        ("measures.png", "measures of the recordings, with their limits", _measures(name, table)),
        ("offsets.png", "time offsets between camera and IMU", _offsets(name, table)),
    ):
        if figure is not None:
            with atomic(folder / file) as temporary:
                figure.savefig(temporary, format="png", dpi=150)
            made.append((file, shows))
    return made


def _classes(name: str, table: pd.DataFrame) -> Figure | None:
    counts = class_counts(table)
    shown = counts.iloc[:MAX_CLASSES]
    if not len(shown):
        return None
    cut = f" ({len(shown)} largest of {len(counts)})" if len(shown) < len(counts) else ""
    title = f"{name}: windows of each class{cut}"
    figure, axes = axes_of(7, 1.6 + 0.26 * len(shown), xlabel="windows", title=title)
    left = pd.Series(0, shown.index)
    for split in shown:
        color = SHADES[str(split)]
        axes.barh(range(len(shown)), shown[split], left=left, label=split, color=color, **BARS)
        left = left + shown[split]
    axes.set_yticks(range(len(shown)), [str(label) for label in shown.index], fontsize="small")
    axes.invert_yaxis()
    axes.margins(y=0.5 / len(shown))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=max(1, len(shown.columns)), frameon=False)
    return figure


def _measures(name: str, table: pd.DataFrame) -> Figure | None:
    """Dashed lines: limits outside of which a recording is flagged."""
    measured = table[table.rate.notna()]
    if not len(measured):
        return None
    checks = [
        check
        for check in QUALITY_CHECKS
        if measured[check.column].notna().any() and (check.high > 0 or check.flags(measured).any())
    ]
    figure, plots = grid_of(len(checks) + 1, 3, (11, 2.3 * (len(checks) // 3 + 1) + 0.5))
    _histogram(plots[0], RATE_TITLE, measured.rate)
    for axes, check in zip(plots[1:], checks, strict=True):
        values = measured[check.column].dropna()
        _histogram(axes, check.title, values)
        low, high = axes.get_xlim()
        for limit in (check.low, check.high):
            if low < limit < high and limit != 0:  # nothing is below 0
                axes.axvline(limit, color="black", linestyle="--", linewidth=1.2)
        flagged = int(check.flags(measured).sum())
        axes.set_title(f"{flagged:,} of {len(values):,} flagged", fontsize="small", loc="right")
    figure.suptitle(f"{name}: measures of the recordings; dashed lines are limits")
    return figure


def _histogram(axes: Any, title: str, values: "pd.Series[float]") -> None:
    low, high = float(values.min()), float(values.max())
    width = 0.1 * max(1.0, abs(high))  # equal values get one bar and readable ticks
    if high - low < 0.01 * width:
        low, high = low - (width if low > width else 0), high + width
    # On a log scale one recording among thousands still shows.
    many = len(values) > 50
    axes.hist(values, BINS, range=(low, high), log=many, color=SHADES["val"], **BARS)
    if many:
        axes.set_ylim(bottom=0.7)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set(xlabel=title, ylabel="recordings")


def _offsets(name: str, table: pd.DataFrame) -> Figure | None:
    """Filled: reliable. Hollow: not reliable, for too little rotation or correlation."""
    found = table[table.offset.notna()] if "offset" in table else table[:0]
    if not len(found):
        return None
    title = f"{name}: time offset of the IMU from the camera"
    xlabel = "seconds to add to the IMU's clock"
    figure, axes = axes_of(7, 1.6 + 0.3 * len(found), xlabel=xlabel, title=title)
    for reliable, label, inside in ((True, "reliable", "black"), (False, "not reliable", "white")):
        heights = [i for i, good in enumerate(found.offset_reliable) if bool(good) is reliable]
        axes.plot(found.offset.iloc[heights], heights, "o", color="black", markerfacecolor=inside,
                  label=label)  # fmt: skip
    axes.axvline(0, color="0.6", linewidth=1, zorder=0)
    axes.set_yticks(range(len(found)), [str(id) for id in found.recording], fontsize="small")
    axes.set_ylim(len(found) - 0.5, -0.5)
    reach = 1.1 * max(0.1, float(found.offset.abs().max()))
    axes.set_xlim(-reach, reach)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
