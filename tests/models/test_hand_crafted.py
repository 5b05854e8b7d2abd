"""Hand-crafted features, against plain formulas of single windows."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal, stats

from comodo.config import CHANNELS, StudentConfig
from comodo.models.hand_crafted import BANDS, OF_CHANNEL, QUANTILES, SILENCE, window_features
from comodo.models.students import Student, build_student, load_student, save_student
from tests.tiny_students import windows


def make(channels: tuple[str, ...] = CHANNELS) -> Student:
    return build_student(StudentConfig(name="hand-crafted", channels=channels))


def plain(window_CT: np.ndarray) -> list[float]:
    """The features of one window, one after the other."""
    found: list[float] = []
    for x_T in window_CT.astype(np.float64):
        found += [x_T.mean(), x_T.std(), stats.skew(x_T), stats.kurtosis(x_T)]
        found += list(np.quantile(x_T, QUANTILES))
        bounds = [len(x_T) * part // 8 for part in range(9)]
        parts = [x_T[start:end] for start, end in pairwise(bounds)]
        found += [part.mean() for part in parts] + [part.std() for part in parts]
        found.append(np.abs(np.diff(x_T)).mean())
        frequency_F, power_F = signal.periodogram(x_T, fs=2.0, scaling="spectrum")
        edges = [0.0, *(2.0**-octave for octave in range(BANDS - 1, -1, -1))]
        for low, high in pairwise(edges):
            inside = (frequency_F > low) & (frequency_F <= high)
            found.append(np.log10(power_F[inside].sum() + SILENCE))
    pairs = combinations(window_CT.astype(np.float64), 2)
    return found + [float(np.corrcoef(one, other)[0, 1]) for one, other in pairs]


@pytest.mark.parametrize("samples", [64, 107, 1000])
def test_each_is_what_its_formula_says(samples: int) -> None:
    imu_BCT = windows(3, 6, samples).cumsum(-1).numpy()
    expected = np.array([plain(window_CT) for window_CT in imu_BCT])
    assert expected.shape == (3, 6 * OF_CHANNEL + 15)
    np.testing.assert_allclose(window_features(imu_BCT), expected, rtol=2e-5, atol=1e-6)


def test_without_the_mean_the_bands_add_up_to_the_variance() -> None:
    imu_BCT = windows(2, 6, 256).numpy() + 5
    feature_BCD = window_features(imu_BCT)[:, : 6 * OF_CHANNEL].reshape(2, 6, OF_CHANNEL)
    power_BC = (10 ** feature_BCD[..., -BANDS:] - SILENCE).sum(-1)
    np.testing.assert_allclose(power_BC, imu_BCT.var(axis=-1), rtol=1e-4)


@pytest.mark.parametrize(("cycles", "band"), [(400, 7), (250, 6), (130, 6), (100, 5), (1, 0)])
def test_a_tone_is_in_the_octave_of_its_frequency(cycles: int, band: int) -> None:
    """Of 1,000 samples the highest frequency has 500 cycles."""
    wave_T = np.sin(2 * np.pi * cycles * np.arange(1000) / 1000)
    power_S = window_features(np.tile(wave_T, (1, 1, 1)))[0, OF_CHANNEL - BANDS : OF_CHANNEL]
    assert power_S.argmax() == band
    assert power_S[band] == pytest.approx(np.log10(0.5), abs=1e-4)
    assert np.delete(power_S, band).max() < -7


def test_a_window_has_the_same_features_in_any_batch() -> None:
    """Windows of unequal length are padded on the left, with anything."""
    student, imu_BCT = make(), windows(5, 6, 90)
    length_B = torch.tensor([90, 40, 71, 40, 2])
    together_BD = student(imu_BCT, length_B)
    assert together_BD.shape == (5, student.dim)
    for window_CT, length, feature_D in zip(imu_BCT, length_B.tolist(), together_BD, strict=True):
        alone_BD = student(window_CT[None, :, 90 - length :])
        assert torch.equal(alone_BD[0], feature_D)


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_short_and_constant_windows_have_finite_features(samples: int) -> None:
    imu_BCT = windows(4, 6, samples).numpy()
    imu_BCT[1] = 0
    imu_BCT[2, :3] = 0.1  # which no binary fraction is
    features_BD = window_features(imu_BCT)
    assert np.isfinite(features_BD).all()
    std, skewness, kurtosis = features_BD[2, 1:4]
    assert (std, skewness, kurtosis) == (0, 0, 0)


def test_it_sees_the_channels_of_the_student() -> None:
    imu_BCT = windows(2, 6, 50)
    student = make(("gyro_z", "acc_x"))
    assert student.dim == 2 * OF_CHANNEL + 1
    seen_BCT = imu_BCT[:, [5, 0]]
    np.testing.assert_allclose(student(seen_BCT), window_features(seen_BCT.numpy()), rtol=1e-6)


def test_it_has_nothing_to_train_and_is_stored_as_a_student(tmp_path: Path) -> None:
    student = make(("acc_x", "acc_y"))
    assert not list(student.parameters())
    save_student(student, tmp_path)
    imu_BCT = windows(2, 2, 50)
    assert torch.equal(load_student(tmp_path)(imu_BCT), student(imu_BCT))
