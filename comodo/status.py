"""How far a sweep is, read from its folder in the store: by another shell or machine, while it
runs or after. Reads only, and needs neither the sweep file nor Ray.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comodo.config.base import nearest
from comodo.store import Store, fetched, read_json

SILENT = 600.0  # seconds without a sign of life after which a running sweep seems dead


class StatusError(ValueError):
    """No such sweep in the store."""


@dataclass(frozen=True)
class Status:
    """A sweep as its folder shows it."""

    name: str
    folder: Path
    progress: dict[str, Any] | None
    """progress.json; None for a sweep that has not come to its trials yet."""
    asked: int
    """Configurations asked by a search; 0 for one that has asked none."""
    pruned: int
    failed: list[str]
    """Reasons."""

    @property
    def age(self) -> float | None:
        """Seconds since the sweep's last sign of life."""
        if self.progress is None:
            return None
        updated = datetime.fromisoformat(self.progress["updated"])
        return max(0.0, (datetime.now(UTC) - updated).total_seconds())

    @property
    def state(self) -> str:
        """`running`, `finished`, `stopped` with the reason, or `silent`: it says that it runs but
        gives no sign of life."""
        if self.progress is None:
            return "no trial has started"
        state: str = self.progress.get("state", "running")
        if state == "running" and (self.age or 0) > SILENT:
            return "silent"
        return state


def read_status(name: str, store: Store) -> Status:
    """Raises StatusError, naming those that exist, for a sweep that the store does not have."""
    folder = fetched(store.folder("sweeps", name), "*.json", "report/report.html")
    if not folder.is_dir():
        names = [path.name for path in _folders(store)]
        known = nearest(name, names) if names else "; it has none yet"
        raise StatusError(f"no sweep '{name}' in {store}{known}")
    ended = _read(folder / "ended.json", {}).values()
    return Status(
        name,
        folder,
        _read(folder / "progress.json", None),
        len(_read(folder / "asked.json", [])),
        sum(end["state"] == "pruned" for end in ended),
        [end["reason"] for end in ended if end["state"] == "failed"],
    )


def read_all(store: Store) -> list[Status]:
    """All sweeps of the store, the latest first."""
    found = [read_status(path.name, store) for path in _folders(store)]
    return sorted(found, key=lambda status: status.age if status.age is not None else float("inf"))


def show(status: Status) -> RenderableType:
    """One sweep: what runs, what is best, what is used."""
    lines = [_heading(status)]
    if status.progress is None:
        return Group(*map(Text, [*lines, "(it prepares, or an earlier version ran it)"]))
    progress = status.progress
    parts: list[RenderableType] = [*map(Text, lines)]
    if status.state == "silent":
        parts.append(
            Text(
                f"no sign of life for {duration(status.age or 0)}: killed? Run the same command "
                "again, it goes on from here",
                style="yellow",
            )
        )
    running = progress.get("running") or []
    if running:
        table = Table(box=None, pad_edge=False)
        table.add_column("running" if status.state == "running" else "was running")
        for column in ("epoch", "metric"):
            table.add_column(column, justify="right", no_wrap=True)
        for trial in running:
            metric = trial.get("metric")
            epoch = f"{trial['epoch']}/{trial['epochs']}" if trial.get("epochs") else ""
            table.add_row(Text(trial["name"]), epoch, "" if metric is None else f"{metric:.3f}")
        parts.append(table)
    best = progress.get("best")
    for one in best if isinstance(best, list) else [best] if best else []:
        parts.append(Text(f"best so far: {one['name']}, {one['metric']} {one['value']:.3f}"))
    parts += [Text(line) for line in (used(progress.get("budget") or {}), _ended(status)) if line]
    report = status.folder / "report" / "report.html"
    if report.exists():
        parts.append(Text(f"report: {report}"))
    return Group(*parts)


def show_all(statuses: list[Status]) -> RenderableType:
    """A line for each sweep."""
    if not statuses:
        return Text("no sweeps in this store yet")
    table = Table(box=None, pad_edge=False)
    for column in ("sweep", "trials", "state", "last sign of life"):
        table.add_column(column)
    for status in statuses:
        progress = status.progress or {}
        trials = f"{progress['done']} of {progress['planned']}" if progress else ""
        age = "" if status.age is None else f"{duration(status.age)} ago"
        table.add_row(Text(status.name), trials, Text(status.state), age)
    return table


def _heading(status: Status) -> str:
    if status.progress is None:
        return f"{status.name}: {status.state}"
    progress = status.progress
    where = f"process {progress['pid']} on {progress['host']}"
    return (
        f"{status.name}: {progress['done']} of {progress['planned']} trials done, "
        f"{status.state} ({where}, {duration(status.age or 0)} ago)"
    )


def used(budget: dict[str, list[float | None]]) -> str:
    """What was spent of each part of a budget, with its limit."""
    parts = [
        f"{spent:g}{'' if limit is None else f' of {limit:g}'} {key.replace('_', ' ')}"
        for key, (spent, limit) in budget.items()
        if spent is not None and (limit is not None or spent > 0)
    ]
    return f"used: {', '.join(parts)}" if parts else ""


def _ended(status: Status) -> str:
    told = [f"{status.pruned} pruned"] if status.pruned else []
    if status.failed:
        told.append(f"{len(status.failed)} failed, the last: {status.failed[-1]}")
    return "; ".join(told)


def duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _folders(store: Store) -> list[Path]:
    sweeps = fetched(store.root / "sweeps", "*/*.json")
    return sorted(path for path in sweeps.glob("*") if path.is_dir())


def _read(path: Path, default: Any) -> Any:
    return read_json(path) if path.exists() else default
