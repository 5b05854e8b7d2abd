"""Clocks of every unit and form against the seconds that they were made from."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.imu import ImuError
from comodo.data.tables.clock import seconds_of
from comodo.data.tables.units import TIME
from tests.errors import raises


def read(cells: object, unit: str = "") -> tuple[np.ndarray, tuple[str, ...]]:
    return seconds_of(pd.Series(cells, name="t"), unit, "a.csv", "write time_unit")


@given(
    rate=st.floats(21, 4900), unit=st.sampled_from(list(TIME)), start=st.sampled_from([0.0, 1.7e9])
)
def test_a_unit_is_inferred_where_one_alone_is_an_imus(
    rate: float, unit: str, start: float
) -> None:
    wanted_N = np.arange(200) / rate
    if abs(1 / rate / TIME[unit] - 1) < 0.01:
        return  # steps of 1 may count rows
    time_N, notes = read((start + wanted_N) / TIME[unit])
    np.testing.assert_allclose(time_N - time_N[0], wanted_N, atol=1e-6)
    assert f"is read in {unit}, " in notes[0]


@pytest.mark.parametrize("step", [1.0, 0.1, 100.0, 0.0])
def test_a_unit_that_is_not_certain_is_refused(step: float) -> None:
    """Steps of 1 may count rows; those of 0.1 are 10 Hz in s, and 10 kHz in ms."""
    with raises(ImuError, "imu.unknown-time", "a.csv: column t", "write time_unit"):
        read(np.arange(100) * step)
    if step == 0.1:
        assert read(np.arange(100) * step, "s")[1] == ()


@pytest.mark.parametrize("form", ["{}T{}", "{} {}", "{}T{}Z", "{}T{}+02:00", "{} {}-0530"])
def test_iso_8601_with_and_without_zones(form: str) -> None:
    hours = {"+": -2.0, "-": 5.5}.get(form[-5] if form[-5] in "+-" else form[-6:-5], 0.0)
    clock = [f"10:00:{i:02d}.{250 + i}" for i in range(40)]
    time_N, notes = read([form.format("2025-11-20", c) for c in clock])
    wanted_N = 1763632800 + hours * 3600 + np.arange(40) * 1.001 + 0.25
    np.testing.assert_allclose(time_N, wanted_N, atol=1e-6)
    zoned = form[-1] not in "}"
    assert notes == (() if zoned else ("times without a time zone are read as UTC",))


@pytest.mark.parametrize("cell", ["20.11.2025 10:00:00", "11/20/2025 10:00", "ten"])
def test_times_that_have_two_readings_are_refused(cell: str) -> None:
    with raises(ImuError, "imu.unknown-time", cell):
        read([cell] * 3)


def test_a_counter_of_32_bits_wraps() -> None:
    ticks_N = (4_294_000_000 + np.arange(200) * 10_000) % 2**32
    time_N, notes = read(ticks_N, "us")
    np.testing.assert_allclose(np.diff(time_N), 0.01)
    assert "begins again 1 time," in notes[0]
    backwards_N = np.concatenate([np.arange(100), np.arange(100)]) * 10_000.0
    time_N, notes = read(backwards_N, "us")
    np.testing.assert_allclose(time_N, backwards_N / 1e6)
    assert notes == ()
