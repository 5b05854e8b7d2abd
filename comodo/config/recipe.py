"""Recipes: settings that a trial gets besides those of the search; knows no other trial."""

from typing import Any, Literal

from pydantic import Field, field_validator

from comodo.config.base import Settings, as_list, nearest
from comodo.config.overrides import METHOD_SETTINGS
from comodo.config.space import Choices, Point, Range
from comodo.config.trial import STUDENT_SIZES

TRAINING = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup")


class Recipe(Settings):
    """Training settings that belong to a data set, a method or a student, such as its published
    schedule. Not an axis of the search: they are applied after the search's values."""

    when: dict[Literal["dataset", "method.name", "student.name"], str | list[str]] = Field(
        min_length=1
    )
    """The values, or lists of values, that a trial must have for the recipe to apply."""
    set: dict[str, Any] = Field(min_length=1)
    """Values for keys of `trial`: epochs, batch_size, learning_rate, weight_decay, warmup, and the
    method's keys except its name."""

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
        """Raises ValueError for an unknown name, or a key that the space has too; the message
        begins with the key."""
        known = {
            "dataset": datasets,
            "method.name": list(METHOD_SETTINGS),
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
            if changed in space or inside:
                raise ValueError(f"set.{changed}: is also swept; remove it here or from the space")
