"""Shows the progress of sweeps on a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comodo.core.units import format_duration
from comodo.search.status import Status, budget_used


def show_status(status: Status) -> RenderableType:
    """One sweep: its running trials, the best so far, the budget used."""
    progress = status.progress
    if progress is None:
        return Text(
            f"{status.name}: {status.state}\n(it is preparing, or an earlier version ran it)"
        )
    parts: list[RenderableType] = [
        Text(
            f"{status.name}: {progress['done']} of {progress['planned']} trials done, "
            f"{status.state} (process {progress['pid']} on {progress['host']}, "
            f"{format_duration(status.age or 0)} ago)"
        )
    ]
    if status.state == "silent":
        lost = f"no sign of life for {format_duration(status.age or 0)}; if it was killed, run the "
        parts.append(Text(f"{lost}same command again to continue", style="yellow"))
    if running := progress.get("running"):
        parts.append(_running(running, "running" if status.state == "running" else "was running"))
    best = progress.get("best") or []
    lines = [
        f"best so far: {one['name']}, {one['metric']} {one['value']:.3f}"
        for one in (best if isinstance(best, list) else [best])
    ]
    lines += [budget_used(progress.get("budget") or {}), _ended(status)]
    report = status.folder / "report" / "report.html"
    lines += [f"report: {report}"] if report.exists() else []
    return Group(*parts, *(Text(line) for line in lines if line))


def _running(trials: list[dict[str, Any]], title: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(title)
    for column in ("epoch", "metric"):
        table.add_column(column, justify="right", no_wrap=True)
    for trial in trials:
        metric = trial.get("metric")
        epoch = f"{trial['epoch']}/{trial['epochs']}" if trial.get("epochs") else ""
        table.add_row(Text(trial["name"]), epoch, "" if metric is None else f"{metric:.3f}")
    return table


def show_statuses(statuses: list[Status]) -> RenderableType:
    """A line for each sweep."""
    if not statuses:
        return Text("no sweeps in this store yet")
    table = Table(box=None, pad_edge=False)
    for column in ("sweep", "trials", "state", "last sign of life"):
        table.add_column(column)
    for status in statuses:
        progress = status.progress or {}
        trials = f"{progress['done']} of {progress['planned']}" if progress else ""
        age = "" if status.age is None else f"{format_duration(status.age)} ago"
        table.add_row(Text(status.name), trials, Text(status.state), age)
    return table


def _ended(status: Status) -> str:
    ended = [f"{status.pruned} pruned"] if status.pruned else []
    if status.failed:
        ended.append(f"{len(status.failed)} failed, the last: {status.failed[-1]}")
    return "; ".join(ended)
