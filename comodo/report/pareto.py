"""The figure of configurations by two objectives, with the Pareto front among them.

With one objective the second axis is the size of the student, if sizes differ.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from comodo.config.metric import PARAMETERS
from comodo.evaluation.results import Results, pareto_front
from comodo.report.style import BLUE, GREY, axes_of, legend_below

LOOKS: dict[str, dict[str, Any]] = {
    "on the front": {"marker": "D", "color": BLUE, "zorder": 4},
    "others": {"marker": "o", "color": GREY, "markeredgecolor": "0.4", "zorder": 3},
    "references": {"marker": "x", "color": "black", "zorder": 3},
}


def draw_pareto(results: Results) -> Figure | None:
    """None if there is no second objective to draw, or no configuration has both."""
    metrics = _metrics(results)
    dots = _means(results, metrics) if metrics else {}
    if not dots:
        return None
    own = [x for x in dots if not results.is_reference(results.by_label[x][0].trial)]
    objectives = results.sweep.objectives
    signs = [objectives[0].sign, objectives[1].sign if len(objectives) > 1 else -1]
    front = pareto_front({label: dots[label] for label in own}, signs)
    groups = {
        "on the front": front,
        "others": [label for label in own if label not in front],
        "references": [label for label in dots if label not in own],
    }
    titles = [name if name == PARAMETERS else f"{name} (%)" for name in metrics]
    title = "Pareto front: no other configuration is better in both"
    figure, axes = axes_of(7, 4.6, ylabel=titles[0], xlabel=titles[1], title=title)
    for name, labels in groups.items():
        y, x = np.reshape([dots[label] for label in labels], (-1, 2)).T
        axes.plot(x, y, linestyle="none", label=name, **LOOKS[name])
    axes.plot(
        *zip(*sorted(dots[label][::-1] for label in front), strict=True),
        "--",
        color=BLUE,
        lw=1,
        zorder=2,
    )
    if metrics[1] == PARAMETERS:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(0.1)
    legend_below(figure, axes)
    return figure


def _metrics(results: Results) -> list[str]:
    """Of the vertical and the horizontal axis."""
    metrics = [objective.metric for objective in results.sweep.objectives][:2]
    if len(metrics) == 2:
        return metrics
    sizes = {rows[0].metrics.get(PARAMETERS) for rows in results.by_label.values()}
    return [] if len(sizes) < 2 or None in sizes else [*metrics, PARAMETERS]


def _means(results: Results, metrics: list[str]) -> dict[str, tuple[float, ...]]:
    """Means over seeds by configuration, shares in percent."""
    scale = [1 if name == PARAMETERS else 100 for name in metrics]
    return {
        label: tuple(
            s * float(np.mean([row.metrics[name] for row in rows]))
            for s, name in zip(scale, metrics, strict=True)
        )
        for label, rows in results.by_label.items()
        if all(name in row.metrics for row in rows for name in metrics)
    }
