"""Resampling against signals that are known at every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.resampling import values_at

rates = st.floats(10, 2000)


def amplitude(values_M: np.ndarray, time_M: np.ndarray, hz: float) -> float:
    """Of the sine wave of `hz` that fits best."""
    waves = [np.sin(2 * np.pi * hz * time_M), np.cos(2 * np.pi * hz * time_M)]
    fitted, *_ = np.linalg.lstsq(np.stack([*waves, np.ones_like(time_M)], axis=1), values_M)
    return float(np.hypot(*fitted[:2]))


def wave(time_N: np.ndarray, hz: float) -> np.ndarray:
    """Of amplitude 1, about a level of 1."""
    return 1 + np.sin(2 * np.pi * hz * time_N + 0.3)[:, None]


@given(rate=rates, to_rate=rates, share=st.floats(0.02, 0.4), late=st.floats(0, 0.1))
def test_amplitudes_at_any_pair_of_rates(
    rate: float, to_rate: float, share: float, late: float
) -> None:
    lower = min(rate, to_rate)
    span = 100 / lower
    time_N = late + np.arange(round(3 * span * rate)) / rate
    at_M = late + span + np.arange(round(span * to_rate)) / to_rate
    found_M = values_at(time_N, wave(time_N, share * lower), rate, at_M, to_rate)[:, 0]
    np.testing.assert_allclose(found_M, wave(at_M, share * lower)[:, 0], atol=0.01)


@given(rate=rates, ratio=st.floats(1.1, 40), share=st.floats(0.53, 3))
def test_what_a_lower_rate_cannot_represent_is_removed(
    rate: float, ratio: float, share: float
) -> None:
    to_rate = rate / ratio
    hz = min(share * to_rate, 0.5 * rate)
    if hz < 0.53 * to_rate:
        return
    time_N = np.arange(round(300 / to_rate * rate)) / rate
    at_M = 100 / to_rate + np.arange(100) / to_rate
    found_M = values_at(time_N, wave(time_N, hz), rate, at_M, to_rate)[:, 0]
    np.testing.assert_allclose(found_M, 1, atol=0.003)


@given(
    rate=st.floats(20, 400),
    to_rate=st.floats(20, 400),
    share=st.floats(0.05, 0.4),
    jitter=st.floats(0, 0.4),
    lost=st.floats(0, 0.03),
    seed=st.integers(0, 999),
)
def test_amplitudes_from_uneven_clocks(
    rate: float, to_rate: float, share: float, jitter: float, lost: float, seed: int
) -> None:
    """Samples at the times that they have, some of them missing."""
    rng = np.random.default_rng(seed)
    lower = min(rate, to_rate)
    time_N = np.arange(round(900 / lower * rate)) / rate
    time_N += rng.uniform(-jitter, jitter, len(time_N)) / rate
    time_N = time_N[rng.random(len(time_N)) >= lost]
    at_M = 300 / lower + np.arange(round(300 / lower * to_rate)) / to_rate
    found_M = values_at(time_N, wave(time_N, share * lower), rate, at_M, to_rate)[:, 0]
    # Two samples next to each other that are missing cost up to 1 % more.
    bound = 0.03 if len(time_N) < round(900 / lower * rate) else 0.01
    assert amplitude(found_M, at_M, share * lower) == pytest.approx(1, abs=bound)


@pytest.mark.parametrize(("rate", "to_rate"), [(52, 50), (51.2, 50), (104, 50), (104, 100)])
def test_rates_close_to_each_other_do_not_beat(rate: float, to_rate: float) -> None:
    """20 Hz, over a minute: the amplitude of each second."""
    time_N = np.arange(round(62 * rate)) / rate
    seconds_SM = 1 + np.arange(60)[:, None] + np.arange(round(to_rate)) / to_rate
    found = values_at(time_N, wave(time_N, 20), rate, seconds_SM.ravel(), to_rate)[:, 0]
    for at_M, found_M in zip(seconds_SM, found.reshape(seconds_SM.shape), strict=True):
        assert amplitude(found_M, at_M, 20) == pytest.approx(1, abs=0.01)


def test_samples_at_the_requested_times_come_out_as_they_are() -> None:
    rng = np.random.default_rng(0)
    time_N, value_NC = np.arange(500) / 50, rng.normal(size=(500, 6))
    np.testing.assert_allclose(values_at(time_N, value_NC, 50, time_N, 50), value_NC, atol=1e-9)


@pytest.mark.parametrize("hole", [0.02, 0.1, 0.5, 3.0, 1e9])
def test_missing_samples_are_about_a_straight_line(hole: float) -> None:
    time_N = np.arange(1000) / 100
    value_NC = np.where(time_N < 5, 1.0, 2.0)[:, None] + 0.1 * wave(time_N, 3)
    time_N = time_N + np.where(time_N < 5, 0, hole)
    at_M = np.concatenate([np.arange(3, 5 + min(hole, 1), 0.01), hole + np.arange(5, 8, 0.01)])
    found_M = values_at(time_N, value_NC, 100, at_M, 100)[:, 0]
    assert found_M.min() > 0.9 and found_M.max() < 2.4
    after = at_M > hole + 5.1
    wanted_M = 2 + 0.1 * wave(at_M[after] - hole, 3)[:, 0]
    np.testing.assert_allclose(found_M[after], wanted_M, atol=0.01 if hole < 1e6 else 0.05)


def test_values_and_slopes_go_on_at_the_ends() -> None:
    time_N = np.arange(200) / 100
    found_M = values_at(time_N, wave(time_N, 1), 100, time_N[::2], 50)[:, 0]
    np.testing.assert_allclose(found_M, wave(time_N[::2], 1)[:, 0], atol=0.005)


def test_two_samples_are_enough() -> None:
    found_M = values_at(np.array([0.0, 0.02]), np.array([[1.0], [1.0]]), 50, np.array([0.01]), 50)
    assert found_M[:, 0] == pytest.approx([1])
