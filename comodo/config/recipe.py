"""Recipes: how something is trained that goes with a data set, a method or a student."""

from typing import Any, Literal

from pydantic import Field, field_validator

from comodo.config.base import Settings, nearest
from comodo.config.overrides import METHOD_SETTINGS
from comodo.config.space import Choices, Point, Range
from comodo.config.trial import STUDENT_SIZES

TRAINING = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup")


class Recipe(Settings):
    """How something is trained that goes with a data set, a method or a student, as its published
    schedule. No axis of the search: it is set after the search's values."""

    when: dict[Literal["dataset", "method.name", "student.name"], str | list[str]] = Field(
        min_length=1
    )
    """What a trial must have: a value, or one of a list."""
    set: dict[str, Any] = Field(min_length=1)
    """Keys of `trial` to their values then: epochs, batch_size, learning_rate, weight_decay,
    warmup, and those of the method but its name."""

    @field_validator("set")
    @classmethod
    def _is_training(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in values:
            of_method = key.startswith("method.") and key != "method.name"
            if key not in TRAINING and not of_method:
                raise ValueError(
                    f"'{key}' is not for recipes; they set {', '.join(TRAINING)} "
                    "and keys of the method, as method.queue_size"
                )
        return values

    def fits(self, flat: Point) -> bool:
        return all(
            flat.get(key) in (wanted if isinstance(wanted, list) else [wanted])
            for key, wanted in self.when.items()
        )

    def check(self, datasets: list[str], space: dict[str, Choices | Range]) -> None:
        """Raises ValueError for a name that there is not, or what the space has already; the text
        begins with the key."""
        known = {
            "dataset": datasets,
            "method.name": list(METHOD_SETTINGS),
            "student.name": list(STUDENT_SIZES),
        }
        for key, wanted in self.when.items():
            for name in wanted if isinstance(wanted, list) else [wanted]:
                if name not in known[key]:
                    raise ValueError(f"when.{key}: unknown '{name}'{nearest(name, known[key])}")
        methods = space["method"].ends() if "method" in space else []
        for follows in self.set:
            inside = follows.startswith("method.") and any(
                isinstance(method, dict) and follows.split(".")[1] in method for method in methods
            )
            if follows in space or inside:
                raise ValueError(f"set.{follows}: is swept; leave out one of both")
