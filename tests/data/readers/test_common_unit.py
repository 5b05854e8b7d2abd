"""The unit of all recordings of a data set together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.imu import ImuError
from comodo.data.readers.common_unit import common_unit
from tests.errors import raises

UNITS = {"1/16384 g": 1 / 16384, "1/8192 g": 1 / 8192}


def decide(lengths: list[float]) -> tuple[str, str]:
    """`lengths` in g of 1/16384."""
    median_of = {f"c{i}": 16384 * length for i, length in enumerate(lengths)}
    return common_unit(median_of, UNITS, "sensor", "acc_unit")


@pytest.mark.parametrize(("unit", "length"), [("1/16384 g", 1.0), ("1/8192 g", 0.5)])
def test_vigorous_and_odd_recordings_have_the_unit_of_the_others(unit: str, length: float) -> None:
    vigorous = [1.0, 1.02, 0.98, 1.1, 1.0, 1.4, 2.0, 1.0, 0.5, 0.0]  # 2 g and 0.5 g fit another
    found, note = decide([length * g for g in vigorous])
    assert found == unit
    assert "6 of 10 recordings" in note and unit in note


@given(st.lists(st.floats(0.8, 1.25), min_size=4, max_size=40), st.floats(0, 20))
def test_one_more_recording_changes_no_unit(lengths: list[float], more: float) -> None:
    assert decide([*lengths, more])[0] == decide(lengths)[0] == "1/16384 g"


@pytest.mark.parametrize(
    ("lengths", "names"),
    [
        ([1.0] * 6 + [0.5] * 4, ["6 are 1 g in 1/16384 g (c0)", "4 are 1 g in 1/8192 g (c6)"]),
        ([0.7] * 3, ["median length 1.147e+04 over 3", "0 are 1 g in 1/16384 g,"]),
        ([9.8] * 3, ["0 are 1 g in 1/8192 g;"]),
        ([0.0], ["median length 0 over 1"]),
    ],
)
def test_an_ambiguous_unit_is_refused_with_the_numbers(
    lengths: list[float], names: list[str]
) -> None:
    with raises(ImuError, "imu.unknown-unit", "sensor", "write acc_unit: one of", *names):
        decide(lengths)


def test_the_median_is_over_recordings_not_samples() -> None:
    medians = {"long": 8192.0, **{f"short{i}": 16384.0 for i in range(9)}}
    assert common_unit(medians, UNITS, "s", "k")[0] == "1/16384 g"
    assert np.median(list(medians.values())) == 16384
