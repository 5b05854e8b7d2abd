"""What came out of a sweep: a table, a figure and a page.

Reads results and names trials; computes no measure itself.
"""

import csv
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from comodo.config import NoneMethod, SimulatedDataset, Sweep
from comodo.store import atomic
from comodo.tracking import flatten
from comodo.trial import Trial

MEASURES = tuple(f"{split}/acc{k}" for split in ("val", "test") for k in (1, 3, 5))


@dataclass(frozen=True)
class Row:
    """One trial as the table shows it."""

    trial: Trial
    label: str
    """What tells its configuration from the sweep's others; the same for all seeds."""
    state: str
    metrics: dict[str, float]


def configuration_label(trial: Trial, sweep: Sweep) -> str:
    """The method and the values of the keys that vary in the sweep."""
    mine = flatten(trial.config.model_dump(mode="json"))
    name: str = trial.config.method.name
    keys = varied_keys(sweep)
    if isinstance(trial.config.method, NoneMethod):
        name = "as pretrained" if trial.config.student.weights else "untrained"
        keys = [key for key in keys if key.startswith(("dataset", "student."))]
    return " ".join([name, *(_shown(key, mine[key]) for key in keys if key in mine)])


def _shown(key: str, value: Any) -> str:
    """`queue_size=256`; names of datasets and models speak for themselves."""
    if key in ("dataset", "teacher.name", "student.name"):
        return str(value)
    if key == "student.channels":  # acc_x, acc_y, acc_z: acc_xyz
        axes: dict[str, str] = {}
        for channel in value:
            sensor, axis = channel.split("_")
            axes[sensor] = axes.get(sensor, "") + axis
        return "+".join(f"{sensor}_{letters}" for sensor, letters in axes.items())
    return f"{key.split('.')[-1]}={value}"


def trial_name(trial: Trial, sweep: Sweep) -> str:
    """A name that a person knows the trial by."""
    return f"{configuration_label(trial, sweep)} seed {trial.seed}"


def varied_keys(sweep: Sweep) -> list[str]:
    """Dotted keys of `trial` that take more than one value in the sweep.

    Of models that differ by name only the name counts.
    """
    points = [sweep.with_values(point).model_dump(mode="json") for point in sweep.points()]
    for part in ("teacher", "student"):
        models = {json.dumps(point[part], sort_keys=True) for point in points}
        names = {point[part]["name"] for point in points}
        if 1 < len(names) == len(models):
            points = [{**point, part: {"name": point[part]["name"]}} for point in points]
    seen: dict[str, list[Any]] = {}
    for point in points:
        for key, value in flatten(point).items():
            values = seen.setdefault(key, [])
            if value not in values:
                values.append(value)
    return [key for key, values in seen.items() if len(values) > 1 and key != "method.name"]


