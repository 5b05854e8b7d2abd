"""The accuracies that the COMODO paper published, and the sweep's test accuracies compared with
them, as lines of Markdown. Every published value is one run, chosen by its accuracy on the test
split. The rows are in the sweep's own order and under its own labels.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from comodo.config import DistillingMethod, StudentConfig, Sweep, TeacherConfig, TrialConfig
from comodo.config.student import STUDENT_PRESETS
from comodo.config.trial import TEACHER_PRESETS
from comodo.core.markdown import as_text
from comodo.evaluation.results import Results, TrialRow
from comodo.report.tables import Markup, cell, markdown

DATASETS = {"ego4d": "ego4d", "egoexo4d": "egoexo4d", "uestc-mmea-cl": "mmea", "mmea": "mmea"}
"""From the kind of a data set, or the name of a simulated stand-in, to the paper's short name."""
TOP_K = (1, 3, 5)


@dataclass(frozen=True)
class Published:
    """One published run."""

    accuracy: dict[int, float]  # Acc@k as a share, by k
    queue_size: int | None  # None for methods without a queue


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
    if isinstance(config.method, DistillingMethod):
        wanted["teacher"] = _published_model("teacher", config.teacher, stand_in)
    if None in wanted.values():
        return None
    runs = [run for run in _runs() if wanted.items() <= run.items()
            and run["pooling"] in (None, config.student.pooling)]  # fmt: skip
    if not runs:
        return None
    queue, batch = _queue_size(config), config.batch_size
    run = min(runs, key=lambda run: [run["queue_size"] != queue, run["batch_size"] != batch])
    return Published({k: run[f"acc{k}"] / 100 for k in TOP_K}, run["queue_size"])


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
        same = stand_in or name not in presets or _has_weights(model, preset)
        if model.name == preset["name"] and same:
            return str(name)
    return None


def _has_weights(model: StudentConfig | TeacherConfig, preset: dict[str, Any]) -> bool:
    """Whether they are the preset's; a local copy counts if its folder is named as on the hub."""
    mine, theirs = model.weights or "", preset.get("weights", "")
    return bool(mine) and mine.rstrip("/").split("/")[-1].lower() == theirs.split("/")[-1].lower()


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
    return ["## Compared with the paper", "", *_cautions(results, pairs), *markdown(header, rows)]


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
