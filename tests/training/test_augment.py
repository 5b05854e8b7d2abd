"""Augmentation: each change against a plain formulation, and what it must not depend on."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import Augmentation
from comodo.data.imu_transforms import window_generators
from comodo.training.augment import DROP_SENSOR, NOISE, ROTATION, SCALE, SHIFT, Augment

ALL = {"rotation": 40, "scale": 0.3, "shift": 0.4, "noise": 0.5, "drop_sensor": 0.4}
B, T = 9, 50
ACC, GYRO = slice(0, 3), slice(3, 6)  # of the channels


def windows(lengths: list[int], samples: int = T, seed: int = 0) -> torch.Tensor:
    """Random windows `[B, 6, samples]`, left-padded with zeros; each as it is in any batch."""
    padded_BCT = torch.zeros(len(lengths), 6, samples)
    for number, length in enumerate(lengths):
        rng = np.random.default_rng([seed, number])
        values_CT = rng.normal(size=(6, length)).astype(np.float32)
        padded_BCT[number, :, samples - length :] = torch.from_numpy(values_CT)
    return padded_BCT


def one_by_one(change: int, rows: list[int], seed: int = 5) -> list[np.random.Generator]:
    return window_generators(torch.tensor(rows), seed, change)


@given(
    settings=st.fixed_dictionaries(
        {name: st.sampled_from([0.0, value]) for name, value in ALL.items()}
    ),
    lengths=st.lists(st.integers(1, T), min_size=2, max_size=6),
    split=st.integers(0, 6),
    padding=st.integers(0, 9),
)
def test_a_window_becomes_the_same_in_any_batch(
    settings: dict[str, float], lengths: list[int], split: int, padding: int
) -> None:
    """However many workers divide the batch, and however much longer another window of it is."""
    augment = Augment(Augmentation(**settings), 5)
    row_B, length_B = torch.arange(len(lengths)) * 7, torch.tensor(lengths)
    whole_BCT = augment(windows(lengths), length_B, row_B)
    own = slice(0, min(split, len(lengths) - 1) + 1)
    samples = max(lengths[own]) + padding
    part_bCT = augment(windows(lengths[own], samples), length_B[own], row_B[own])
    for part_CT, whole_CT, length in zip(part_bCT, whole_BCT, lengths, strict=False):
        assert torch.equal(part_CT[:, samples - length :], whole_CT[:, T - length :])


def test_full_windows_become_the_same_with_and_without_lengths() -> None:
    imu_BCT, row_B = windows([T] * B), torch.arange(B)
    augment = Augment(Augmentation(**ALL), 5)
    with_lengths_BCT = augment(imu_BCT, torch.full((B,), T), row_B)
    assert torch.equal(augment(imu_BCT, None, row_B), with_lengths_BCT)


@given(lengths=st.lists(st.integers(1, T), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1))
def test_shapes_padding_and_the_input_stay(lengths: list[int], seed: int) -> None:
    imu_BCT = windows(lengths)
    before_BCT = imu_BCT.clone()
    length_B = torch.tensor(lengths)
    out_BCT = Augment(Augmentation(**ALL), seed)(imu_BCT, length_B, torch.arange(len(lengths)))
    assert torch.equal(imu_BCT, before_BCT)
    assert out_BCT.shape == imu_BCT.shape
    assert out_BCT.dtype == torch.float32
    assert out_BCT.isfinite().all()
    for out_CT, length in zip(out_BCT, lengths, strict=True):
        assert not out_CT[:, : T - length].any()


@pytest.mark.parametrize("change", ALL)
def test_epochs_and_windows_differ_and_a_repetition_does_not(change: str) -> None:
    same_BCT = windows([T])[:1].expand(B, 6, T)
    settings, row_B = Augmentation(**{change: ALL[change]}), torch.arange(B)
    first_BCT = Augment(settings, 1)(same_BCT, None, row_B)
    assert torch.equal(Augment(settings, 1)(same_BCT, None, row_B), first_BCT)
    assert not torch.equal(Augment(settings, 2)(same_BCT, None, row_B), first_BCT)
    assert len({window.numpy().tobytes() for window in first_BCT}) > 1


def test_no_change_depends_on_whether_another_is_made() -> None:
    """So that sweeping one compares nothing else."""
    imu_BCT, row_B = windows([T] * B), torch.arange(B)
    dropped_BCT = Augment(Augmentation(drop_sensor=0.5), 5)(imu_BCT, None, row_B)
    both_BCT = Augment(Augmentation(drop_sensor=0.5, rotation=20), 5)(imu_BCT, None, row_B)
    assert torch.equal((dropped_BCT == 0).all(2), (both_BCT == 0).all(2))


@given(degrees=st.floats(0.1, 180), seed=st.integers(0, 100))
def test_rotation_keeps_norms_and_angles(degrees: float, seed: int) -> None:
    """Accelerometer and gyroscope are one device: also the angle between them stays."""
    imu_BCT = windows([T] * 3, seed=seed)
    out_BCT = Augment(Augmentation(rotation=degrees), seed)(imu_BCT, None, torch.arange(3))
    for one, other in ((ACC, ACC), (GYRO, GYRO), (ACC, GYRO)):
        before_BT, after_BT = (x[:, one].mul(x[:, other]).sum(1) for x in (imu_BCT, out_BCT))
        torch.testing.assert_close(after_BT, before_BT, rtol=1e-4, atol=1e-4)


def test_rotation_is_that_of_the_drawn_axis_and_angle() -> None:
    rows = list(range(B))
    imu_BCT = windows([T] * B)
    out_BCT = Augment(Augmentation(rotation=40), 5)(imu_BCT, None, torch.tensor(rows))
    for imu_CT, out_CT, draw in zip(imu_BCT, out_BCT, one_by_one(ROTATION, rows), strict=True):
        axis = draw.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle = np.radians(draw.uniform(0, 40))
        for sensor in (ACC, GYRO):
            for before, after in zip(imu_CT[sensor].T.numpy(), out_CT[sensor].T, strict=True):
                along = axis * (axis @ before)  # Rodrigues' formula
                expected = along + np.cos(angle) * (before - along)
                expected += np.sin(angle) * np.cross(axis, before)
                np.testing.assert_allclose(after.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_scale_is_a_factor_for_each_channel() -> None:
    rows = list(range(B))
    imu_BCT = windows([T] * B)
    out_BCT = Augment(Augmentation(scale=0.3), 5)(imu_BCT, None, torch.tensor(rows))
    for imu_CT, out_CT, draw in zip(imu_BCT, out_BCT, one_by_one(SCALE, rows), strict=True):
        factor_C = draw.uniform(0.7, 1.3, 6)
        expected = [[factor * x for x in row] for factor, row in zip(factor_C, imu_CT, strict=True)]
        np.testing.assert_allclose(out_CT.numpy(), np.array(expected), rtol=1e-6)
        assert len(set(factor_C)) == 6


def test_shift_moves_a_window_within_its_mirror_image() -> None:
    lengths = [50, 50, 31, 12, 2, 1, 50, 40, 40]
    rows = list(range(B))
    imu_BCT = windows(lengths)
    out_BCT = Augment(Augmentation(shift=0.4), 5)(
        imu_BCT, torch.tensor(lengths), torch.tensor(rows)
    )
    places = []
    draws = one_by_one(SHIFT, rows)
    for imu_CT, out_CT, length, draw in zip(imu_BCT, out_BCT, lengths, draws, strict=True):
        places.append(place := round(draw.uniform(-0.4, 0.4) * length))
        assert abs(place) <= 0.4 * length + 0.5
        real_CT = imu_CT[:, T - length :].numpy()
        for t in range(length):
            source = abs(t - place)
            source = source if source < length else 2 * (length - 1) - source
            assert np.array_equal(out_CT[:, T - length + t].numpy(), real_CT[:, max(0, source)])
    assert min(places) < 0 < max(places)


def test_noise_is_a_share_of_the_sensors_own_deviation() -> None:
    imu_BCT = windows([T] * B)
    imu_BCT[:, GYRO] *= 100
    imu_BCT[:, 2] = 1.0  # an axis that stands still gets the noise of its sensor
    rows = list(range(B))
    out_BCT = Augment(Augmentation(noise=0.5), 5)(imu_BCT, None, torch.tensor(rows))
    for imu_CT, out_CT, draw in zip(imu_BCT, out_BCT, one_by_one(NOISE, rows), strict=True):
        drawn_CT = draw.standard_normal((6, T), np.float32)
        for sensor in (ACC, GYRO):
            values = imu_CT[sensor].double().numpy()
            spread = np.sqrt(np.mean([np.mean((x - np.mean(x)) ** 2) for x in values]))
            expected = imu_CT[sensor].numpy() + 0.5 * spread * drawn_CT[sensor]
            np.testing.assert_allclose(out_CT[sensor].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_window_without_motion_gets_no_noise() -> None:
    still_BCT = torch.ones(2, 6, T)
    out_BCT = Augment(Augmentation(noise=0.5), 5)(still_BCT, None, torch.arange(2))
    assert torch.equal(out_BCT, still_BCT)


def test_a_dropped_sensor_is_zero_and_never_both() -> None:
    rows = list(range(400))
    imu_BCT = torch.ones(len(rows), 6, 3)
    out_BCT = Augment(Augmentation(drop_sensor=0.4), 5)(imu_BCT, None, torch.tensor(rows))
    for out_CT, draw in zip(out_BCT, one_by_one(DROP_SENSOR, rows), strict=True):
        expected_C = np.ones(6)
        is_dropped = draw.random() < 0.4
        is_acc = draw.random() < 0.5
        if is_dropped:
            expected_C[:3] = expected_C[:3] if not is_acc else 0
            expected_C[3:] = expected_C[3:] if is_acc else 0
        assert np.array_equal(out_CT[:, 0].numpy(), expected_C)
    acc_B, gyro_B = (~out_BCT[:, sensor].any(2).any(1) for sensor in (ACC, GYRO))
    assert not (acc_B & gyro_B).any()
    for share in (acc_B, gyro_B):
        assert share.double().mean().item() == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_certain_drop(probability: float) -> None:
    out_BCT: Any = Augment(Augmentation(drop_sensor=probability), 5)(
        torch.ones(20, 6, 3), None, torch.arange(20)
    )
    assert ((out_BCT == 0).all(2).sum(1) == 3 * probability).all()
