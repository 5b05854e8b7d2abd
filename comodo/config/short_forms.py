"""The short forms of models, methods and terms in a sweep file, and their settings."""

from typing import Any

from comodo.config.methods import method_settings
from comodo.config.student import STUDENT_PRESETS
from comodo.config.teacher import TEACHER_PRESETS
from comodo.config.terms import terms_by_name


def expanded(part: str, value: Any) -> Any:
    """A method or model that is given by its name alone, and a list of terms, as a mapping; others
    as they are. Raises ValueError for a list that is not one of terms."""
    if part in ("method", "terms"):
        return method_settings(value) if part == "method" else terms_by_name(value)
    if part == "teacher" and isinstance(value, dict) and "several" in value:
        return {"name": "several", **value}
    presets = {"teacher": TEACHER_PRESETS, "student": STUDENT_PRESETS}.get(part, {})
    return presets.get(value, {"name": value}) if isinstance(value, str) else value


def named(part: str, value: Any) -> Any:
    """The name of a method or model, given by its name alone or as a mapping."""
    return expanded(part, value).get("name")