def table(rows: Iterable[Row]) -> Table:
    """All trials, for the terminal."""
    shown = Table(title="trials", caption="accuracies in percent")
    shown.add_column("method", overflow="fold")
    for column in ("queue", "seed", "val Acc@1/3/5", "test Acc@1/3/5"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = _cells(row)
        accuracies = [" / ".join(cells[:3]), " / ".join(cells[3:])]
        if row.state != "finished":
            accuracies = [row.state, ""]
        shown.add_row(row.label, _queue(row.trial), str(row.trial.seed), *accuracies)
    return shown


def write(sweep: Sweep, folder: Path, rows: list[Row]) -> Path:
    """Writes report.md, trials.csv and accuracy.png into `folder`/report; returns that."""
    folder = folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "trials.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "method", "queue", "seed", "state", *MEASURES])
        for row in rows:
            values = [row.metrics.get(measure, "") for measure in MEASURES]
            queue = _queue(row.trial)
            writer.writerow([row.trial.key, row.label, queue, row.trial.seed, row.state, *values])
    finished = [row for row in rows if "test/acc1" in row.metrics]
    if finished:
        _figure(finished, sweep, folder / "accuracy.png")
    with atomic(folder / "report.md") as path:
        path.write_text("\n".join(_page(sweep, rows, bool(finished))) + "\n")
    return folder


def _page(sweep: Sweep, rows: list[Row], has_figure: bool) -> list[str]:
    lines = [f"# {sweep.name}", ""]
    simulated = [n for n, d in sweep.datasets.items() if isinstance(d, SimulatedDataset)]
    if simulated:
        lines += [
            f"**A demonstration**: {', '.join(simulated)} is simulated. These numbers say that "
            "the machinery works, nothing about real recordings.",
            "",
        ]
    if sweep.search.sampler == "tpe" or sweep.early_stopping is not None:
        if sweep.search.sampler == "tpe":
            lines += [f"The search was guided by {sweep.objective.metric}.", ""]
        if sweep.early_stopping is not None:
            lines += ["Trials were stopped early by val/quick_acc1.", ""]
    if has_figure:
        lines += ["![test accuracy by method](accuracy.png)", ""]
    lines += _best(sweep, rows)
    if sweep.objective.metric.startswith("test/"):
        lines += ["**Selected on the test split**: test accuracies are optimistic.", ""]
    lines += ["## By configuration: percent, mean over seeds (lowest to highest)", ""]
    lines += _markdown(
        ["configuration", "seeds", *MEASURES],
        [
            [label, str(len(group)), *(_span(group, measure) for measure in MEASURES)]
            for label, group in by_label(rows).items()
        ],
    )
    lines += ["", "## Trials", ""]
    lines += _markdown(
        ["configuration", "queue", "seed", "state", *MEASURES],
        [
            [row.label, _queue(row.trial), str(row.trial.seed), row.state, *_cells(row)]
            for row in rows
        ],
    )
    return lines


def _best(sweep: Sweep, rows: list[Row]) -> list[str]:
    """The configuration that the objective selects, by its mean over seeds."""
    metric, sign = sweep.objective.metric, 1 if sweep.objective.mode == "max" else -1
    scores = {
        label: statistics.mean(row.metrics[metric] for row in group)
        for label, group in by_label(rows).items()
        if all(metric in row.metrics for row in group)
    }
    if not scores:
        return [f"No trial has {metric}, so none is selected.", ""]
    label = max(scores, key=lambda name: sign * scores[name])
    return [f"Selected by {metric}: **{label}** ({100 * scores[label]:.1f}).", ""]


def by_label(rows: list[Row]) -> dict[str, list[Row]]:
    """Finished trials of each configuration, in the rows' order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.state == "finished":
            groups.setdefault(row.label, []).append(row)
    return groups


def _figure(rows: list[Row], sweep: Sweep, path: Path) -> None:
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    groups = by_label(rows)
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(groups)), layout="constrained")
    axes = figure.add_subplot()
    for height, group in enumerate(groups.values()):
        values = [100 * row.metrics["test/acc1"] for row in group]
        plain = isinstance(group[0].trial.config.method, NoneMethod)
        axes.barh(height, statistics.mean(values), color="0.75" if plain else "tab:blue")
        axes.plot(values, [height] * len(values), "o", color="black", markersize=4)
        axes.annotate(
            f"{statistics.mean(values):.1f}",
            (max(values), height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("test Acc@1 (%): bar = mean, dots = seeds")
    axes.set_title(f"{sweep.name}: IMU-only accuracy of the probe")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _queue(trial: Trial) -> str:
    return str(getattr(trial.config.method, "queue_size", "–"))


def _cells(row: Row) -> list[str]:
    return [
        f"{100 * row.metrics[measure]:.1f}" if measure in row.metrics else "–"
        for measure in MEASURES
    ]


def _span(rows: list[Row], measure: str) -> str:
    values = [100 * row.metrics[measure] for row in rows if measure in row.metrics]
    if not values:
        return "–"
    return f"{statistics.mean(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
