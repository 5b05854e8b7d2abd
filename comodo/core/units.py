"""Amounts as text for people: durations, numbers, bytes."""

import json
from typing import Any


def format_duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def format_number(value: Any) -> str:
    """Integers as they are, floats with two digits: 3.0e-4."""
    if isinstance(value, float):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return value if isinstance(value, str) else json.dumps(value)


def format_bytes(amount: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if amount >= length:
            return f"{amount / length:.1f} {unit}"
    return f"{amount / 1e3:.0f} kB"
