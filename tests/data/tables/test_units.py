"""Spellings of units."""

import numpy as np
import pytest

from comodo.data.imu import ImuError
from comodo.data.tables import units
from tests.errors import raises


@pytest.mark.parametrize(
    ("quantity", "factor", "spellings"),
    [
        ("acc", 1.0, ["g", "G", "gs"]),
        ("acc", 1e-3, ["mg", "mG", "milli-g"]),
        ("acc", 1 / 9.80665, ["m/s^2", "m/s²", "m/s2", "m/(s^2)", "m/s/s", "m s^-2", "m·s⁻²",
                              "m/sec^2"]),
        ("acc", 1 / 64, ["1/64 g"]),
        ("gyro", 1.0, ["deg/s", "°/s", "dps", "degrees/s", "deg/sec", "deg s^-1"]),
        ("gyro", 1e-3, ["mdps", "mdeg/s"]),
        ("gyro", 180 / np.pi, ["rad/s", "rad/sec", "radians/s", "rad s⁻¹"]),
        ("gyro", 0.18 / np.pi, ["mrad/s"]),
    ],
)  # fmt: skip
def test_every_spelling(quantity: str, factor: float, spellings: list[str]) -> None:
    for spelling in spellings:
        assert units.factor(quantity, spelling, "a.csv") == pytest.approx(factor), spelling
        assert units.is_unit(spelling)


@pytest.mark.parametrize(("quantity", "unit"), [("acc", "deg/s"), ("gyro", "g"), ("acc", "raw"),
                                                ("gyro", "rpm"), ("acc", "m/s")])  # fmt: skip
def test_what_is_no_unit_of_a_quantity_is_refused(quantity: str, unit: str) -> None:
    with raises(ImuError, "imu.unknown-unit", "a.csv", f"'{unit}'"):
        units.factor(quantity, unit, "a.csv")


def test_gravity_only_suggests() -> None:
    one_g_N3 = np.tile([0.0, 0.6, 0.8], (9, 1))
    assert units.by_gravity(one_g_N3) == "g"
    assert units.by_gravity(one_g_N3 * 9.81) == "m/s^2"
    assert units.by_gravity(one_g_N3 * 1000) == "mg"
    assert units.by_gravity(one_g_N3 * 3) == ""
    assert units.by_gravity(one_g_N3[:, :2]) == ""


def test_codes_of_a_converter_are_no_unit() -> None:
    """Those from 0 to 63 of a range of 3 g were suggested to be `1/64 g`, for no rest is at 0."""
    code_N3 = np.random.default_rng(0).integers(25, 50, (99, 3)).astype(float)
    assert units.are_codes(code_N3) and units.by_gravity(code_N3) == ""
    assert not units.are_codes(code_N3 - 32) and not units.are_codes(code_N3 + 0.5)
    code_N3[5] = np.nan
    assert units.are_codes(code_N3)
    code_N3[:, 0] = 7  # an axis that does not change
    assert not units.are_codes(code_N3)
