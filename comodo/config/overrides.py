"""Sets a trial's settings by their dotted keys."""

import copy
from typing import Any, get_args

from comodo.config.base import ConfigError
from comodo.config.space import Point, expanded
from comodo.config.trial import (
    BASELINE_NAMES,
    STUDENT_SIZES,
    ComodoMethod,
    InfonceMethod,
    L2Method,
    NoneMethod,
    SupervisedMethod,
)

METHOD_SETTINGS = {
    get_args(method.model_fields["name"].annotation)[0]: method
    for method in (ComodoMethod, InfonceMethod, L2Method, SupervisedMethod, NoneMethod)
}


def apply_overrides(data: dict[str, Any], values: Point, where: str) -> None:
    """Sets values in a trial's settings; settings that a new method or model lacks are removed.

    `where` is the prefix of the keys in the file. Raises ConfigError for a key inside a value.
    """
    # Whole mappings before the keys in them, and names before what depends on them.
    for key in sorted(values, key=lambda key: (key.count("."), not key.endswith(".name"))):
        *parents, last = key.split(".")
        at: Any = data
        for parent in parents:
            if isinstance(at, dict) and isinstance(at.get(parent), str):
                at[parent] = copy.copy(expanded(parent, at[parent]))
            at = at.setdefault(parent, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ConfigError(f"{where}{key}", f"{where}{key}: trial has no such key")
        if last == "name" and at.get("name") != values[key]:
            _remove_foreign(parents[-1] if parents else "", at, values[key])
        at[last] = copy.deepcopy(values[key])


def _remove_foreign(part: str, settings: dict[str, Any], name: Any) -> None:
    """Removes the settings that a method, student or teacher of this name does not have."""
    if part == "method" and name in METHOD_SETTINGS:
        for key in settings.keys() - METHOD_SETTINGS[name].model_fields.keys():
            del settings[key]
    elif part == "student" and name in STUDENT_SIZES and "size" in settings:
        size = settings["size"]
        settings["size"] = {key: size[key] for key in size if key in STUDENT_SIZES[name]}
    if part == "student" and name in BASELINE_NAMES:
        for key in settings.keys() & {"weights", "revision", "pooling"}:
            del settings[key]
    if part == "teacher":
        foreign = {"path", "ids", "features"} if name != "precomputed" else {"weights", "revision"}
        if name == "efficientnet-lite0":
            foreign |= {"weights", "revision"}
        for key in settings.keys() & foreign:
            del settings[key]
