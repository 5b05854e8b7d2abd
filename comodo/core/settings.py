"""The base of all settings: strict and frozen; what a key of the store has of them."""

from collections.abc import Collection
from functools import cache
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

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
