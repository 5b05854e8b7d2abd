"""The JSON files of trials and sweeps; `evaluation.sweep_record` has sweep.json."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from comodo.config import EarlyStopping
from comodo.config.metric import WINDOWS_PER_SECOND
from comodo.config.space import Point
from comodo.core.json_record import JsonRecord
from comodo.core.provenance import MadeBy
from comodo.core.store import find_json, report_damaged, write_json

ASKED_FILE, ENDED_FILE = "asked.json", "ended.json"  # of sweeps
CHECKPOINT_FILE, HISTORY_FILE = "checkpoint.pt", "history.json"  # of trials


@dataclass(frozen=True)
class TrainedRecord(JsonRecord):
    """A trained student. A field is None if an earlier version did not record it."""

    FILE = "trained.json"
    key: str
    trial: dict[str, Any]
    """The `TrialConfig`."""
    seed: int
    windows: str
    """Key of the packed windows."""
    features: str
    """Key of the packed features."""
    history: list[dict[str, Any]]
    """Metrics of each epoch."""
    parameters: int
    seconds: float = 0.0
    device: str | None = None
    """`cpu` or `cuda`."""
    workers: int | None = None
    threads: int | None = None
    """CPU threads of each worker."""
    peak_memory: dict[str, int] | None = None
    """Bytes on `cpu` and `cuda`."""
    gpus: float | None = None
    """GPUs that were reserved for each worker."""
    gpu_memory: int | None = None
    """Bytes of the GPU; None without one."""
    made_by: MadeBy | None = None
    fold: dict[str, Any] | None = None
    """The `Fold`; None: the data set has one split."""
    start: dict[str, str] | None = None
    """`Trial.start`; None: it started from published or random weights."""
    weights: str | None = None
    """SHA-256 of the file of the student's weights."""

    @property
    def speeds(self) -> list[float]:
        """Windows per second of each epoch."""
        return [epoch[WINDOWS_PER_SECOND] for epoch in self.history if WINDOWS_PER_SECOND in epoch]

    @property
    def windows_per_second(self) -> float | None:
        """The median of its epochs; None: it has none."""
        return statistics.median(self.speeds) if self.speeds else None


@dataclass(frozen=True)
class MeasuringRecord(JsonRecord):
    """The measures of a trial that were computed in its latest run of evaluate."""

    FILE = "measured.json"
    measures: list[str]
    """Their places, see `Trial.measures`."""
    seconds: float
    made_by: MadeBy | None = None
    """None: an earlier version did not record it."""


@dataclass(frozen=True)
class SpentRecord(JsonRecord):
    """What all runs of a sweep have spent."""

    FILE = "spent.json"
    hours: float | None = None
    """Wall-clock time; None: an earlier version did not record it."""
    gpu_hours: float = 0.0


@dataclass(frozen=True)
class AskedConfiguration:
    """A configuration that a sweep has proposed."""

    values: Point
    trials: list[str]
    """Keys of its trials, for each seed one, or one for each fold."""
    references: list[str] | None = None
    """Keys of the trials that it is compared with, as `ledger.references` has them; None: an
    earlier version did not record them."""


def read_asked(folder: Path) -> list[AskedConfiguration]:
    """The configurations that a sweep has proposed, in order; its folder has to be `fetched`."""
    entries = find_json(folder / ASKED_FILE) or []
    # The first versions of the engine stored the values alone.
    return [
        AskedConfiguration(**e) if "trials" in e else AskedConfiguration(e, []) for e in entries
    ]


def write_asked(folder: Path, asked: Iterable[AskedConfiguration]) -> None:
    write_json(folder / ASKED_FILE, list(map(vars, asked)))


@dataclass(frozen=True)
class EndedTrial:
    """How a trial without a result ended."""

    state: str
    """`pruned` or `failed`."""
    reason: str
    reached: tuple[int, float] | None = None
    """Of a pruned one, its epochs and the quick accuracy by then."""
    rule: dict[str, Any] | None = None
    """Of a pruned one, the `EarlyStopping` that pruned it; None: an earlier version did not record
    it."""


Ends = dict[str, EndedTrial]
"""Trials of a sweep that ended without a result, by key."""


def still_pruned(ends: Ends, rule: EarlyStopping | None) -> Ends:
    """Those that a new run with this rule does not run again."""
    return {key: end for key, end in ends.items() if _is_pruned_by(rule, end)}


def _is_pruned_by(rule: EarlyStopping | None, end: EndedTrial) -> bool:
    """Whether a trial was pruned, and stays so under a rule: the same one or a stricter one, which
    stops trials as early and lets no more of them continue. Of trials without a recorded rule only
    those that ended before this one stops any run again."""
    if rule is None or end.state != "pruned":
        return False
    if end.rule is None:  # an earlier version did not record it
        return end.reached is None or rule.grace_epochs <= end.reached[0]
    earlier = EarlyStopping.model_validate(end.rule)
    is_as_early = rule.grace_epochs <= earlier.grace_epochs
    return is_as_early and rule.reduction_factor >= earlier.reduction_factor


def read_ended(folder: Path) -> Ends:
    """Of a sweep, whose folder has to be `fetched`."""
    path = folder / ENDED_FILE
    try:
        return TypeAdapter(Ends).validate_python(find_json(path) or {})
    except ValueError:
        report_damaged(path, "written by another version")
        return {}


def write_ended(folder: Path, ended: Ends) -> None:
    write_json(folder / ENDED_FILE, {key: vars(end) for key, end in ended.items()})


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs, as it last reported."""

    trial: str
    """Its key."""
    name: str
    epoch: int
    epochs: int
    metric: float | None
    """The quick accuracy."""


@dataclass(frozen=True)
class BestConfiguration:
    """The configuration that is ahead, by the first objective."""

    name: str
    metric: str
    value: float


@dataclass(frozen=True)
class StageRecord:
    """A stage before the trials."""

    name: str
    """Such as `encode demo with timesformer`."""
    done: int
    """Of its `total` recordings or windows."""
    total: int
    left: float | None
    """Seconds, if known."""


@dataclass(frozen=True, kw_only=True)
class ProgressRecord(JsonRecord):
    """How far a sweep is, and its latest sign of life."""

    FILE = "progress.json"
    updated: str
    """ISO 8601, UTC."""
    state: str = "running"
    """`running`, `finished`, or `stopped` with the reason."""
    pid: int
    host: str
    running: list[RunningTrial] = field(default_factory=list)
    done: int
    """Trials."""
    planned: int
    best: BestConfiguration | None = None
    budget: dict[str, list[float | None]] = field(default_factory=dict)
    """For each limit, what was spent and the limit."""
    stage: StageRecord | None = None
    """None: the trials have begun."""
    left: float | None = None
    """Seconds until the last trial ends; None: not known, or an earlier version did not record
    it."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        best, stage = content.get("best"), content.get("stage")
        nested = {
            "running": [RunningTrial(**trial) for trial in content.get("running") or ()],
            "best": BestConfiguration(**best) if best else None,
            "stage": StageRecord(**stage) if stage else None,
        }
        return super().from_json({**content, **nested})
