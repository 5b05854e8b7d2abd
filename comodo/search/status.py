"""How far a sweep is, read from its folder in the store, by any shell or machine, while it runs or
afterwards. Needs neither the sweep file nor Ray, and writes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from comodo.core.errors import ComodoError, nearest
from comodo.core.store import Store, fetched
from comodo.core.units import format_duration

if TYPE_CHECKING:  # slow to import, and a wrong name is refused without it
    from comodo.search.records import ProgressRecord

SILENT_SECONDS = 600.0  # seconds without a sign of life after which a running sweep seems dead


class StatusError(ComodoError, ValueError):
    """The store has no such sweep."""


@dataclass(frozen=True)
class Status:
    """The state of a sweep, by the files in its folder."""

    name: str
    folder: Path
    progress: "ProgressRecord | None"
    """None until the trials begin."""
    asked: int
    """Number of configurations proposed so far."""
    pruned: int
    failed: list[str]
    """Reasons."""

    @property
    def age(self) -> float | None:
        """Seconds since the sweep's last sign of life."""
        if self.progress is None:
            return None
        updated = datetime.fromisoformat(self.progress.updated)
        return max(0.0, (datetime.now(UTC) - updated).total_seconds())

    @property
    def state(self) -> str:
        """`running`, `finished`, `stopped` with the reason, or `silent`: was running long ago."""
        if self.progress is None:
            return "no trial has started"
        if self.progress.state == "running" and (self.age or 0) > SILENT_SECONDS:
            return "silent"
        return self.progress.state


def sweep_names(store: Store) -> list[str]:
    sweeps = fetched(store.root / "sweeps", "*/*.json")
    return sorted(path.name for path in sweeps.glob("*") if path.is_dir())


def sweep_folder(name: str, store: Store) -> Path:
    """The folder of a sweep. Raises StatusError, with the known names, for an unknown one."""
    folder = fetched(store.folder("sweeps", name), "*.json", "report/report.html")
    if not folder.is_dir():
        names = sweep_names(store)
        known = nearest(name, names) if names else "; it has none yet"
        raise StatusError("sweep.unknown", f"no sweep '{name}' in {store}{known}")
    return folder


def read_status(name: str, store: Store) -> Status:
    """The status of a sweep. Raises StatusError for an unknown name."""
    folder = sweep_folder(name, store)
    from comodo.search.records import ProgressRecord, read_asked, read_ended

    ended = read_ended(folder).values()
    return Status(
        name,
        folder,
        ProgressRecord.find(folder),
        len(read_asked(folder)),
        sum(end.state == "pruned" for end in ended),
        [end.reason for end in ended if end.state == "failed"],
    )


def read_all(store: Store) -> list[Status]:
    """All sweeps of the store, the latest first."""
    found = [read_status(name, store) for name in sweep_names(store)]
    return sorted(found, key=lambda status: status.age if status.age is not None else float("inf"))


def budget_used(budget: dict[str, list[float | None]]) -> str:
    """How much of each limit of the budget is used, as text."""
    parts = []
    for key, (spent, limit) in budget.items():
        if spent is not None and (limit is not None or spent > 0):
            used = " of ".join(_amount(key, n) for n in (spent, limit) if n is not None)
            parts.append(used + {"trials": " trials", "gpu_hours": " of GPUs"}.get(key, ""))
    return f"used: {', '.join(parts)}" if parts else ""


def _amount(key: str, number: float) -> str:
    return format_duration(3600 * number) if key.endswith("hours") else f"{number:g}"
