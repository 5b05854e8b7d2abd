"""The accuracies that the COMODO paper published, and the sweep's test accuracies compared with
them, as lines of Markdown, with the settings that differ from those of the published runs. Every
published value is one run, chosen by its accuracy on the test split. The rows are in the sweep's
own order and under its own labels.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from comodo.config import StudentConfig, Sweep, TeacherConfig, TrialConfig
from comodo.config.space import flatten
from comodo.config.student import STUDENT_PRESETS
from comodo.config.teacher import TEACHER_PRESETS
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.results import Results, TrialRow
from comodo.report.tables import Markup, cell, markdown

DATASETS = {"ego4d": "ego4d", "egoexo4d": "egoexo4d", "uestc-mmea-cl": "mmea", "mmea": "mmea"}
"""From the kind of a data set, or the name of a simulated stand-in, to the paper's short name."""
TOP_K = (1, 3, 5)
TRAINING = ("epochs", "batch_size", "learning_rate")
"""Settings of the published runs that are known of some only."""
IDENTITY = {"name", "weights", "revision", "allow_remote_code"}
"""Of a model, what `find` compares, or what differs between copies of the same weights."""


@dataclass(frozen=True)
class Published:
    """One published run."""

    accuracy: dict[int, float]  # Acc@k as a share, by k
    queue_size: int | None  # None for methods without a queue
    training: dict[str, Any]  # by the keys of TRAINING; None: not published
    head: str | None  # kind of the student's projector; None for methods without one
    pooling: str | None
    student: str  # a preset, or a family


def find(sweep: Sweep, config: TrialConfig, tested_on: str) -> Published | None:
    """The published run of a configuration on a test data set; None if there is none.

    Among several runs of `comodo`, one with the same queue size is preferred, then one with the
    same batch size, then the one in the paper's tables. A simulated stand-in is treated as the
    data set that it is named after, whatever weights its models have.
    """
    stand_in = is_stand_in(config.dataset, sweep)
    wanted = {
        "trained_on": _published_name(config.dataset, sweep),
        "tested_on": _published_name(tested_on, sweep),
        "method": config.method.name,
        "student": _published_model("student", config.student, stand_in),
    }
    if config.method.needs_teacher:
        assert config.teacher is not None
        wanted["teacher"] = _published_model("teacher", config.teacher, stand_in)
    if None in wanted.values():
        return None
    runs = [run for run in _runs() if wanted.items() <= run.items()
            and run["pooling"] in (None, config.student.pooling)]  # fmt: skip
    if not runs:
        return None
    queue, batch = _queue_size(config), config.batch_size
    run = min(runs, key=lambda run: [run["queue_size"] != queue, run["batch_size"] != batch])
    accuracy, training = {k: run[f"acc{k}"] / 100 for k in TOP_K}, {k: run[k] for k in TRAINING}
    return Published(
        accuracy, run["queue_size"], training, run["head"], run["pooling"], run["student"]
    )


def is_stand_in(dataset: str, sweep: Sweep) -> bool:
    return sweep.datasets[dataset].kind == "simulated"


def _queue_size(config: TrialConfig) -> int | None:
    size: int | None = getattr(config.method, "queue_size", None)
    return size


def _published_name(dataset: str, sweep: Sweep) -> str | None:
    """The paper's short name of a sweep's data set."""
    return DATASETS.get(dataset if is_stand_in(dataset, sweep) else sweep.datasets[dataset].kind)


@cache
def _runs() -> list[dict[str, Any]]:
    content = json.loads(Path(__file__).with_suffix(".json").read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]


def _published_model(part: str, model: StudentConfig | TeacherConfig, stand_in: bool) -> str | None:
    """The published model with the same weights; one without a preset is compared by name."""
    presets = STUDENT_PRESETS if part == "student" else TEACHER_PRESETS
    for name in dict.fromkeys(run[part] for run in _runs() if run[part]):
        preset = presets.get(name, {"name": name})
        same = stand_in or "weights" not in preset or _has_weights(model, preset)
        if model.name == preset["name"] and same:
            return str(name)
    return None


def _has_weights(model: StudentConfig | TeacherConfig, preset: dict[str, Any]) -> bool:
    """Whether they are the preset's; a local copy counts if its folder is named as on the hub."""
    mine, theirs = model.weights or "", preset.get("weights", "")
    return bool(mine) and mine.rstrip("/").split("/")[-1].lower() == theirs.split("/")[-1].lower()


