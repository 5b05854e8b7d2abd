"""Readable names of trials, and of the values of the keys that vary in the sweep."""

import json
import re
from typing import Any

from comodo.config import NoneMethod, SupervisedMethod, Sweep
from comodo.config.space import Range, flatten
from comodo.search.trial import Trial

OF_UNTRAINED = ("dataset", "student.", "protocol", "probe_")
"""Keys that can make a difference between two untrained students and their metrics."""


class Labels:
    """The names in one sweep; `keys`: dotted keys of `trial` that take more than one value, without
    the method's name and keys that recipes set. Of models whose names all differ, only the name."""

    def __init__(self, sweep: Sweep) -> None:
        points = [sweep.with_values(point).model_dump(mode="json") for point in sweep.points()]
        for part in ("teacher", "student"):
            models = {json.dumps(point[part], sort_keys=True) for point in points}
            names = {point[part]["name"] for point in points}
            if 1 < len(names) == len(models):
                points = [{**point, part: {"name": point[part]["name"]}} for point in points]
        seen: dict[str, list[Any]] = {}
        for point in points:
            for key, value in flatten(point).items():
                values = seen.setdefault(key, [])
                if value not in values:
                    values.append(value)
        named_elsewhere = {"method.name"}.union(*(recipe.set for recipe in sweep.recipes))
        self.keys = [
            key for key, values in seen.items() if len(values) > 1 and key not in named_elsewhere
        ]

    def configuration(self, trial: Trial, leave_out: str = "") -> str:
        """The label of a configuration, the same for all seeds; `leave_out`: a key to omit."""
        mine = flatten(trial.config.model_dump(mode="json"))
        name: str = trial.config.method.name
        keys = [key for key in self.keys if key != leave_out]
        if isinstance(trial.config.method, NoneMethod):
            name = "as pretrained" if trial.config.student.weights else "untrained"
            keys = [key for key in keys if key.startswith(OF_UNTRAINED)]
        if isinstance(trial.config.method, SupervisedMethod):
            keys = [key for key in keys if not key.startswith("teacher.")]
        return " ".join([name, *(_shown(key, mine[key]) for key in keys if key in mine)])

    def trial(self, trial: Trial) -> str:
        return f"{self.configuration(trial)} seed {trial.seed}"


def rounded(text: str) -> str:
    """Labels with drawn values cut to four digits, for people to read; no longer unique."""
    return re.sub(r"(?<==)\d+\.\d{5,}(e-?\d+)?", lambda found: f"{float(found[0]):.4g}", text)


def swept_keys(sweep: Sweep) -> dict[str, str]:
    """The values that the sweep gives to each key, as text."""
    return {
        key: f"{span.min:g} to {span.max:g}{', log' * span.log}"
        if isinstance(span, Range)
        else ", ".join(map(_choice, span.values))
        for key, span in sweep.search.space.items()
    }


def _choice(value: Any) -> str:
    """`comodo queue_size=64` for settings."""
    if not isinstance(value, dict):
        return str(value)
    return " ".join(str(v) if k == "name" else f"{k}={v}" for k, v in value.items())


def _shown(key: str, value: Any) -> str:
    """`queue_size=256`; of data sets and models only the name."""
    if key in ("dataset", "teacher.name", "student.name"):
        return str(value)
    if key == "student.channels":  # acc_x, acc_y, acc_z: acc_xyz
        axes: dict[str, str] = {}
        for channel in value:
            sensor, axis = channel.split("_")
            axes[sensor] = axes.get(sensor, "") + axis
        return "+".join(f"{sensor}_{letters}" for sensor, letters in axes.items())
    return f"{key.split('.')[-1]}={value}"
