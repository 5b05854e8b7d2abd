"""The accuracies that the COMODO paper published, and which of them belongs to a configuration.

Every published value is one run, chosen by its accuracy on the test split.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from comodo.config import (
    ComodoMethod,
    DatasetConfig,
    DistillingMethod,
    SimulatedDataset,
    StudentConfig,
    Sweep,
    TeacherConfig,
    TrialConfig,
)
from comodo.config.trial import STUDENT_PRESETS, TEACHER_PRESETS

DATASETS = {"ego4d": "ego4d", "egoexo4d": "egoexo4d", "uestc-mmea-cl": "mmea", "mmea": "mmea"}
"""From the kind of a data set, or the name of a simulated stand-in, to the paper's short name."""


@dataclass(frozen=True)
class Published:
    """One published run."""

    accuracy: dict[int, float]
    """Acc@k as a share, by k."""
    queue_size: int | None
    """None for methods without a queue."""


def find(sweep: Sweep, config: TrialConfig, tested_on: str) -> Published | None:
    """The published run of a configuration on a test data set; None if there is none.

    Among several runs of `comodo`, one with the same queue size is preferred, then one with the
    same batch size, then the one in the paper's tables. A simulated stand-in is treated as the
    data set that it is named after, whatever weights its models have.
    """
    stand_in = is_stand_in(sweep.datasets[config.dataset])
    wanted = {
        "trained_on": dataset_of(config.dataset, sweep),
        "tested_on": dataset_of(tested_on, sweep),
        "method": config.method.name,
        "student": _name("student", config.student, stand_in),
    }
    if isinstance(config.method, DistillingMethod):
        wanted["teacher"] = _name("teacher", config.teacher, stand_in)
    if None in wanted.values():
        return None
    runs = [run for run in _runs() if wanted.items() <= run.items()
            and run["pooling"] in (None, config.student.pooling)]  # fmt: skip
    if not runs:
        return None
    queue = config.method.queue_size if isinstance(config.method, ComodoMethod) else None
    run = min(
        runs, key=lambda run: (run["queue_size"] != queue, run["batch_size"] != config.batch_size)
    )
    return Published({k: run[f"acc{k}"] / 100 for k in (1, 3, 5)}, run["queue_size"])


def is_stand_in(settings: DatasetConfig) -> bool:
    return isinstance(settings, SimulatedDataset)


def dataset_of(name: str, sweep: Sweep) -> str | None:
    """The paper's short name of a sweep's data set."""
    settings = sweep.datasets[name]
    return DATASETS.get(name if is_stand_in(settings) else settings.kind)


@cache
def _runs() -> list[dict[str, Any]]:
    content = json.loads(Path(__file__).with_suffix(".json").read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]


def _name(part: str, model: StudentConfig | TeacherConfig, stand_in: bool) -> str | None:
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
