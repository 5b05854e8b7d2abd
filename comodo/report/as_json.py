"""What `--json` prints of a status, a plan and a report: a stable structure each, described in
docs/terminal.md. Keys are only ever added. Does not compute anything.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from comodo.search.status import Status

if TYPE_CHECKING:  # slow to import, and a status needs none of it
    from pathlib import Path

    from comodo.evaluation.results import Results
    from comodo.report.plan.plan import Plan

Interval = tuple[float | None, float | None, float | None]
"""A mean, and the ends of its 95 % interval; None where it is not known, as from one seed."""


@dataclass(frozen=True)
class StatusJson:
    """How far a sweep is."""

    name: str
    state: str
    """`running`, `finished`, `silent`, `no trial has started`, or `stopped: ` and the reason."""
    stage: str | None
    """What is done before the trials; None once they have begun."""
    done: int
    """Trials, or parts of the stage."""
    planned: int
    seconds_left: float | None
    """None: not known yet, or nothing runs."""
    seconds_silent: float | None
    """Since the last sign of life."""
    running: list[str]
    """Names of the trials that run."""
    pruned: int
    failed: list[str]
    """Reasons."""
    best: str | None
    """Configuration of the best mean so far, of those with all their trials."""
    best_metric: str | None
    best_value: float | None
    hours: float | None
    gpu_hours: float | None
    report: str | None
    """Path of report.html, once it is there."""


@dataclass(frozen=True)
class PlanJson:
    """What a sweep will do. Amounts that no measurement is known of are None."""

    name: str
    trials: int
    """Planned; of a search at most."""
    done: int
    half_done: int
    to_measure: int
    to_train: int
    configurations: int | None
    """None: infinitely many."""
    seeds: int
    windows: dict[str, dict[str, int] | None]
    """By data set and split, at most; None: not known."""
    windows_to_encode: int | None
    encode_hours: float | None
    trial_hours: float | None
    """Of all trials one after the other."""
    gpu_hours: float | None
    wall_clock_hours: float | None
    trials_at_once: int | None
    bytes_to_write: int | None
    bytes_free: int
    notes: list[str]
    """What `plan` prints in yellow: leakage, a budget or disk that is too small."""
    confounds: list[str]


@dataclass(frozen=True)
class ConfigurationJson:
    """One configuration of a report."""

    name: str
    trials: int
    """Finished ones."""
    metrics: dict[str, Interval]
    """Objectives and Acc@1, such as `test/acc1`: mean, low, high."""


@dataclass(frozen=True)
class ReportJson:
    """The results of a sweep."""

    name: str
    objective: str
    selected: str | None
    """The best configuration by the objective, None without one."""
    configurations: list[ConfigurationJson]
    states: dict[str, int]
    """Number of trials in each state, such as `finished` and `failed`."""
    report: str
    """Path of report.html."""


def status_json(status: Status) -> StatusJson:
    progress = status.progress
    stage = progress.stage if progress else None
    best = progress.best if progress else None
    is_running = status.state == "running"
    left = None
    if progress is not None and is_running:
        left = progress.left if stage is None else stage.left
    spent = {key: used for key, (used, _) in (progress.budget if progress else {}).items()}
    page = status.folder / "report" / "report.html"
    return StatusJson(
        name=status.name,
        state=status.state,
        stage=stage.name if stage else None,
        done=stage.done if stage else progress.done if progress else 0,
        planned=stage.total if stage else progress.planned if progress else 0,
        seconds_left=left,
        seconds_silent=status.age,
        running=[trial.name for trial in progress.running] if progress and is_running else [],
        pruned=status.pruned,
        failed=status.failed,
        best=best.name if best else None,
        best_metric=best.metric if best else None,
        best_value=best.value if best else None,
        hours=spent.get("hours"),
        gpu_hours=spent.get("gpu_hours"),
        report=str(page) if page.exists() else None,
    )


def plan_json(plan: "Plan") -> PlanJson:
    from comodo.report.plan.view import confound_lines, warning_lines

    trials, sizes = plan.trials, list(plan.disk.values())
    left = [features.left for features in plan.inventory.features]
    windows: dict[str, dict[str, int] | None] = {}
    for name, dataset in plan.inventory.datasets.items():
        counts = dataset.windows
        splits = {split for of_fold in counts or () for split in of_fold}
        most = {s: max(of.get(s, 0) for of in counts or ()) for s in sorted(splits)}
        windows[name] = None if counts is None else most
    is_grid = plan.sweep.search.sampler == "grid"
    return PlanJson(
        name=plan.sweep.name,
        trials=len(trials.planned) if is_grid else plan.sweep.budget.trials or 0,
        done=trials.done,
        half_done=trials.half_done,
        to_measure=len(trials.to_measure),
        to_train=trials.to_train,
        configurations=plan.configurations,
        seeds=len(plan.sweep.seeds),
        windows=windows,
        windows_to_encode=None if None in left else sum(n or 0 for n in left),
        encode_hours=plan.encode_hours,
        trial_hours=plan.trial_hours,
        gpu_hours=plan.gpu_hours,
        wall_clock_hours=plan.hours,
        trials_at_once=plan.concurrent,
        bytes_to_write=None if None in sizes else sum(size or 0 for size in sizes),
        bytes_free=plan.free,
        notes=list(warning_lines(plan)),
        confounds=confound_lines(plan.confounds),
    )


def report_json(results: "Results", folder: "Path") -> ReportJson:
    from comodo.evaluation.dataframes import headline_metrics

    sweep, rows = results.sweep, results.rows
    found = []
    for label, of_label in headline_metrics(results).items():
        metrics = {n: (_known(x.mean), _known(x.low), _known(x.high)) for n, x in of_label.items()}
        trials = len(results.by_label[label])
        found.append(ConfigurationJson(results.title(label), trials, metrics))
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    return ReportJson(
        name=sweep.name,
        objective=sweep.objective.metric,
        selected=None if results.selected is None else results.title(results.selected),
        configurations=found,
        states=states,
        report=str(folder / "report.html"),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_text(found: "StatusJson | PlanJson | ReportJson | list[StatusJson]") -> str:
    """The JSON text, with paths and numbers as they are."""
    content = list(map(asdict, found)) if isinstance(found, list) else asdict(found)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