def other_settings(config: TrialConfig, run: Published, stand_in: bool) -> dict[str, Any]:
    """The settings of a trial that are not those of its published run, with the published value.

    Compared are those that the method uses and that are known of the run: its own, and the defaults
    of the trial's protocol for all others. Of another protocol only `protocol` is listed, and what
    differs besides. A stand-in's model is not compared, as it is a tiny one.
    """
    name = config.method.name
    distils = config.method.needs_teacher
    student = config.student.model_dump(mode="json", include={*IDENTITY, "size"})
    if run.pooling is not None:
        student["pooling"] = run.pooling
    if not stand_in:
        student["size"] = STUDENT_PRESETS.get(f"{run.student}-published", {}).get("size", {})
    method: dict[str, Any] = {"name": name}
    if run.queue_size is not None:
        method["queue_size"] = run.queue_size
    if run.head is not None:
        method["head"] = {"kind": run.head}
    teacher = config.teacher and config.teacher.model_dump(
        mode="json", include=IDENTITY if distils else None
    )
    unknown = {key: getattr(config, key) for key in unknown_settings(name, run)}
    known = {key: value for key, value in run.training.items() if value is not None}
    content = {"dataset": config.dataset, "teacher": teacher, "student": student, "method": method}
    published = TrialConfig.model_validate(
        {"protocol": config.protocol, **content, **known, **unknown}, context={"read_back": True}
    )
    mine, theirs = (flatten(c.model_dump(mode="json")) for c in (config, published))
    found = {
        key: theirs.get(key)
        for key in dict.fromkeys([*mine, *theirs])
        if mine.get(key) != theirs.get(key) and _uses(name, key)
    }
    return ({} if config.protocol == "published" else {"protocol": "published"}) | found


def unknown_settings(method: str, run: Published) -> list[str]:
    """The training settings that are not published of a run."""
    if method == "none":
        return []
    # The code that trained with other losses, or labels, is not public.
    more = [] if method == "comodo" else ["weight_decay", "warmup", "schedule"]
    return [*(key for key, value in run.training.items() if value is None), *more]


def _uses(method: str, key: str) -> bool:
    """Whether a setting makes a difference to students of a method, or to measuring them."""
    if method == "none":
        return key.startswith(("student.", "probe_"))
    of_distilling = ("teacher.", "zero_shot_") if method == "supervised" else ()
    return method == "comodo" or not key.startswith(("queue_", *of_distilling))


@dataclass(frozen=True)
class _Pair:
    """A configuration on one test data set, and its published run."""

    row: TrialRow  # the configuration's first finished trial; if none has finished, its first
    tested_on: str
    run: Published

    @property
    def other_queue(self) -> bool:
        return self.run.queue_size != _queue_size(self.row.trial.config)

    @property
    def published_by_classifier(self) -> bool:
        """Supervised students were published with their own classifier, except in transfer."""
        config = self.row.trial.config
        return config.method.name == "supervised" and self.tested_on == config.dataset

    @property
    def by_classifier(self) -> bool:
        return self.published_by_classifier and "classifier/test/acc1" in self.row.metrics


def paper_comparison(results: Results) -> list[str]:
    """The section; no lines if none of the sweep's configurations was published."""
    pairs = _pairs(results)
    if not pairs:
        return []
    header = ["configuration", "tested on"]
    rows = [[pair.row.title, pair.tested_on] for pair in pairs]
    for k in TOP_K:
        header += [f"Acc@{k}", "published", "difference"]
        for row, pair in zip(rows, pairs, strict=True):
            row += _cells(results, pair, k)
    table = [*_cautions(results, pairs), *markdown(header, rows)]
    return ["## Compared with the paper", "", *table, *_settings(results, pairs)]


