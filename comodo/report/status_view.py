"""Shows the progress of sweeps on a terminal."""

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from comodo.core.units import format_duration
from comodo.search.records import ProgressRecord, RunningTrial
from comodo.search.status import Status, budget_used


def show_status(status: Status) -> RenderableType:
    """One sweep: its running trials, the best so far, the budget used."""
    progress = status.progress
    if progress is None:
        why = "it is preparing, or an earlier version ran it"
        return Text(f"{status.name}: {status.state}\n({why})")
    age = format_duration(status.age or 0)
    where = f"process {progress.pid} on {progress.host}, {age} ago"
    done = f"{_done(status, progress)}, {status.state} ({where})"
    parts: list[RenderableType] = [Text(f"{status.name}: {done}")]
    if status.state == "silent":
        again = "if it was killed, run the same command again to continue"
        parts.append(Text(f"no sign of life for {age}; {again}", style="yellow"))
    if progress.running:
        title = "running" if status.state == "running" else "was running"
        parts.append(_running(progress.running, title))
    ended = [f"{status.pruned} pruned"] if status.pruned else []
    if status.failed:
        ended.append(f"{len(status.failed)} failed, the last: {status.failed[-1]}")
    lines = [budget_used(progress.budget), "; ".join(ended)]
    if (best := progress.best) is not None:
        lines.insert(0, f"best so far: {best.name}, {best.metric} {best.value:.3f}")
    report = status.folder / "report" / "report.html"
    lines += [f"report: {report}"] if report.exists() else []
    return Group(*parts, *(Text(line) for line in lines if line))


def _done(status: Status, progress: ProgressRecord) -> str:
    """How much of the trials, or of the stage before them."""
    is_running = status.state == "running"
    if (stage := progress.stage) is None:
        left = _left(progress.left) if is_running else ""
        return f"{progress.done} of {progress.planned} trials done{left}"
    left = _left(stage.left) if is_running else ""
    return f"{stage.name}: {stage.done} of {stage.total} done{left}" if stage.total else stage.name


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {format_duration(seconds)} left"


def _running(trials: list[RunningTrial], title: str) -> Table:
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("epoch", "metric")]
    table = Table(title, *numbers, box=None, pad_edge=False)
    for trial in trials:
        metric = "" if trial.metric is None else f"{trial.metric:.3f}"
        epoch = f"{trial.epoch}/{trial.epochs}" if trial.epochs else ""
        table.add_row(Text(trial.name), epoch, metric)
    return table


def show_statuses(statuses: list[Status]) -> RenderableType:
    """A line for each sweep."""
    if not statuses:
        return Text("no sweeps in this store yet")
    columns = ("sweep", "trials", "state", "last sign of life")
    table = Table(*columns, box=None, pad_edge=False)
    for status in statuses:
        progress = status.progress
        trials = _done(status, progress).replace(" trials done", "") if progress else ""
        age = "" if status.age is None else f"{format_duration(status.age)} ago"
        table.add_row(Text(status.name), trials, Text(status.state), age)
    return table
