"""How far a sweep is, as text for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comodo.core.units import format_duration
from comodo.search.status import Status, budget_used


def show_status(status: Status) -> RenderableType:
    """One sweep: what runs, what is best, what is used."""
    lines = [_heading(status)]
    if status.progress is None:
        return Group(*map(Text, [*lines, "(it prepares, or an earlier version ran it)"]))
    progress = status.progress
    parts: list[RenderableType] = [*map(Text, lines)]
    if status.state == "silent":
        parts.append(
            Text(
                f"no sign of life for {format_duration(status.age or 0)}: killed? "
                "Run the same command "
                "again, it goes on from here",
                style="yellow",
            )
        )
    if progress.running:
        table = Table(box=None, pad_edge=False)
        table.add_column("running" if status.state == "running" else "was running")
        for column in ("epoch", "metric"):
            table.add_column(column, justify="right", no_wrap=True)
        for trial in progress.running:
            metric = "" if trial.metric is None else f"{trial.metric:.3f}"
            epoch = f"{trial.epoch}/{trial.epochs}" if trial.epochs else ""
            table.add_row(Text(trial.name), epoch, metric)
        parts.append(table)
    if (best := progress.best) is not None:
        parts.append(Text(f"best so far: {best.name}, {best.metric} {best.value:.3f}"))
    parts += [Text(line) for line in (budget_used(progress.budget), _ended(status)) if line]
    report = status.folder / "report" / "report.html"
    if report.exists():
        parts.append(Text(f"report: {report}"))
    return Group(*parts)


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


def _heading(status: Status) -> str:
    if status.progress is None:
        return f"{status.name}: {status.state}"
    progress = status.progress
    where = f"process {progress.pid} on {progress.host}"
    return (
        f"{status.name}: {progress.done} of {progress.planned} trials done, "
        f"{status.state} ({where}, {format_duration(status.age or 0)} ago)"
    )


def _ended(status: Status) -> str:
    told = [f"{status.pruned} pruned"] if status.pruned else []
    if status.failed:
        told.append(f"{len(status.failed)} failed, the last: {status.failed[-1]}")
    return "; ".join(told)
