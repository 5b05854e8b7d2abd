"""Settings of a trial that are set by their dotted keys: the search's values, and recipes."""

import copy
from typing import Any, Literal

from pydantic import Field, field_validator

from comodo.config.base import ConfigError, Settings, as_list
from comodo.config.space import Choices, Point, Range, expanded
from comodo.config.student import BASELINE_NAMES, STUDENT_SIZES, TAKEN_BY
from comodo.config.trial import METHODS
from comodo.core.errors import nearest

TRAINING = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "schedule")


class Recipe(Settings):
    """Training settings that belong to a data set, a method or a student, such as its published
    schedule. Not an axis of the search: they are applied after the search's values."""

    when: dict[Literal["dataset", "method.name", "student.name"], str | list[str]] = Field(
        min_length=1
    )
    """The values, or lists of values, that a trial must have for the recipe to apply."""
    set: dict[str, Any] = Field(min_length=1)
    """Values for keys of `trial`: epochs, batch_size, learning_rate, weight_decay, warmup,
    schedule, and the method's keys except its name."""

    @field_validator("set")
    @classmethod
    def _is_training(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in values:
            if key not in TRAINING and (not key.startswith("method.") or key == "method.name"):
                raise ValueError(
                    f"'{key}' cannot be set by a recipe; only {', '.join(TRAINING)} "
                    "and keys of the method can, such as method.queue_size"
                )
        return values

    def fits(self, flat: Point) -> bool:
        return all(flat.get(key) in as_list(wanted) for key, wanted in self.when.items())

    def check(self, datasets: list[str], space: dict[str, Choices | Range]) -> None:
        """Raises ValueError, with the key first, for an unknown name or a key of the space."""
        known = {
            "dataset": datasets,
            "method.name": list(METHODS),
            "student.name": list(STUDENT_SIZES),
        }
        for key, wanted in self.when.items():
            for name in as_list(wanted):
                if name not in known[key]:
                    raise ValueError(f"when.{key}: unknown '{name}'{nearest(name, known[key])}")
        methods = space["method"].ends() if "method" in space else []
        for changed in self.set:
            inside = changed.startswith("method.") and any(
                isinstance(method, dict) and changed.split(".")[1] in method for method in methods
            )
            around = (
                key.startswith(f"{changed}.") or (key != "method" and changed.startswith(f"{key}."))
                for key in space
            )
            if changed in space or inside or any(around):
                raise ValueError(f"set.{changed}: is also swept; remove it here or from the space")


def apply_overrides(data: dict[str, Any], values: Point, where: str) -> None:
    """Sets values in a trial's settings; settings that a new method or model lacks are removed.
    `where` is the prefix of the keys in the file. Raises ConfigError for a key inside a value."""
    # Whole mappings before the keys in them, and names before what depends on them.
    for key in sorted(values, key=lambda key: (key.count("."), not key.endswith(".name"))):
        *parents, last = key.split(".")
        at: Any = data
        for parent in parents:
            if isinstance(at, dict) and isinstance(at.get(parent), str):
                at[parent] = copy.copy(expanded(parent, at[parent]))
            at = at.setdefault(parent, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ConfigError.at(f"{where}{key}", "trial has no such key")
        if last == "name" and at.get("name") != values[key]:
            _remove_foreign(parents[-1] if parents else "", at, values[key])
        at[last] = copy.deepcopy(values[key])


def _remove_foreign(part: str, settings: dict[str, Any], name: Any) -> None:
    """Removes the settings that a method, student or teacher of this name does not have."""
    foreign: set[str] = set()
    if part == "method" and name in METHODS:
        foreign = settings.keys() - METHODS[name].model_fields.keys()
    elif part == "student":
        foreign = {key for key, names in TAKEN_BY.items() if name not in names}
        if name in BASELINE_NAMES:
            foreign |= {"weights", "revision", "pooling", "train_encoder"}
        if name in STUDENT_SIZES and "size" in settings:
            size = settings["size"]
            settings["size"] = {key: size[key] for key in size if key in STUDENT_SIZES[name]}
    elif part == "teacher":
        if name in ("efficientnet-lite0", "precomputed"):
            foreign |= {"weights", "revision"}
        if name != "precomputed":
            foreign |= {"path", "ids", "features"}
    for key in settings.keys() & foreign:
        del settings[key]
