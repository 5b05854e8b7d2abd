"""Settings that are set by their dotted keys: a trial's by the search and by recipes, those of a
sweep file by the command line."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from comodo.config.base import ConfigError, as_list, dotted_key
from comodo.config.methods import METHODS
from comodo.config.own_code import CUSTOM
from comodo.config.reasons import reason_of
from comodo.config.short_forms import expanded
from comodo.config.space import Choices, Point, Range
from comodo.config.student import OPTIONS, STUDENTS, Family, family_of
from comodo.config.teacher import TEACHERS, WITHOUT_WEIGHTS
from comodo.core.errors import nearest
from comodo.core.settings import Settings

TRAINING = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "schedule")
TERMS = ["method", "terms"]
FROM = "student.from"


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
            "student.name": [*(n for n in STUDENTS.names() if n != "hand-crafted"), CUSTOM],
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
        for depth, parent in enumerate(parents):
            if isinstance(at, dict) and isinstance(at.get(parent), str | list):
                try:
                    at[parent] = copy.copy(expanded(parent, at[parent]))
                except ValueError as error:
                    inside = ".".join(parents[: depth + 1])
                    raise ConfigError.at(f"{where}{inside}", str(error)) from None
            if isinstance(at, dict) and parents[:depth] == TERMS and parent not in at:
                reason = f"method.terms has no term '{parent}'{nearest(parent, at)}; list it there"
                raise ConfigError.at(f"{where}{key}", reason)
            at = at.setdefault(parent, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ConfigError.at(f"{where}{key}", "trial has no such key")
        if key == FROM and values[key] is not None:  # all else comes with those weights
            for setting in at.keys() - {"train_encoder"}:
                del at[setting]
        if last == "name" and at.get("name") != values[key]:
            _remove_foreign(parents[-1] if parents else "", at, values[key])
        at[last] = copy.deepcopy(values[key])


def _remove_foreign(part: str, settings: dict[str, Any], name: Any) -> None:
    """Removes the settings that a method, student or teacher of this name does not have."""
    foreign: set[str] = set()
    if part == "method" and name in METHODS:
        foreign = settings.keys() - METHODS[name].model_fields.keys()
    elif part == "student":
        family = Family(None, joint=True) if name not in STUDENTS else family_of(name)
        foreign = {option for option in OPTIONS if option not in family.options}
        foreign |= {"code"} if name == CUSTOM else {"file", "class", "code"}
        if family.joint:
            foreign |= {"weights", "revision", "pooling"}
        if family.only_labels:
            foreign |= {"train_encoder"}
        if family.size is not None and "size" in settings:
            size = settings["size"]
            settings["size"] = {key: size[key] for key in size if key in family.size}
    elif part == "teacher":
        foreign |= {"code"} if name == CUSTOM else {"file", "class", "code"}
        if name in WITHOUT_WEIGHTS or name not in TEACHERS.built_in:
            foreign |= {"weights", "revision"}
        if name != "precomputed":
            foreign |= {"path", "ids", "features"}
        if name != "several":
            foreign |= {"several"}
    for key in settings.keys() & foreign:
        del settings[key]


def explained(
    error: ValidationError,
    data: dict[str, Any],
    values: Point,
    space: Mapping[str, Choices | Range],
    recipes: Sequence[Recipe],
) -> ConfigError:
    """Pydantic's error of a trial with these values of the space, as one of the sweep file's key
    that set the value; `data`: the trial's settings."""
    problem = error.errors()[0]
    key, around = dotted_key(problem["loc"], data)
    reason = reason_of([problem], key, around)
    if key in values and "has no such key" in reason:
        name = key.split(".")[1]
        methods = [n for n, m in METHODS.items() if name in m.model_fields]
        reason += f"; give it a condition, when: {{method.name: [{', '.join(methods)}]}}"
    if isinstance(space.get(key), Range) and problem["type"] == "int_from_float":
        reason += "; add integer: true"
    for number, recipe in enumerate(recipes):
        if key in recipe.set:
            return ConfigError.at(f"recipes.{number}.set.{key}", reason)
    alone = "".join(values) if len(values) == 1 else ""
    swept = next((k for k in values if key.startswith(k) or k.startswith(key)), alone)
    given = ", ".join(f"{k}={v}" for k, v in values.items())
    reason = f"{'.'.join(filter(None, ('trial', key)))} with {given}: {reason}"
    return ConfigError.at(f"search.space.{swept}".removesuffix("."), reason)


def override_file(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A sweep file's content with a dotted key set, as if the file had this value. Names that
    contain dots are found where the file has them. Raises ConfigError, which names the key, where
    the value would have no effect."""
    data = _copied(data)
    section, _, rest = key.partition(".")
    trial = data.get("trial")
    of_trial = "protocol" if key == "protocol" else rest if section == "trial" else ""
    if of_trial:
        _refuse_swept(data, key, of_trial)
    if of_trial == "protocol":  # of both places that may have it, the other one would remain
        data.pop("protocol", None)
        if isinstance(trial, dict):
            trial.pop("protocol", None)
        data["protocol"] = value
    elif section == "trial" and rest and isinstance(trial, dict):
        apply_overrides(trial, {rest: value}, "trial.")
    else:
        _set(data, key, value)
    return data


def _copied(value: Any) -> Any:
    """A copy in which no part is at two places, as where YAML has an *alias."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _refuse_swept(data: dict[str, Any], key: str, of_trial: str) -> None:
    """Each trial has the search's value, whatever `trial` says."""
    search = data.get("search")
    space = search.get("space") if isinstance(search, dict) else None
    for swept in space if isinstance(space, dict) else ():
        if f"{of_trial}.".startswith(f"{swept}."):
            fault = f"has no effect: search.space.{swept} sweeps it"
            raise ConfigError.at(key, f"{fault}; override search.space.{swept} instead")


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    at: Any = data
    *parents, last = _names(data, key)
    for parent in parents:
        place = int(parent) if isinstance(at, list) else parent
        if isinstance(at, dict) and at.get(parent) is None:
            at[parent] = {}
        at = at[place]
    at[int(last) if isinstance(at, list) else last] = value


def _names(data: dict[str, Any], key: str) -> list[str]:
    """The names, from the outermost to the innermost, that a dotted key has in a sweep file. Raises
    ConfigError for a place inside a single value, or behind the end of a list."""
    at: Any = data
    names: list[str] = []
    rest = key
    while rest:
        known = map(str, range(len(at)) if isinstance(at, list) else at)
        fits = [name for name in known if f"{rest}.".startswith(f"{name}.")]
        new = rest if names == ["search", "space"] else rest.partition(".")[0]
        name = max(fits, key=len, default=new)
        if isinstance(at, list) and not fits:
            raise ConfigError.at(key, f"{'.'.join(names)} is a list of {len(at)}, without '{name}'")
        names, rest = [*names, name], rest[len(name) + 1 :]
        at = at[int(name)] if isinstance(at, list) else at.get(name)
        at = {} if at is None else at
        if rest and not isinstance(at, dict | list):
            raise ConfigError.at(key, f"{'.'.join(names)} is {at!r}, which has no keys")
    return names


def shown_overrides(overrides: Mapping[str, Any]) -> str:
    """As on the command line: `trial.protocol=published, seeds=[0, 1]`."""
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in overrides.items()}
    return ", ".join(f"{key}={text}" for key, text in texts.items())
