"""Changes of IMU windows: geometry, units, padding, and independence of the batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from comodo.config import CHANNELS
from comodo.data import imu_transforms as changed

B, T = 5, 40
ACC, GYRO = [0, 1, 2], [3, 4, 5]  # of the channels
LEVEL_C = np.repeat(np.array([0.1, 10], np.float32), 3)


@pytest.fixture
def imu_BCT() -> torch.Tensor:
    return torch.randn(B, 6, T, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def length_B() -> torch.Tensor:
    return torch.tensor([40, 31, 40, 12, 1])


@pytest.fixture
def padded_BCT(imu_BCT: torch.Tensor, length_B: torch.Tensor) -> torch.Tensor:
    for window, length in zip(imu_BCT, length_B.tolist(), strict=True):
        window[:, : T - length] = 0
    return imu_BCT


def generators(kind: int = 0) -> list[np.random.Generator]:
    return changed.window_generators(torch.arange(B), 3, kind)


def test_what_a_window_gets_depends_on_its_index_and_seed_alone() -> None:
    all_B = changed.random_tilts(generators(), 30)
    alone_1 = changed.random_tilts(changed.window_generators(torch.tensor([3]), 3, 0), 30)
    assert torch.equal(all_B[3], alone_1[0])
    assert not torch.equal(all_B[2], all_B[3])
    assert not torch.equal(all_B, changed.random_tilts(generators(kind=1), 30))


def test_tilts_are_rotations_with_angles_up_to_the_maximum() -> None:
    many = changed.window_generators(torch.arange(2_000), 0)
    rotations = Rotation.from_matrix(changed.random_tilts(many, 30).numpy())
    degrees = np.degrees(np.asarray(rotations.magnitude()))
    assert degrees.max() <= 30.001 and degrees.max() > 29
    assert degrees.mean() == pytest.approx(15, abs=0.7)
    axes = rotations.as_rotvec() / np.radians(degrees).reshape(-1, 1)
    assert np.abs(axes.mean(axis=0)).max() < 0.06  # no preferred direction
    assert np.square(axes).mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.03)


def test_both_sensors_are_rotated_together(imu_BCT: torch.Tensor) -> None:
    rotation_B33 = changed.random_tilts(generators(), 90)
    rotated_BCT = changed.rotated(imu_BCT, CHANNELS, {"": rotation_B33})
    for sensor in (ACC, GYRO):
        for b in range(B):  # one window and one sample at a time
            expected = np.stack([rotation_B33[b].numpy() @ x for x in imu_BCT[b, sensor].T.numpy()])
            np.testing.assert_allclose(rotated_BCT[b, sensor].T, expected, atol=1e-5)


def test_a_rotation_does_not_depend_on_the_order_of_the_channels(imu_BCT: torch.Tensor) -> None:
    order = [2, 0, 1, 4, 3, 5]
    tilts = {"": changed.random_tilts(generators(), 90)}
    expected_BCT = changed.rotated(imu_BCT, CHANNELS, tilts)[:, order]
    named = [CHANNELS[place] for place in order]
    assert torch.equal(changed.rotated(imu_BCT[:, order], named, tilts), expected_BCT)


def test_noise_has_the_stated_levels_and_spares_padding(
    padded_BCT: torch.Tensor, length_B: torch.Tensor
) -> None:
    noise_BCT = changed.random_noise(generators(), T, LEVEL_C)
    long = changed.random_noise(generators(), 20_000, LEVEL_C)
    assert long[:, ACC].std().item() == pytest.approx(0.1, rel=0.02)
    assert long[:, GYRO].std().item() == pytest.approx(10, rel=0.02)
    short_BCT = changed.random_noise(generators(), 12, LEVEL_C)
    assert torch.equal(short_BCT, noise_BCT[:, :, -12:])
    noisy_BCT = changed.with_noise(padded_BCT, noise_BCT, length_B)
    for b, length in enumerate(length_B.tolist()):
        assert not noisy_BCT[b, :, : T - length].any()
        added_CT = (noisy_BCT - padded_BCT)[b, :, T - length :]
        torch.testing.assert_close(added_CT, noise_BCT[b, :, T - length :])


@pytest.mark.parametrize("shift", [0, 7, -7, 11])
def test_a_shifted_window_is_continued_by_its_mirror_image(
    padded_BCT: torch.Tensor, length_B: torch.Tensor, shift: int
) -> None:
    shifted_BCT = changed.shifted(padded_BCT, torch.full((B,), shift), length_B)
    for b, length in enumerate(length_B.tolist()):
        real_CT = padded_BCT[b, :, T - length :].numpy()
        mirrored_CT = np.pad(real_CT, ((0, 0), (abs(shift), abs(shift))), mode="reflect")
        start = abs(shift) - shift
        expected_CT = mirrored_CT[:, start : start + length]
        np.testing.assert_array_equal(shifted_BCT[b, :, T - length :], expected_CT)
        assert not shifted_BCT[b, :, : T - length].any()


def test_each_window_has_its_own_shift(imu_BCT: torch.Tensor) -> None:
    shift_B = torch.tensor([0, 1, 2, -3, 0])
    shifted_BCT = changed.shifted(imu_BCT, shift_B)
    assert torch.equal(shifted_BCT[0], imu_BCT[0])
    assert torch.equal(shifted_BCT[2, :, 2:], imu_BCT[2, :, :-2])
    assert torch.equal(shifted_BCT[3, :, :-3], imu_BCT[3, :, 3:])


def test_half_rate_keeps_slow_motion_and_removes_the_fastest() -> None:
    time_T = torch.arange(T, dtype=torch.float32)
    slow, fast = torch.sin(2 * torch.pi * time_T / T), torch.cos(torch.pi * time_T)
    halved_BCT = changed.half_rate(torch.stack([slow, fast])[None])
    torch.testing.assert_close(halved_BCT[0, 0], slow, atol=0.1, rtol=0)
    assert halved_BCT[0, 1].abs().max() < 1e-6  # averaged away


def test_half_rate_of_a_padded_window_is_that_of_its_real_samples(
    padded_BCT: torch.Tensor, length_B: torch.Tensor
) -> None:
    halved_BCT = changed.half_rate(padded_BCT, length_B)
    for b, length in enumerate(length_B.tolist()):
        alone_BCT = changed.half_rate(padded_BCT[b : b + 1, :, T - length :])
        torch.testing.assert_close(halved_BCT[b, :, T - length :], alone_BCT[0])
        assert not halved_BCT[b, :, : T - length].any()
    even_BCT = padded_BCT[:1]
    expected = F.interpolate(F.avg_pool1d(even_BCT, 2), scale_factor=2, mode="linear")
    torch.testing.assert_close(changed.half_rate(even_BCT), expected)


@pytest.mark.parametrize(("sensor", "other"), [(ACC, GYRO), (GYRO, ACC)])
def test_a_dead_sensor_is_zero(imu_BCT: torch.Tensor, sensor: list[int], other: list[int]) -> None:
    before_BCT = imu_BCT.clone()
    out_BCT = changed.without(imu_BCT, sensor)
    assert not out_BCT[:, sensor].any()
    assert torch.equal(out_BCT[:, other], before_BCT[:, other])
    assert torch.equal(imu_BCT, before_BCT)
