"""Augmentation: random changes of the windows of a training batch, on the CPU.

What becomes of a window depends on the window, its row in the split and the epoch's seed alone: not
on its batch, the number of workers, or where a run was interrupted. That needs operations that
round in the same way in every batch, so no matrix products and no sums over a padded batch. This
module does not know students, methods or losses.

Shape letters: b windows, C = 6 channels, T samples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from comodo.config import CHANNELS, Augmentation
from comodo.data.imu import ACC, GYRO
from comodo.data.imu_transforms import (
    Generators,
    random_tilts,
    rotated,
    shifted,
    window_generators,
)

AXES = 3  # of a sensor
ROTATION, SCALE, SHIFT, NOISE, DROP_SENSOR = range(5)
"""Each change has random numbers of its own, so none changes with another's setting."""


@dataclass(frozen=True)
class Augment:
    """The changes of one epoch, whose seed it is."""

    settings: Augmentation
    seed: int

    def __call__(self, imu_bCT: Tensor, length_b: Tensor | None, row_b: Tensor) -> Tensor:
        """Changed windows `[b, C, T]`; their padding, and `length_b` (None: all T), stay.

        `row_b`: the windows' places in their split.
        """
        drawn, settings = self._generators, self.settings
        if settings.rotation:
            imu_bCT = rotated(imu_bCT, random_tilts(drawn(ROTATION, row_b), settings.rotation))
        if settings.scale:
            imu_bCT = imu_bCT * _factors(drawn(SCALE, row_b), settings.scale)
        if settings.shift:
            shift_b = _shifts(drawn(SHIFT, row_b), settings.shift, imu_bCT, length_b)
            imu_bCT = shifted(imu_bCT, shift_b, length_b)
        if settings.noise:
            imu_bCT = imu_bCT + _noise(drawn(NOISE, row_b), settings.noise, imu_bCT, length_b)
        if settings.drop_sensor:
            dropped_bC1 = _dropped(drawn(DROP_SENSOR, row_b), settings.drop_sensor)
            imu_bCT = imu_bCT.masked_fill(dropped_bC1, 0)
        return imu_bCT

    def _generators(self, change: int, row_b: Tensor) -> Generators:
        return window_generators(row_b, self.seed, change)


def _factors(generators: Generators, scale: float) -> Tensor:
    """A factor for each channel `[b, C, 1]`."""
    factors = [generator.uniform(1 - scale, 1 + scale, len(CHANNELS)) for generator in generators]
    return torch.from_numpy(np.stack(factors)).float().unsqueeze(2)


def _shifts(
    generators: Generators, shift: float, imu_bCT: Tensor, length_b: Tensor | None
) -> Tensor:
    """Samples by which each window is shifted `[b]`: up to this share of its length."""
    shares = [generator.uniform(-shift, shift) for generator in generators]
    share_b = torch.tensor(shares, dtype=torch.float64)
    return (share_b * (imu_bCT.shape[-1] if length_b is None else length_b)).round().long()


def _noise(
    generators: Generators, noise: float, imu_bCT: Tensor, length_b: Tensor | None
) -> Tensor:
    """White Gaussian noise `[b, C, T]` where windows are not padding. Its standard deviation is
    this share of the sensor's own about the mean of each axis: that does not depend on how the
    device is turned."""
    noise_bCT = torch.zeros_like(imu_bCT)
    samples = imu_bCT.shape[-1]
    lengths = [samples] * len(imu_bCT) if length_b is None else length_b.tolist()
    rows = zip(noise_bCT.numpy(), imu_bCT.numpy(), lengths, generators, strict=True)
    for noise_CT, imu_CT, length, generator in rows:
        real_CT = np.array(imu_CT[:, samples - length :], order="C")
        variance_C = real_CT.var(axis=1).reshape(-1, AXES).mean(axis=1).repeat(AXES)
        drawn_CT = generator.standard_normal(real_CT.shape, np.float32)
        noise_CT[:, samples - length :] = noise * np.sqrt(variance_C)[:, None] * drawn_CT
    return noise_bCT


def _dropped(generators: Generators, probability: float) -> Tensor:
    """Whether a channel is zero `[b, C, 1]`: all channels of one sensor, or none."""
    dropped_bC1 = torch.zeros(len(generators), len(CHANNELS), 1, dtype=torch.bool)
    for dropped_C1, generator in zip(dropped_bC1, generators, strict=True):
        is_dropped, is_acc = generator.random(2) < (probability, 0.5)
        dropped_C1[ACC if is_acc else GYRO] = bool(is_dropped)
    return dropped_bC1
