"""Augmentation: random changes of the windows of a training batch, on the CPU.

What becomes of a window depends on the window, its row in the split and the epoch's seed alone: not
on its batch, the number of workers, or where a run was interrupted. That needs operations that
round in the same way in every batch, so no matrix products and no sums over a padded batch. This
module does not know students, methods or losses.

Shape letters: b windows, C channels that are stored, T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from comodo.config import CHANNELS, Augmentation
from comodo.config.channels import in_groups, quantity_of, sensor_of
from comodo.data.imu_transforms import (
    Generators,
    random_tilts,
    rotated,
    shifted,
    window_generators,
)

ROTATION, SCALE, SHIFT, NOISE, DROP_SENSOR = range(5)
"""Each change has random numbers of its own, so none changes with another's setting."""


@dataclass(frozen=True)
class Augment:
    """The changes of one epoch, whose seed it is."""

    settings: Augmentation
    seed: int
    channels: Sequence[str] = CHANNELS

    def __call__(self, imu_bCT: Tensor, length_b: Tensor | None, row_b: Tensor) -> Tensor:
        """Changed windows `[b, C, T]`; their padding, and `length_b` (None: all T), stay.

        `row_b`: the windows' places in their split.
        """
        drawn, settings = self._generators, self.settings
        if settings.rotation:
            generators = drawn(ROTATION, row_b)
            sensors = dict.fromkeys(map(sensor_of, self.channels))
            tilts = {name: random_tilts(generators, settings.rotation) for name in sensors}
            imu_bCT = rotated(imu_bCT, self.channels, tilts)
        if settings.scale:
            channels = len(self.channels)
            imu_bCT = imu_bCT * _factors(drawn(SCALE, row_b), settings.scale, channels)
        if settings.shift:
            shift_b = _shifts(drawn(SHIFT, row_b), settings.shift, imu_bCT, length_b)
            imu_bCT = shifted(imu_bCT, shift_b, length_b)
        if settings.noise:
            groups = [*in_groups(self.channels).values()]
            noise_bCT = _noise(drawn(NOISE, row_b), settings.noise, groups, imu_bCT, length_b)
            imu_bCT = imu_bCT + noise_bCT
        if settings.drop_sensor:
            generators = drawn(DROP_SENSOR, row_b)
            dropped_bC1 = _dropped(generators, settings.drop_sensor, self.channels)
            imu_bCT = imu_bCT.masked_fill(dropped_bC1, 0)
        return imu_bCT

    def _generators(self, change: int, row_b: Tensor) -> Generators:
        return window_generators(row_b, self.seed, change)


def _factors(generators: Generators, scale: float, channels: int) -> Tensor:
    """A factor for each channel `[b, C, 1]`."""
    factors = [generator.uniform(1 - scale, 1 + scale, channels) for generator in generators]
    return torch.from_numpy(np.stack(factors)).float().unsqueeze(2)


def _shifts(
    generators: Generators, shift: float, imu_bCT: Tensor, length_b: Tensor | None
) -> Tensor:
    """Samples by which each window is shifted `[b]`: up to this share of its length."""
    shares = [generator.uniform(-shift, shift) for generator in generators]
    share_b = torch.tensor(shares, dtype=torch.float64)
    return (share_b * (imu_bCT.shape[-1] if length_b is None else length_b)).round().long()


def _noise(
    generators: Generators,
    noise: float,
    groups: Sequence[list[int]],
    imu_bCT: Tensor,
    length_b: Tensor | None,
) -> Tensor:
    """White Gaussian noise `[b, C, T]` where windows are not padding. Its standard deviation is
    this share of the sensor's own about the mean of each axis: that does not depend on how the
    device is turned. `groups`: places of the axes of each accelerometer and gyroscope."""
    noise_bCT = torch.zeros_like(imu_bCT)
    samples = imu_bCT.shape[-1]
    lengths = [samples] * len(imu_bCT) if length_b is None else length_b.tolist()
    rows = zip(noise_bCT.numpy(), imu_bCT.numpy(), lengths, generators, strict=True)
    for noise_CT, imu_CT, length, generator in rows:
        real_CT = np.array(imu_CT[:, samples - length :], order="C")
        variance_C = real_CT.var(axis=1)
        for places in groups:
            variance_C[places] = variance_C[places].mean()
        drawn_CT = generator.standard_normal(real_CT.shape, np.float32)
        noise_CT[:, samples - length :] = noise * np.sqrt(variance_C)[:, None] * drawn_CT
    return noise_bCT


def _dropped(generators: Generators, probability: float, channels: Sequence[str]) -> Tensor:
    """Whether a channel is zero `[b, C, 1]`: all of one sensor, of the only sensor all of its
    accelerometer or gyroscope, or none."""
    sensors = [sensor_of(channel) for channel in channels]
    of_C = sensors if len(set(sensors)) > 1 else [quantity_of(channel) for channel in channels]
    names = list(dict.fromkeys(of_C))
    dropped_bC1 = torch.zeros(len(generators), len(channels), 1, dtype=torch.bool)
    for dropped_C1, generator in zip(dropped_bC1, generators, strict=True):
        drawn, which = generator.random(2)
        if drawn < probability:
            chosen = names[int(which * len(names))]
            dropped_C1[[place for place, name in enumerate(of_C) if name == chosen]] = True
    return dropped_bC1
