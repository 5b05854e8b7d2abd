"""Amounts as people read them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.core.units import format_bytes, format_duration, format_number


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (119.4, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (7200, "2.0 h"),
        (172_799, "48.0 h"),
        (172_800, "2.0 d"),
    ],
)
def test_a_unit_is_used_from_two_of_it_on(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0 kB"), (1500, "2 kB"), (1e6, "1.0 MB"), (2.56e9, "2.6 GB"), (3e12, "3.0 TB")],
)
def test_bytes_are_in_powers_of_a_thousand(amount: float, shown: str) -> None:
    assert format_bytes(amount) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3e-4, "3.0e-4"),
        (0.0, "0.0e0"),
        (-12.34, "-1.2e1"),
        (64, "64"),
        (True, "true"),
        (None, "null"),
        ("mean", "mean"),
        ([1, "a"], '[1, "a"]'),
    ],
)
def test_rates_have_two_digits_and_the_rest_is_as_in_json(value: Any, shown: str) -> None:
    assert format_number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_a_number_read_back_is_near_what_was_written(value: float) -> None:
    assert float(format_number(value)) == pytest.approx(value, rel=0.051)
