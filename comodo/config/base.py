"""The base of all settings: strict, frozen, with errors that name key, reason and fix."""

import os
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from comodo.core.errors import ComodoError
from comodo.core.paths import is_url


class ConfigError(ComodoError, ValueError):
    """A sweep file that cannot be run; its code is the dotted key."""

    exit_status = 2

    @classmethod
    def at(cls, key: str, reason: str) -> "ConfigError":
        """The error of one key, with which its message begins."""
        return cls(key, f"{key}: {reason}")


CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")

SMOKE_SUFFIX = "-smoke"
"""At the end of a sweep's name: its numbers mean nothing."""

ADDED_LATER = "added later"
"""Marks a setting that stores which exist have been made without: `key: Annotated[int,
ADDED_LATER] = 3`. Its default has to mean what was computed before; where it follows the protocol,
that of `corrected` has to."""

FILLED_IN = "filled in"
"""Marks a setting that reading the file gives a value, whatever the file says."""

NOT_IN_KEY = "not in key"
"""Marks a setting that changes nothing that is computed: a path to what another setting identifies
by its content."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def for_key(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The settings as a key of the store has them, without those of `exclude`: as JSON, but
        one that is ADDED_LATER is in it only with another value than its default, and one that is
        NOT_IN_KEY never."""
        kind = type(self)
        content = self.model_dump(mode="json", exclude={*exclude, *_marked(kind, NOT_IN_KEY)})
        later = _marked(kind, ADDED_LATER)
        for name, field in kind.model_fields.items():
            if name not in content:
                continue
            value = getattr(self, name)
            if name in later and value == _before(field, self):
                del content[name]
            elif isinstance(value, Settings):
                content[name] = value.for_key()
        for name, value in (self.model_extra or {}).items():
            content[name] = value.for_key()
        return content

    @model_validator(mode="wrap")
    @classmethod
    def _as_written(
        cls, data: Any, check: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """The file decides what is text, a number or true: pydantic would take 1_000 for 1000, no
        for false and true for 1, but a condition or a list of the search would not."""
        checked = check(data)
        if isinstance(data, dict) and not (info.context or {}).get("read_back"):
            names = _by_alias(cls)
            for key, value in data.items():
                if reason := _conversion(value, getattr(checked, names.get(key) or key)):
                    error = PydanticCustomError("value_error", "{reason}", {"reason": reason})
                    at_key = InitErrorDetails(type=error, loc=(key,), input=value)
                    raise ValidationError.from_exception_data(cls.__name__, [at_key])
        return checked


@cache
def _by_alias(settings: type[Settings]) -> dict[str, str]:
    """The names of the fields that files spell in another way, by that spelling."""
    return {field.alias: name for name, field in settings.model_fields.items() if field.alias}


@cache
def _marked(settings: type[Settings], mark: str) -> frozenset[str]:
    """The names of the fields with one of the marks above."""
    return frozenset(name for name, f in settings.model_fields.items() if mark in f.metadata)


def _before(field: FieldInfo, settings: Settings) -> Any:
    """The value that means what was computed before a field was added; only to compare with."""
    schema = field.json_schema_extra
    if isinstance(schema, dict) and "default" in schema:  # it follows the protocol
        return schema["default"]
    if field.default_factory is None:
        return field.default
    return field.get_default(call_default_factory=True, validated_data=vars(settings))


_KINDS: dict[type, str] = {str: "text", int: "a number", float: "a number"}


def kind_of(value: Any) -> str:
    """What YAML calls a scalar; empty for other values."""
    if isinstance(value, bool):
        return "true or false"
    return _KINDS.get(type(value), "")


def _conversion(written: Any, checked: Any) -> str:
    """Which scalar became one of another kind; empty if none did."""
    if type(written) is type(checked) and not isinstance(written, dict | list | tuple):
        return ""
    if isinstance(written, dict) and isinstance(checked, dict):
        written, checked = list(written.values()), list(checked.values())
    if isinstance(written, list | tuple) and isinstance(checked, list | tuple):
        # Of other lengths are values of which some were listed twice: they may be of any kind.
        found = map(_conversion, written, checked) if len(written) == len(checked) else ()
        return next(filter(None, found), "")
    mine, needed = kind_of(written), kind_of(checked)
    return f"needs {needed}, but {written!r} is {mine}" if mine and needed not in ("", mine) else ""


def _existing_path(value: str, info: ValidationInfo) -> str:
    """The path with `~` and `$VARIABLES` expanded, relative to the sweep file's folder. It must
    exist, but not with the context `read_back`: finished sweeps are read on any machine."""
    context = info.context or {}
    path = (Path(context.get("folder", ".")) / _expanded(value)).resolve()
    if not path.exists() and not context.get("read_back"):
        raise ValueError(f"{path} does not exist; give a path that does")
    return str(path)


def _existing_path_or_url(value: str, info: ValidationInfo) -> str:
    """The URL of a file or a folder in a bucket, or a path as by `_existing_path`. Whether the
    bucket has it is seen when it is listed."""
    if not is_url(value):
        return _existing_path(value, info)
    if value.startswith("file:"):
        raise ValueError("write the path without file://")
    return _expanded(value).rstrip("/")


def _expanded(path: str) -> str:
    expanded = os.path.expandvars(os.path.expanduser(path))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ValueError(f"the environment variable {unset[1]} is not set; export {unset[1]}=...")
    return expanded


def _hub_id_or_path(value: str, info: ValidationInfo) -> str:
    """A hub id as it is, or a folder or checkpoint as an absolute path; what begins like a path or
    ends like a checkpoint must exist."""
    path = Path((info.context or {}).get("folder", ".")) / value
    is_path = value[:1] in "./~$" or value.endswith(CHECKPOINT_SUFFIXES) or path.is_dir()
    return _existing_path(value, info) if is_path else value


def name_or_path(value: str, info: ValidationInfo) -> str:
    """A name as it is, and what begins like a path as an absolute path, which must exist."""
    is_path = value[:1] in ("", *"./~$") and not (info.context or {}).get("read_back")
    return _existing_path(value, info) if is_path else value


ExistingPath = Annotated[str, AfterValidator(_existing_path)]
ExistingPathOrUrl = Annotated[str, AfterValidator(_existing_path_or_url)]
Weights = Annotated[str, AfterValidator(_hub_id_or_path)]
"""A hub id, or a folder written as a path: ./here, ~/there, /there, $THERE; for some students a
checkpoint, a file whose name ends in one of CHECKPOINT_SUFFIXES."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What NumPy, libsvm and Optuna take: others are refused only when they are used."""


def dotted_key(location: tuple[int | str, ...], data: Any) -> tuple[str, Any]:
    """The dotted key as the user wrote it, without pydantic's union tags, and what contains it."""
    parts: list[str] = []
    around = data
    for i, part in enumerate(location):
        if isinstance(data, list) and isinstance(part, str):  # of entries that go by their names
            named = [dict(entry) for entry in data if isinstance(entry, dict) and "name" in entry]
            data = {entry.pop("name"): entry for entry in named}
        if location[i + 1 : i + 2] == (part,) and isinstance(data, dict):
            inside = data.get(part)
            if not isinstance(inside, dict) or part not in inside:
                continue  # the tag of a union that is named like the key inside it
        if isinstance(data, dict) and part not in data and i + 1 < len(location):
            continue
        if isinstance(data, (str, int, float)) or str(part).startswith(("list[", "constrained")):
            continue
        if part == "[key]":  # the name itself is wrong
            continue
        parts.append(str(part))
        around = data
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part] if part < len(data) else None  # smoke mode adds some
    return ".".join(parts), around


def line_of(key: str, node: yaml.Node | None) -> int:
    """Line of the deepest part of a dotted key that the file has."""
    line = 1
    while key and isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if key == name.value or key.startswith(name.value + "."):
                line, node, key = name.start_mark.line + 1, value, key[len(name.value) + 1 :]
                break
        else:
            break
    return line


def as_list(value: Any) -> Any:
    """A list or tuple as it is, a single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]
