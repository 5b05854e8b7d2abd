"""Paired differences between configurations: a table, and a forest plot of those from the selected
one. Does not know how they are computed, nor the page around them.
"""

import math
from dataclasses import replace

from matplotlib.figure import Figure

from comodo.config import NoneMethod
from comodo.evaluation.results import Difference, Results
from comodo.report import style
from comodo.report.accuracy import ranked
from comodo.report.tables import markdown, section, test_accuracy

MAX_SHOWN = 6  # other configurations in the forest plot


def from_selected(results: Results) -> dict[str, Difference]:
    """The selected configuration minus each that it is compared with, by the other's label:
    references first, hand-crafted features after the student's own, then the others, the best by
    the first objective first."""
    found = {}
    for d in results.differences:
        if d.first == results.selected:
            found[d.second] = d
        elif d.second == results.selected:
            c = d.comparison
            turned = replace(c, difference=-c.difference, low=-c.high, high=-c.low)
            found[d.first] = replace(d, first=d.second, second=d.first, comparison=turned)
    ordered = sorted(
        (label for label in ranked(results) if label in found),
        key=lambda label: (
            not is_compared_with(results, label),
            results.by_label[label][0].trial.is_hand_crafted,
        ),
    )
    return {label: found[label] for label in ordered}


def is_compared_with(results: Results, label: str) -> bool:
    """Whether a configuration is a reference, or an untrained student that competes."""
    trial = results.by_label[label][0].trial
    return results.is_reference(trial) or isinstance(trial.config.method, NoneMethod)


def difference_section(results: Results) -> list[str]:
    """Those from the selected configuration in front, all folded."""
    if not results.differences:
        return []
    first = list(from_selected(results).values())
    header = [
        f"{test_accuracy(results)} of",
        "points (95 %)",
        "p (Holm)",
        "verdict",
        "pairs",
        "more seeds needed",
    ]
    lines = section(
        "Differences",
        "Paired by seed, group and window. p is corrected for the number of comparisons; the "
        "interval is not. With one seed or one group in test nothing follows for the "
        "configurations: the difference is one between these students on these groups. "
        "More seeds needed: for 50 % power, if the true difference is the one measured here.",
        header,
        [_row(results, difference) for difference in first or results.differences],
    )
    if first and len(first) < len(results.differences):
        rows = [_row(results, difference) for difference in results.differences]
        lines += [f"### All {len(rows)} comparisons", "", *markdown(header, rows)]
    return lines


def _row(results: Results, difference: Difference) -> list[str]:
    pair = f"{results.title(difference.first)} – {results.title(difference.second)}"
    return [pair, *difference_cells(difference), str(difference.seeds), _needed(difference)]


def difference_cells(difference: Difference) -> list[str]:
    """Points with their interval, p and verdict."""
    p = "–" if difference.p is None else f"{difference.p:.2g}"
    return [points_of(difference), p, _verdict(difference)]


def points_of(difference: Difference) -> str:
    """A difference in points, with its interval."""
    found = difference.comparison
    points = f"{100 * found.difference:+.1f}"
    if math.isnan(found.low):
        return points
    return f"{points} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def p_of(difference: Difference) -> str:
    """`p 0.015`; empty where there is none."""
    p = difference.p
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.2g}"


def _verdict(difference: Difference) -> str:
    if difference.lacks:
        return f"about these students on these groups only ({difference.lacks})"
    if not difference.distinguishable:
        return "not distinguishable at 95 %"
    points = 100 * difference.comparison.difference
    return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}"


def _needed(difference: Difference) -> str:
    more = difference.comparison.more_seeds
    if difference.distinguishable:
        return "–"
    if difference.seeds == 1:
        return "at least 1"
    if more is None:
        return "more groups"
    return str(more) if more else "none, without the correction of p"


def gains(results: Results) -> dict[str, str]:
    """Gain of each configuration over its untrained student in points, and whether it is clear, or
    why that cannot be known."""
    found = {}
    for difference in results.differences:
        trial = results.by_label[difference.second][0].trial
        untrained = isinstance(trial.config.method, NoneMethod) and not trial.is_hand_crafted
        if untrained and difference.first not in found:
            clear = "clear" if difference.distinguishable else "not distinguishable"
            points = f"{100 * difference.comparison.difference:+.1f}"
            found[difference.first] = f"{points}, {difference.lacks or clear}"
    return found


def forest_caption(results: Results) -> str:
    """What `draw_differences` shows; empty if no configuration is selected."""
    if results.selected is None:
        return ""
    others = [x for x in from_selected(results) if not is_compared_with(results, x)]
    cut = f" ({MAX_SHOWN} of {len(others)} configurations)" if len(others) > MAX_SHOWN else ""
    return (
        f"{results.title(results.selected)} minus each of the others{cut}, paired, with 95 % "
        "intervals: filled where distinguishable, diamonds for references"
    )


def draw_differences(results: Results) -> Figure | None:
    """Forest plot of the selected configuration minus the others. Their names are above the
    intervals, so that the figure is narrow enough for a phone."""
    found = from_selected(results)
    references = [label for label in found if is_compared_with(results, label)]
    others = [label for label in found if label not in references]
    shown = [*references, *others[:MAX_SHOWN]]
    if not shown:
        return None
    sides = "← the other is better        selected is better →"
    xlabel = f"points of {test_accuracy(results)}\n{sides}"
    points = {x: f"{100 * found[x].comparison.difference:+.1f}" for x in shown}
    says = [", ".join(filter(None, [points[x].replace("-", "−"), p_of(found[x])])) for x in shown]
    titles = [results.title(label) for label in shown]
    figure, axes, rows = style.rows_of(titles, says, 5.6, xlabel)
    axes.xaxis.label.set_fontsize("small")
    axes.axvline(0, color="0.4", lw=1)
    for row, label in zip(rows, shown, strict=True):
        difference = found[label]
        c, clear = difference.comparison, difference.distinguishable
        errors = None
        if not math.isnan(c.low):
            errors = [[100 * (c.difference - c.low)], [100 * (c.high - c.difference)]]
        color = style.BLUE if clear else "0.35"
        axes.errorbar(
            [100 * c.difference], [row], xerr=errors, fmt="D" if label in references else "o",
            color=color, markerfacecolor=color if clear else "white", capsize=3, markersize=6,
        )  # fmt: skip
    return figure
