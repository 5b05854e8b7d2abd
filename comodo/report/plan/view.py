"""How a plan looks on a terminal: words and units for the numbers of `comodo.report.plan.plan`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comodo.config import Sweep
from comodo.core.units import format_bytes, format_duration, format_number
from comodo.report.plan.confounds import Confound
from comodo.report.plan.estimates import describe_student
from comodo.report.plan.inventory import DatasetPlan, FeaturesPlan
from comodo.report.plan.plan import MAX_COUNTED, Plan

PLAN_SPLITS = ("train", "val", "test")


def show_plan(plan: Plan) -> RenderableType:
    """The whole plan, ready to be printed."""
    parts: list[RenderableType] = [Text(_trials(plan))]
    if missing := _missing(plan):
        parts.append(Text(f"not made yet, and so no trial that needs them: {', '.join(missing)}"))
    parts += [_stages(plan), _facts(plan)]
    parts += [Text(line, style="yellow") for line in _warnings(plan)]
    unknown = [d.name for d in plan.datasets if d.train is None and _features(plan, d)]
    if plan.confounds or (unknown and plan.sweep.search.space):
        parts.append(Text("confounds: what else moves with a swept key", style="bold"))
        parts += [Text(f"  {line}", style="yellow") for line in confound_lines(plan.confounds)]
        if unknown:
            parts.append(
                Text(
                    f"  on {', '.join(unknown)} steps, warm-up and learning rate are not known "
                    "before comodo prepare",
                    style="yellow",
                )
            )
    elif plan.sweep.search.space:
        parts.append(Text("confounds: nothing else moves with a swept key"))
    return Group(*parts)


def _missing(plan: Plan) -> list[str]:
    """Windows, and features of windows that are there."""
    missing = [f"windows of {dataset.name}" for dataset in plan.datasets if not dataset.ready]
    for dataset in plan.datasets:
        if dataset.ready:
            names = [_encoding(features)[0] for features in _features(plan, dataset)
                     if not features.whole]  # fmt: skip
            missing += [f"features of {dataset.name} by {name}" for name in names]
    return missing


def _features(plan: Plan, dataset: DatasetPlan) -> list[FeaturesPlan]:
    return [features for features in plan.features if features.dataset == dataset.name]


def _trials(plan: Plan) -> str:
    sweep, seeds = plan.sweep, len(plan.sweep.seeds)
    begun = f"{plan.half_done} half done"
    if plan.to_measure:
        begun += f", {len(plan.to_measure)} to measure only"
    state = f"{plan.done} done, {begun}, {plan.to_train - plan.half_done} to do"
    if sweep.search.sampler == "grid":
        references = plan.trials - (plan.configurations or 0) * seeds
        beside = f" and {references} references" if references > 0 else ""
        return (
            f"{sweep.name}: a grid of {plan.configurations} configurations x {seeds} seeds"
            f"{beside}, {plan.trials} trials: {state}"
        )
    space = "infinitely many" if plan.configurations is None else str(plan.configurations)
    if plan.configurations == MAX_COUNTED:
        space = f"over {MAX_COUNTED}"
    return (
        f"{sweep.name}: {sweep.search.sampler} over a space of {space} configurations, at most "
        f"{sweep.budget.trials} trials of {seeds} seeds each configuration: {plan.done} over, "
        f"{begun}, {plan.left} left"
    )


def _stages(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("data set", "windows", *PLAN_SPLITS, "teacher", "features"):
        table.add_column(
            column, justify="right" if column in PLAN_SPLITS else "left", overflow="fold"
        )
    for dataset in plan.datasets:
        mine = _features(plan, dataset)
        state = "prepared"
        if dataset.ready is None:
            state = f"{dataset.waiting} of {dataset.recordings} recordings to prepare"
        row = [dataset.name, state, *(_count(dataset, split) for split in PLAN_SPLITS)]
        first = _encoding(mine[0]) if mine else ("none: only measured on", "")
        table.add_row(*row, *first)
        for features in mine[1:]:
            table.add_row(*[""] * len(row), *_encoding(features))
    return table


def _count(dataset: DatasetPlan, split: str) -> str:
    if dataset.windows is None:
        return "?"
    return ("" if dataset.ready else "≤ ") + str(dataset.windows.get(split, 0))


def _encoding(features: FeaturesPlan) -> tuple[str, str]:
    teacher, total = features.teacher, "?" if features.total is None else features.total
    name = f"{teacher.name} {teacher.weights or teacher.path or ''}".rstrip()
    if features.whole:
        return name, "encoded"
    if features.done:
        return name, f"{features.done} of {total} windows encoded"
    return name, "to read" if teacher.name == "precomputed" else f"{total} windows to encode"


def _facts(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("steps", _steps(plan)),
        *_time(plan),
        ("resources", _resources(plan)),
        ("memory", _memory(plan)),
        ("disk", _disk(plan)),
        ("budget", _budget(plan.sweep)),
    ):
        if value:
            table.add_row(name, Text(value))
    return table


def _steps(plan: Plan) -> str:
    if not plan.schedules:
        return "not known before the windows are prepared"
    bound = "" if all(dataset.ready for dataset in plan.datasets) else "at most "
    real, planned, peak = (
        _span([getattr(schedule, name) for schedule in plan.schedules])
        for name in ("real", "planned", "peak")
    )
    planned = "" if planned == real else f" (the schedule plans {planned})"
    return f"{bound}{real} a trial{planned}; the learning rate reaches {peak}"


def _span(values: list[Any]) -> str:
    low, high = min(values), max(values)
    return format_number(low) if low == high else f"{format_number(low)} to {format_number(high)}"


def _time(plan: Plan) -> list[tuple[str, str]]:
    rows = []
    for features in plan.features:
        if features.seconds is None:
            told = "not known"
        elif not features.seconds:
            continue
        else:
            told = f"about {format_duration(features.seconds)}"
        what = f"{features.dataset} with {features.teacher.name}"
        rows.append(("encoding", f"{what}: {told}; {features.basis}"))
    if any(dataset.ready is None for dataset in plan.datasets):
        rows.append(("preparing", "not known: its time is not recorded"))
    if not plan.left:
        return rows
    estimates = [estimate for _, estimate in plan.estimates]
    if plan.trial_hours is None:
        unknown = [trial for trial, estimate in plan.estimates if estimate.training is None]
        names = "; ".join(dict.fromkeys(describe_student(trial.config) for trial in unknown))
        reason = f"no earlier run of this student here ({names})"
        if all(estimate.basis for trial, estimate in plan.estimates if trial in unknown):
            reason = "the windows are not prepared"
        told = f"not known: {reason}"
        told += f"; the short run failed: {plan.probe_failed}" if plan.probe_failed else (
            "; --measure makes a short run"
        )  # fmt: skip
        return [*rows, ("trials", told)]
    asked = plan.sweep.resources
    told = f"{format_duration(3600 * plan.trial_hours)} for {plan.left} trials, one after the other"
    if asked.gpus_per_worker:
        told += f", {plan.gpu_hours:.2g} GPU-hours"
    rows.append(("trials", told))
    for basis in dict.fromkeys(estimate.basis for estimate in estimates if estimate.basis):
        rows.append(("", f"from {basis}"))
    if any(estimate.measuring is None for estimate in estimates + plan.to_measure):
        rows.append(("", "without the time of measuring, which no earlier run has recorded"))
    if plan.half_done:
        rows.append(("", "half-done trials are counted whole"))
    if plan.hours is not None:
        concurrent = max(1, min(plan.concurrent or 1, plan.left))
        rows.append(
            ("wall clock", f"{format_duration(3600 * plan.hours)}, {concurrent} trials at once")
        )
    return rows


def _resources(plan: Plan) -> str:
    asked, machine = plan.sweep.resources, plan.machine
    told = f"a trial asks for {asked.workers} x {asked.cpus_per_worker:g} CPUs"
    if asked.gpus_per_worker:
        told += f" and {asked.workers} x {asked.gpus_per_worker:g} GPUs"
    if machine.cluster is not None:
        return f"{told}; the cluster at {machine.cluster} is asked at the start"
    gpus = "GPUs that cannot be counted" if machine.gpus is None else f"{machine.gpus} GPUs"
    told += f"; this machine has {machine.cpus} CPUs and {gpus}"
    if plan.concurrent is None:
        return f"{told}; Ray counts them at the start"
    return f"{told}: {plan.concurrent or 'no'} trial{'s' * (plan.concurrent != 1)} at once"


def _memory(plan: Plan) -> str:
    if plan.peak_memory is None:
        return "of a trial not known: not recorded by an earlier run of these students"
    peaks = ", ".join(
        f"{format_bytes(peak)} {'of the process' if place == 'cpu' else 'on the GPU'}"
        for place, peak in plan.peak_memory.items()
    )
    return f"at most {peaks} in earlier runs of these students; packed data is mapped, not held"


def _disk(plan: Plan) -> str:
    parts = [
        f"{kind} {'not known' if amount is None else format_bytes(amount)}"
        for kind, amount in plan.disk.items()
        if amount is None or amount
    ]
    free = format_bytes(plan.free)
    return f"to write: {', '.join(parts) or 'nothing'}; free at {plan.store}: {free}"


def _budget(sweep: Sweep) -> str:
    limits = sweep.budget.model_dump(exclude={"failures"}, exclude_none=True)
    return ", ".join(f"{limit:g} {key.replace('_', ' ')}" for key, limit in limits.items())


def _warnings(plan: Plan) -> list[str]:
    lines, budget = [], plan.sweep.budget
    known = sum(amount or 0 for amount in plan.disk.values())
    if known > plan.free:
        lines.append(
            f"the disk is too small: {format_bytes(known)} to write, "
            f"{format_bytes(plan.free)} free at "
            f"{plan.store}; make room, or name another place with --store"
        )
    if plan.concurrent == 0:
        lines.append(
            "no trial fits on this machine; lower resources.workers, cpus_per_worker or "
            "gpus_per_worker, or name a cluster in RAY_ADDRESS"
        )
    for key, needed in (("hours", plan.hours), ("gpu_hours", plan.gpu_hours)):
        limit = getattr(budget, key)
        if limit is not None and needed is not None and needed > limit:
            lines.append(f"budget.{key}: {limit:g} will not do for about {needed:.2g}")
    return lines


def confound_lines(found: list[Confound]) -> list[str]:
    """One line for each swept key, as `method.queue_size moves planned steps 5544→39312`."""
    lines = []
    for key in dict.fromkeys(confound.key for confound in found):
        moved = [
            f"{confound.quantity} {_moves([value for _, value in confound.values])}"
            for confound in found
            if confound.key == key
        ]
        lines.append(f"{key} moves {', '.join(moved)}")
    return lines


def _moves(values: list[Any]) -> str:
    """From the first to the last if it goes one way, else each that occurs."""
    shown = list(dict.fromkeys(map(format_number, values)))
    if all(isinstance(value, int | float) for value in values) and (
        values == sorted(values) or values == sorted(values, reverse=True)
    ):
        return f"{shown[0]}→{shown[-1]}"
    return " | ".join(shown)