def _settings(results: Results, pairs: list[_Pair]) -> list[str]:
    """Which settings are not those of the quoted runs, below the table."""
    differing: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    for pair in pairs:
        config = pair.row.trial.config
        mine = flatten(config.model_dump(mode="json"))
        found = other_settings(config, pair.run, is_stand_in(config.dataset, results.sweep))
        parts = [(key, str(mine.get(key, "none")), str(value)) for key, value in found.items()]
        shown = ", ".join(
            f"{as_code(key)} {as_text(ours)} instead of {as_text(theirs)}"
            for key, ours, theirs in parts
        )
        named = pair.row.label
        if pair.tested_on != config.dataset:
            named += f" on {pair.tested_on}"
        if shown:
            differing.setdefault(shown, []).append(named)
        if lacking := ", ".join(unknown_settings(config.method.name, pair.run)):
            unknown.setdefault(lacking, []).append(named)
    lines = ["Settings that are not those of the quoted runs:", ""]
    lines += [f"- {as_text(', '.join(names))}: {shown}" for shown, names in differing.items()]
    if not differing:
        lines = ["All settings are those of the quoted runs, as far as these are known."]
    if unknown:
        listed = [f"{keys} of {as_text(', '.join(names))}" for keys, names in unknown.items()]
        lines += ["", f"Not published, and so not compared: {'; '.join(listed)}."]
    return [*lines, ""]


def _pairs(results: Results) -> list[_Pair]:
    queues_swept = "method.queue_size" in results.labels.keys
    pairs = []
    for label in dict.fromkeys(row.label for row in results.rows):
        trials = [*results.by_label.get(label, ()), *results.rows]
        row = next(row for row in trials if row.label == label)
        config = row.trial.config
        # A sweep of queue sizes on real data is compared only where that size was published.
        same_queue = queues_swept and not is_stand_in(config.dataset, results.sweep)
        for tested_on in row.trial.measured_on():
            if run := find(results.sweep, config, tested_on):
                pair = _Pair(row, tested_on, run)
                if not (same_queue and pair.other_queue):
                    pairs.append(pair)
    return pairs


def _cells(results: Results, pair: _Pair, k: int) -> list[str]:
    """The sweep's accuracy with its interval, the published one, and the difference in points."""
    label, theirs = pair.row.label, pair.run.accuracy[k]
    ours = None
    if label in results.by_label and pair.by_classifier:
        ours = results.measure(label, f"classifier/test/acc{k}")
    elif label in results.by_label:
        ours = results.accuracy(label, "test", k, pair.tested_on)
    shown = f"{100 * theirs:.2f}"
    if pair.other_queue:
        shown += f" (queue {pair.run.queue_size:,})"
    if ours is None:
        return ["–", shown, "–"]
    difference = f"{100 * (ours.mean - theirs):+.1f}"
    if not math.isnan(ours.low) and len(results.by_label[label]) > 1:
        inside = ours.low <= theirs <= ours.high
        difference += ", not distinguishable" if inside else ", **outside**"
    return [cell(ours), shown, Markup(difference)]


def _cautions(results: Results, pairs: list[_Pair]) -> list[str]:
    """What a reader has to know before comparing the numbers."""
    sweep = results.sweep
    trained_and_tested = ((p.row.trial.config.dataset, p.tested_on) for p in pairs)
    used = dict.fromkeys(chain.from_iterable(trained_and_tested))
    lines = []
    if stand_ins := [name for name in used if is_stand_in(name, sweep)]:
        lines += [
            f"> **This comparison means nothing**: simulated data ({', '.join(stand_ins)}) stand "
            "in for the paper's recordings. It only shows what the table looks like.",
            "",
        ]
    lines += [
        "Test accuracy in percent, with the 95 % interval. *Outside*: the published value is "
        "outside this interval. *Not distinguishable*: it is inside. One seed can show neither.",
        "",
        "- Each published value is a single run without an interval, selected on the test split.",
        f"- This sweep follows the `{sweep.protocol}` protocol, with {len(sweep.seeds)} seeds.",
    ]
    if any(pair.other_queue for pair in pairs):
        queue = "the published run had this queue size, not the one of this sweep"
        lines.append(f"- A queue in brackets: {queue}.")
    by_probe = ", ".join(
        p.row.label for p in pairs if p.published_by_classifier and not p.by_classifier
    )
    if by_probe:
        how = "Measured with the probe here, published with the student's own classifier"
        lines.append(f"- {how}: {as_text(by_probe)} (add `classifier` to `measures`).")
    if resplit := [name for name in used if sweep.datasets[name].split_by_group is not None]:
        lines.append(f"- Not the published splits, but split by group: {', '.join(resplit)}.")
    return [*lines, ""]
