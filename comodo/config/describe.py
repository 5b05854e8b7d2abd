"""The keys that a sweep varies, as text."""

from typing import Any

from comodo.config import Range, Sweep


def swept_keys(sweep: Sweep) -> dict[str, str]:
    """The values that the sweep gives to each key, as text."""
    return {
        key: f"{span.min:g} to {span.max:g}{', log' * span.log}"
        if isinstance(span, Range)
        else ", ".join(map(_shown, span.values))
        for key, span in sweep.search.space.items()
    }


def _shown(value: Any) -> str:
    """A value of a swept key: `comodo queue_size=64` for settings."""
    if not isinstance(value, dict):
        return str(value)
    return " ".join(str(v) if k == "name" else f"{k}={v}" for k, v in value.items())
