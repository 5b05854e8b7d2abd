"""What else changes when a swept key changes: two queue sizes that also differ in learning rate
cannot be compared by queue size alone. Returns data; does not know how it is shown.
"""

import json
from dataclasses import dataclass
from typing import Any

from comodo.config import NoneMethod, Sweep, TrialConfig
from comodo.config.space import flatten
from comodo.search.train_split import TrainSplit
from comodo.training.schedule import schedule_of

Values = dict[str, Any]

OWN_EFFECTS = {
    "batch_size": {"batch size"},
    "epochs": {"epochs"},
    "last_window": {"last window"},
    "learning_rate": {"learning rate", "peak learning rate"},
    "schedule": {"schedule"},
    "warmup": {"warm-up steps"},
}
"""Quantities that a key is meant to change."""
REPORTED_AS_SCHEDULE = ("epochs", "batch_size", "learning_rate")
"""Keys that are also quantities, under another name."""


@dataclass(frozen=True)
class Confound:
    """A quantity that changes with a swept key."""

    key: str
    quantity: str
    values: list[tuple[Any, Any]]
    """Values of the key and of the quantity, with all other swept keys the same."""


def confounds(sweep: Sweep, train: dict[str, TrainSplit]) -> list[Confound]:
    """Every quantity that changes with a swept key while all other swept keys stay fixed.

    `train`: by data set, the windows to train on. For a data set that is not in it, quantities
    that depend on the number of windows are left out.
    """
    points = [(values, found) for values, found in _resolved(sweep, train) if found]
    seen: list[Confound] = []
    for key in dict.fromkeys(key for values, _ in points for key in values):
        own = {"head"} if key.startswith("method.head") else OWN_EFFECTS.get(key, set())
        found: dict[str, Confound] = {}
        for group in _alike_except(key, points):
            for quantity in dict.fromkeys(name for _, resolved in group for name in resolved):
                pairs = [(v, resolved[quantity]) for v, resolved in group if quantity in resolved]
                if quantity not in own and len({shown for _, shown in pairs}) > 1:
                    found.setdefault(quantity, Confound(key, quantity, pairs))
        seen += found.values()
    return seen


def _resolved(sweep: Sweep, train: dict[str, TrainSplit]) -> list[tuple[Values, Values]]:
    follow = {key for recipe in sweep.recipes for key in recipe.set} - set(REPORTED_AS_SCHEDULE)
    found = []
    for values in sweep.points():
        trial = sweep.with_values(values)
        flat = flatten(trial.model_dump(mode="json"))
        followed = {key: flat[key] for key in sorted(follow) if key in flat}
        resolved = quantities(trial, train.get(trial.dataset))
        found.append((values, resolved and {**resolved, **followed}))
    return found


def quantities(trial: TrialConfig, train: TrainSplit | None) -> dict[str, Any]:
    """The quantities that a trial's settings result in; empty for a student that is not trained."""
    method = trial.method
    if isinstance(method, NoneMethod):
        return {}
    found: dict[str, Any] = {}
    if train is not None:
        windows = train.of(trial)
        steps = schedule_of(trial, windows)
        found = {
            "planned steps": steps.planned,
            "real steps": steps.real,
            "steps of the first epoch": steps.first_epoch_steps,
            "warm-up steps": steps.warmup_steps,
            "peak learning rate": steps.peak,
            "windows trained on": windows,
        }
    else:  # published: the queue changes the rate, but how much depends on the windows
        queue = 0 if method.queue is None else method.queue.queue_size
        counted = (trial.epochs - 1) * queue if trial.schedule == "published" else 0
        found = {"learning rate by steps planned for the queue": counted}
    heads = []
    if (projectors := method.projectors) is not None:
        projector = "with" if projectors.teacher_projector else "without"
        head = f"{projectors.kind} {projector} a teacher's projector"
        if projectors.kind == "mlp":
            head += f", hidden {projectors.hidden_dim}"
        if projectors.teacher_projector:
            head += f", output {projectors.output_dim}"
        heads.append(head)
    if method.has_classifier:
        heads.append("to the classes")
    return found | {
        "head": " and ".join(heads),
        "batch size": trial.batch_size,
        "learning rate": trial.learning_rate,
        "epochs": trial.epochs,
        "schedule": trial.schedule,
        "last window": trial.last_window,
    }


def _alike_except(key: str, points: list[tuple[Values, Values]]) -> list[list[tuple[Any, Values]]]:
    """Groups of points that differ only in the key: its values, each with the quantities.

    A key that only some of these points have depends on a condition, perhaps on this very key, so
    it is not held fixed; the first point of each value is used.
    """
    mine = [(values, found) for values, found in points if key in values]
    fixed = [name for name in mine[0][0] if all(name in values for values, _ in mine)]
    groups: dict[str, dict[str, tuple[Any, Values]]] = {}
    for values, found in mine:
        place = json.dumps([values[name] for name in fixed if name != key], sort_keys=True)
        name = json.dumps(values[key], sort_keys=True)
        groups.setdefault(place, {}).setdefault(name, (values[key], found))
    return [list(group.values()) for group in groups.values() if len(group) > 1]
