"""Hand-crafted features of IMU windows, to compare students with: fixed, with nothing to train.

Computed here because the libraries for it (tsfel, tsfresh, catch22) take one series at a time in
Python and milliseconds for each, where all windows of a batch together take microseconds. It knows
no classifier. Shape letters: B windows of one length, C channels, T samples, P parts of a window, Q
quantiles, F frequencies, S bands of the spectrum, M pairs of channels, D features.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch
from torch import Tensor

from comodo.models.encoders import Encoder

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PARTS = 8
"""Of a window, one after the other."""
BANDS = 8
"""Octaves of frequency down from the highest of the sampling rate, which windows do not carry: the
last band is the upper half of all frequencies, the first one the lowest 1/128."""
SILENCE = 1e-8
"""Power in a band (g^2 or (deg/s)^2) that is no longer distinguished from none."""
OF_CHANNEL = 4 + len(QUANTILES) + 2 * PARTS + 1 + BANDS
FloatArray = npt.NDArray[np.float64]


class HandCraftedEncoder(Encoder):
    """`window_features` in the place of a network. Windows of unequal length are computed length by
    length, each without its padding."""

    name = "hand-crafted"
    JOINT = True

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        channels = config["channels"]
        self.dim = OF_CHANNEL * channels + channels * (channels - 1) // 2

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool) -> Tensor:
        samples = imu_BCT.shape[-1]
        length_B = np.full(len(imu_BCT), samples) if lengths is None else np.array(lengths)
        all_BCT = imu_BCT.cpu().numpy()
        feature_BD = np.empty((len(imu_BCT), self.dim), np.float32)
        for length in np.unique(length_B):
            alike = length_B == length
            feature_BD[alike] = window_features(all_BCT[alike, :, samples - length :])
        return torch.from_numpy(feature_BD).to(imu_BCT.device).unsqueeze(1)


def window_features(imu_BCT: npt.NDArray[np.floating]) -> FloatArray:
    """Features [B, D] of windows of one length, of one sample or more.

    Of each channel in turn: mean, standard deviation, skewness and excess kurtosis (0 for a
    constant channel); `QUANTILES`, interpolated linearly; mean and standard deviation of each of
    `PARTS` of the window; the mean absolute difference of neighbouring samples; the logarithm (base
    10) of the power in each of `BANDS`, without the mean. Then, of each pair of channels, Pearson's
    correlation (0 if one is constant). In the units of the windows, so that columns differ in
    scale.
    """
    x_BCT = np.asarray(imu_BCT, np.float64)
    batch, channels, _ = x_BCT.shape
    mean_BC = x_BCT.mean(axis=-1)
    centred_BCT = x_BCT - mean_BC[..., None]
    square_BCT = np.square(centred_BCT)
    variance_BC = square_BCT.mean(axis=-1)
    # The values are float32: less than that differs from a constant by rounding alone.
    constant_BC = variance_BC <= np.square(1e-6 * np.abs(x_BCT).max(axis=-1))
    std_BC = np.where(constant_BC, 0.0, np.sqrt(variance_BC))
    divisor_BC = np.where(constant_BC, np.inf, np.sqrt(variance_BC))
    skewness_BC = (square_BCT * centred_BCT).mean(axis=-1) / divisor_BC**3
    kurtosis_BC = np.square(square_BCT).mean(axis=-1) / divisor_BC**4 - 3 * ~constant_BC
    part_mean_BCP = _part_means(centred_BCT)
    of_channel = [
        np.stack([mean_BC, std_BC, skewness_BC, kurtosis_BC], axis=-1),
        _quantiles(imu_BCT),
        mean_BC[..., None] + part_mean_BCP,
        np.sqrt(np.maximum(0, _part_means(square_BCT) - np.square(part_mean_BCP))),
        np.abs(np.diff(x_BCT, axis=-1)).sum(axis=-1, keepdims=True) / max(1, x_BCT.shape[-1] - 1),
        _band_powers(centred_BCT),
    ]
    unit_BCT = centred_BCT / (divisor_BC[..., None] * np.sqrt(x_BCT.shape[-1]))
    first_M, second_M = np.triu_indices(channels, 1)
    correlation_BM = (unit_BCT @ unit_BCT.swapaxes(1, 2))[:, first_M, second_M]
    feature_BCD = np.concatenate(of_channel, axis=-1)
    return np.concatenate([feature_BCD.reshape(batch, -1), correlation_BM], axis=1)


def _quantiles(imu_BCT: npt.NDArray[np.floating]) -> FloatArray:
    """`QUANTILES` of each channel, [B, C, 7], as `np.quantile`, which would copy all samples."""
    sorted_BCT = np.sort(imu_BCT, axis=-1)
    place_Q = np.array(QUANTILES) * (imu_BCT.shape[-1] - 1)
    below_Q = np.floor(place_Q).astype(int)
    above_Q = np.ceil(place_Q).astype(int)
    low_BCQ, high_BCQ = (sorted_BCT[..., x_Q].astype(np.float64) for x_Q in (below_Q, above_Q))
    return low_BCQ + (place_Q - below_Q) * (high_BCQ - low_BCQ)


def _part_means(x_BCT: FloatArray) -> FloatArray:
    """Mean of each part, [B, C, P]; of windows with fewer samples, parts share them."""
    start_P = np.arange(PARTS + 1) * x_BCT.shape[-1] // PARTS
    sums_BCP = np.add.reduceat(x_BCT, start_P[:-1], axis=-1)
    return sums_BCP / np.maximum(1, np.diff(start_P))


def _band_powers(centred_BCT: FloatArray) -> FloatArray:
    """Logarithm of the power in each band, [B, C, S]: without it they would add up to the variance
    (Parseval's theorem)."""
    samples = centred_BCT.shape[-1]
    spectrum_BCF = scipy.fft.rfft(centred_BCT.astype(np.float32), axis=-1)[..., 1:]
    power_BCF = np.square(np.abs(spectrum_BCF)) * (2 / samples**2)
    if samples % 2 == 0:
        power_BCF[..., -1] /= 2  # the only frequency that is not counted twice in the whole
    frequency_F = np.arange(1, samples // 2 + 1) * 2 / samples  # 1 is the highest
    band_F = np.clip(BANDS + np.ceil(np.log2(frequency_F)) - 1, 0, BANDS - 1)
    in_band_FS = band_F[:, None] == np.arange(BANDS)
    return np.log10(power_BCF @ in_band_FS.astype(np.float32) + SILENCE)
