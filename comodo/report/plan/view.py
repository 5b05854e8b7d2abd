"""How a plan looks on a terminal: words and units for the numbers of `comodo.report.plan.plan`."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from comodo.config.measures import prompts_of
from comodo.core.units import format_bytes, format_duration, format_number
from comodo.data.recordings import SPLIT_NAMES
from comodo.report.plan.confounds import Confound
from comodo.report.plan.estimates import describe_student
from comodo.report.plan.inventory import DatasetPlan, FeaturesPlan
from comodo.report.plan.plan import MAX_COUNTED, Plan
from comodo.report.plan.teachers import pooling_of

UNKNOWN = "not known"
Fact = tuple[str, str]


def show_plan(plan: Plan) -> RenderableType:
    """The complete plan, ready to be printed."""
    parts: list[RenderableType] = [Text(_progress(plan)), _stages(plan), _facts(plan)]
    parts += [Text(line, style="yellow") for line in warning_lines(plan)]
    if plan.sweep.search.space:
        parts.append(Text("confounds: what else changes with a swept key", style="bold"))
        lines = confound_lines(plan.confounds)
        names = dict.fromkeys(name for name, _ in plan.sweep.trained_on())
        if unknown := ", ".join(name for name in names if name not in plan.inventory.train):
            quantities = "steps, warm-up and learning rate"
            lines.append(f"on {unknown}: {quantities} are not known before comodo prepare")
        parts += [Text(f"  {line}", style="yellow") for line in lines] or [Text("  nothing")]
    return Group(*parts)


def _progress(plan: Plan) -> str:
    sweep, trials = plan.sweep, plan.trials
    count = str(len(trials.planned))
    if sweep.search.sampler != "grid":
        count = f"at most {sweep.budget.trials}"
    measure = f"{len(trials.to_measure)} to measure only, " if trials.to_measure else ""
    return (
        f"{sweep.name}: {sweep.search.sampler}, {count} trials: {trials.done} done, "
        f"{trials.half_done} half done, {measure}{trials.to_train - trials.half_done} to do"
    )


def _stages(plan: Plan) -> Table:
    counts = [Column(split, justify="right") for split in SPLIT_NAMES]
    table = Table("data set", "windows", *counts, "teacher", "features", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    trained = {name for name, _ in plan.sweep.trained_on()}
    for dataset in plan.inventory.datasets.values():
        state = "prepared"
        if dataset.ready is None:
            state = f"{dataset.waiting} of {dataset.recordings} recordings to prepare"
        row = [dataset.name, state, *(_count(dataset, split) for split in SPLIT_NAMES)]
        features = [f for f in plan.inventory.features if f.dataset == dataset.name]
        encodings = [_encoding(f, dataset.ready is not None) for f in features]
        none = "none needed" if dataset.name in trained else "none: only tested on"
        for cells in encodings or [(none, "")]:
            table.add_row(*row, *cells)
            row = [""] * len(row)
    return table


def _count(dataset: DatasetPlan, split: str) -> str:
    if dataset.windows is None:
        return "?"
    counts = [of_fold.get(split, 0) for of_fold in dataset.windows]
    low, high = min(counts), max(counts)
    return ("" if dataset.ready else "≤ ") + (str(low) if low == high else f"{low} to {high}")


def _encoding(features: FeaturesPlan, is_ready: bool) -> tuple[str, str]:
    teacher, total = features.teacher, "?" if features.total is None else features.total
    name = f"{teacher.name} {teacher.weights or teacher.path or ''}".rstrip()
    if features.complete:
        return name, "encoded"
    if teacher.several is not None:
        return f"these {len(teacher.several)} together", "to combine"
    if teacher.name == "precomputed":
        return name, "to read"
    if features.done and is_ready:
        return name, f"{features.done} of {total} windows encoded"
    if features.done:
        left = f"{features.left} of at most {total} windows to encode"
        return name, f"{left}, if the others are cut as before"
    at_most = "" if is_ready or features.total is None else "≤ "
    return name, f"{at_most}{total} windows to encode"


def _facts(plan: Plan) -> Table:
    columns = Column(no_wrap=True), Column(overflow="fold")
    table = Table(*columns, box=None, pad_edge=False, show_header=False)
    limits = plan.sweep.budget.model_dump(exclude={"failures"}, exclude_none=True)
    facts = [
        *_space(plan),
        *(("starts from", line) for line in plan.starts),
        *_steps(plan),
        *_poolings(plan),
        *_texts(plan),
        *_stage_times(plan),
        *(_trial_times(plan) if plan.trials.left else ()),
        *_resources(plan),
        *_disk(plan),
        ("budget", ", ".join(f"{n:g} {key.replace('_', ' ')}" for key, n in limits.items())),
    ]
    for name, value in facts:
        if value:
            table.add_row(name, Text(value))
    return table


def _space(plan: Plan) -> Iterator[Fact]:
    count, seeds, folds = plan.configurations, len(plan.sweep.seeds), plan.folds
    shown = "infinitely many" if count is None else f"{count:,}"
    if count == MAX_COUNTED:
        shown = f"over {shown}"
    each = f"each with {seeds} seeds"
    if folds:
        named = ", ".join(f"{number} folds of {name}" for name, number in folds.items())
        each += f" in {named}"
    yield "configurations", f"{shown}, {each}"
    if plan.sweep.search.sampler == "grid" and count is not None:
        own = count * seeds
        if folds:
            datasets = (plan.sweep.with_values(point).dataset for point in plan.sweep.grid())
            own = seeds * sum(folds.get(name, 1) for name in datasets)
            yield "", f"{own} trials: configurations x seeds x folds"
        references = len(plan.trials.planned) - own
        yield "references", f"{references} trials" if references > 0 else ""


def _steps(plan: Plan) -> Iterator[Fact]:
    if not plan.schedules:
        yield "steps", f"{UNKNOWN} before the windows are prepared"
        return
    real, planned, peak = (
        _span([getattr(schedule, name) for schedule in plan.schedules])
        for name in ("real", "planned", "peak")
    )
    bound = "" if all(d.ready for d in plan.inventory.datasets.values()) else "at most "
    yield "steps", f"{bound}{real} per trial"
    yield "steps planned", "" if planned == real else f"{planned} (by the schedule)"
    yield "learning rate", f"at most {peak}"


def _span(values: list[Any]) -> str:
    low, high = min(values), max(values)
    return format_number(low) if low == high else f"{format_number(low)} to {format_number(high)}"


def _poolings(plan: Plan) -> Iterator[Fact]:
    for teacher in dict.fromkeys(features.teacher for features in plan.inventory.features):
        if how := pooling_of(teacher):
            yield "features", f"of {teacher.weights}: {how}"


def _texts(plan: Plan) -> Iterator[Fact]:
    if "zero-shot-text" not in plan.sweep.measures:
        return
    for name in dict.fromkeys(name for name, _ in plan.sweep.trained_on()):
        texts = prompts_of(plan.inventory.datasets[name].labels, plan.sweep.prompt)
        yield "texts", f"of the classes of {name}: {'; '.join(texts)}"


def _stage_times(plan: Plan) -> Iterator[Fact]:
    if any(dataset.ready is None for dataset in plan.inventory.datasets.values()):
        yield "preparing", f"{UNKNOWN}: its speed is not recorded"
    for features in plan.inventory.features:
        if features.seconds != 0:
            known = features.seconds is not None
            time = f"about {format_duration(features.seconds or 0)}" if known else UNKNOWN
            what = f"{features.dataset} with {features.teacher.name}"
            yield "encoding", f"{what}: {time}; {features.basis}"


def _trial_times(plan: Plan) -> Iterator[Fact]:
    hours, trials = plan.trial_hours, plan.trials
    if hours is None:
        yield "trials", f"{UNKNOWN}: {_why_unknown(plan)}"
        return
    yield "trials", f"{format_duration(3600 * hours)} in total for {trials.left} trials"
    for basis in dict.fromkeys(estimate.basis for estimate in plan.training):
        yield "  based on", basis
    unknown = [e for e in plan.training + plan.measuring if e.measuring is None]
    if tuning := max((estimate.tuning for estimate in unknown), default=0.0):
        steps = "at that speed, if none stops early"
        yield "  fine-tuning", f"at most {format_duration(tuning)} for a trial, {steps}"
    if unknown:
        rest = "the rest of measuring" if tuning else "measuring"
        yield "  not counted", f"{rest}, which no earlier run recorded"
    yield "  half done", "counted as whole trials" if trials.half_done else ""
    yield "GPU time", format_duration(3600 * plan.gpu_hours) if plan.gpu_hours else ""
    if plan.hours is not None:
        at_once = max(1, min(plan.concurrent or 1, trials.left))
        yield "wall clock", f"{format_duration(3600 * plan.hours)}, {at_once} trials at once"


def _why_unknown(plan: Plan) -> str:
    trials = zip(plan.trials.to_estimate, plan.training, strict=True)
    unknown = [(trial, estimate) for trial, estimate in trials if estimate.training is None]
    names = "; ".join(dict.fromkeys(describe_student(trial.config) for trial, _ in unknown))
    reason = f"no earlier run of this student in this store ({names})"
    if all(estimate.basis for _, estimate in unknown):
        reason = "the windows are not prepared"
    if plan.speed_test_failed:
        return f"{reason}; the short run failed: {plan.speed_test_failed}"
    return f"{reason}; --measure makes a short run"


def _resources(plan: Plan) -> Iterator[Fact]:
    needed, machine = plan.resources, plan.inventory.machine
    each = f"{needed.cpus_per_worker:g} CPUs"
    if needed.gpus:
        each += f" and {needed.gpus:g} GPUs"
    yield "each trial", f"{needed.workers} x {each}"
    is_auto = plan.sweep.resources.gpus_per_worker == "auto"
    if machine.cluster is not None:
        more = ", and then GPUs for each trial" if is_auto else ""
        yield "cluster", f"{machine.cluster}; its resources are known at the start{more}"
    else:
        gpus = "GPUs not counted" if machine.gpus is None else f"{machine.gpus} GPUs"
        fits = UNKNOWN if plan.concurrent is None else str(plan.concurrent)
        yield "this machine", f"{machine.cpus} CPUs, {gpus}; trials at once: {fits}"
    where = {"cpu": "of the process", "cuda": "on the GPU"}
    peaks = [f"{format_bytes(n)} {where[place]}" for place, n in plan.peak_memory.items()]
    memory = f"at most {', '.join(peaks)} (earlier runs of these students; without mapped arrays)"
    yield "memory", memory if peaks else f"{UNKNOWN}: no earlier run of these students recorded it"


def _disk(plan: Plan) -> Iterator[Fact]:
    sizes = {
        kind: UNKNOWN if n is None else format_bytes(n) for kind, n in plan.disk.items() if n != 0
    }
    yield "disk", f"to write: {', '.join(map(' '.join, sizes.items())) or 'nothing'}"
    yield "disk free", f"{format_bytes(plan.free)} at {plan.store}"


def warning_lines(plan: Plan) -> Iterator[str]:
    """What to look at before the sweep starts."""
    for dataset in plan.inventory.datasets.values():
        yield from (f"{dataset.name}: {note}" for note in dataset.notes)
    yield from plan.start_notes
    known = sum(amount or 0 for amount in plan.disk.values())
    if known > plan.free:
        yield (
            f"the disk is too small: {format_bytes(known)} to write, {format_bytes(plan.free)} "
            f"free at {plan.store}; free some space, or name another place with --store"
        )
    if plan.concurrent == 0:
        yield (
            "no trial fits on this machine; lower resources.workers, cpus_per_worker or "
            "gpus_per_worker, or name a cluster in RAY_ADDRESS"
        )
    for key, needed in (("hours", plan.hours), ("gpu_hours", plan.gpu_hours)):
        limit = getattr(plan.sweep.budget, key)
        if limit is not None and needed is not None and needed > limit:
            time = format_duration(3600 * needed)
            yield f"budget.{key}: {limit:g} is not enough, the sweep needs about {time}"


def confound_lines(found: list[Confound]) -> list[str]:
    """One line for each swept key, as `method.queue_size: planned steps 5544→39312`."""
    changes: dict[str, list[str]] = {}
    for confound in found:
        change = f"{confound.quantity} {_change([value for _, value in confound.values])}"
        changes.setdefault(confound.key, []).append(change)
    return [f"{key}: {', '.join(quantities)}" for key, quantities in changes.items()]


def _change(values: list[Any]) -> str:
    """From the first to the last value if they rise or fall, otherwise all of them."""
    shown = list(dict.fromkeys(map(format_number, values)))
    if all(isinstance(value, int | float) for value in values) and (
        values == sorted(values) or values == sorted(values, reverse=True)
    ):
        return f"{shown[0]}→{shown[-1]}"
    return " | ".join(shown)
