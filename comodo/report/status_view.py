"""Shows the progress of sweeps on a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comodo.core.units import format_duration
from comodo.search.records import RunningTrial
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
            f"{status.name}: {progress.done} of {progress.planned} trials done, "
            f"{status.state} (process {progress.pid} on {progress.host}, "
            f"{format_duration(status.age or 0)} ago)"
        )
    ]
    if status.state == "silent":
        lost = f"no sign of life for {format_duration(status.age or 0)}; if it was killed, run the "
        parts.append(Text(f"{lost}same command again to continue", style="yellow"))
    if progress.running:
        parts.append(
            _running(progress.running, "running" if status.state == "running" else "was running")
        )
    lines = [budget_used(progress.budget), _ended(status)]
    if (best := progress.best) is not None:
        lines.insert(0, f"best so far: {best.name}, {best.metric} {best.value:.3f}")
    report = status.folder / "report" / "report.html"
    lines += [f"report: {report}"] if report.exists() else []
    return Group(*parts, *(Text(line) for line in lines if line))


def _running(trials: list[RunningTrial], title: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(title)
    for column in ("epoch", "metric"):
        table.add_column(column, justify="right", no_wrap=True)
    for trial in trials:
        metric = "" if trial.metric is None else f"{trial.metric:.3f}"
        epoch = f"{trial.epoch}/{trial.epochs}" if trial.epochs else ""
        table.add_row(Text(trial.name), epoch, metric)
    return table


def show_statuses(statuses: list[Status]) -> RenderableType:
    """A line for each sweep."""
    if not statuses:
        return Text("no sweeps in this store yet")
    table = Table(box=None, pad_edge=False)
    for column in ("sweep", "trials", "state", "last sign of life"):
        table.add_column(column)
    for status in statuses:
        progress = status.progress
        trials = f"{progress.done} of {progress.planned}" if progress else ""
        age = "" if status.age is None else f"{format_duration(status.age)} ago"
        table.add_row(Text(status.name), trials, Text(status.state), age)
    return table


def _ended(status: Status) -> str:
    ended = [f"{status.pruned} pruned"] if status.pruned else []
    if status.failed:
        ended.append(f"{len(status.failed)} failed, the last: {status.failed[-1]}")
    return "; ".join(ended)
