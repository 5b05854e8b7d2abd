"""Resizing against plain second formulations, window by window."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from comodo.data.resize import by_group, resized


def plain(imu_CT: Tensor, samples: int) -> np.ndarray:
    """Linear interpolation where samples are the middles of equal parts of the window."""
    count = imu_CT.shape[-1]
    place = (np.arange(samples) + 0.5) * count / samples - 0.5
    rows = [np.interp(place, np.arange(count), channel) for channel in imu_CT.double().numpy()]
    return np.stack(rows)


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    samples=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_each_window_is_resized_by_itself(lengths: list[int], samples: int, seed: int) -> None:
    generator = torch.manual_seed(seed)
    imu_BCT = torch.randn(len(lengths), 6, max(lengths), generator=generator)
    out_BCT = resized(imu_BCT, lengths, samples)
    assert out_BCT.shape == (len(lengths), 6, samples)
    for window_CT, out_CT, length in zip(imu_BCT, out_BCT, lengths, strict=True):
        wanted_CT = plain(window_CT[:, -length:], samples)
        np.testing.assert_allclose(out_CT.numpy(), wanted_CT, atol=1e-5)


def test_by_hand_and_without_padding() -> None:
    ramp_BCT = torch.arange(4.0).view(1, 1, 4)
    assert resized(ramp_BCT, None, 2).tolist() == [[[0.5, 2.5]]]
    assert resized(ramp_BCT, [2], 4).tolist() == [[[2, 2.25, 2.75, 3]]]
    assert resized(ramp_BCT, None, 4) is ramp_BCT  # nothing to do


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_rows_come_back_in_their_order_and_each_group_at_once(keys: list[int]) -> None:
    seen: list[int] = []

    def apply(key: int, rows: list[int]) -> Tensor:
        assert {keys[row] for row in rows} == {key}
        seen.append(key)
        return torch.tensor([[row, key] for row in rows])

    assert by_group(keys, apply).tolist() == [[row, key] for row, key in enumerate(keys)]
    assert len(seen) == len(set(keys))
