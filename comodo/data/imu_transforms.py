"""Changes of IMU windows as wearing and sensors cause them: tilt, noise, shift, half rate, a loss.

Pure functions of `imu_BCT`, `[B, C, T]` in g and deg/s; they return a new tensor. Random ones take
one NumPy generator for each window, so what a window gets does not depend on its batch. Shorter
windows are left-padded with zeros: `length_B` are their real samples (None: all T), and padding
stays zero. Knows no student, data set, training or measure.

Shape letters: B windows, C channels, T samples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from comodo.config.channels import axis_of, in_groups

Generators = Sequence[np.random.Generator]


def window_generators(index_B: Tensor, *seed: int) -> list[np.random.Generator]:
    """A generator for each window of a split: equal for equal index and seed (of the trial, the
    epoch, the kind of change, ...), independent otherwise. Numbers are not negative."""
    return [np.random.default_rng([*seed, index]) for index in index_B.tolist()]


def random_tilts(generators: Generators, max_degrees: float) -> Tensor:
    """Rotation matrices float32 `[B, 3, 3]`: about an axis in a uniformly random direction, by an
    angle uniform in 0 to `max_degrees` (so 180 is not uniform over all orientations)."""
    vectors = []
    for generator in generators:
        direction = generator.normal(size=3)
        angle = np.radians(generator.uniform(0, max_degrees))
        vectors.append(angle / np.linalg.norm(direction) * direction)
    return torch.from_numpy(Rotation.from_rotvec(np.stack(vectors)).as_matrix()).float()


def rotated(imu_BCT: Tensor, channels: Sequence[str], rotation_of: Mapping[str, Tensor]) -> Tensor:
    """Windows of sensors that are mounted otherwise: accelerometer and gyroscope of a sensor, which
    are one device, are rotated together by the matrices `[B, 3, 3]` of its name. What has not three
    axes, in any order, stays as it is."""
    out_BCT = imu_BCT.clone()
    for (sensor, _), places in in_groups(channels).items():
        if len(places) == 3:
            places = sorted(places, key=lambda place: axis_of(channels[place]))
            # Not as a matrix product, whose rounding may depend on the number of windows.
            columns = zip(places, rotation_of[sensor].split(1, dim=2), strict=True)
            x, y, z = (column_B31 * imu_BCT[:, [place]] for place, column_B31 in columns)
            out_BCT[:, places] = x + y + z
    return out_BCT


def random_noise(generators: Generators, samples: int, scale_C: np.ndarray) -> Tensor:
    """White Gaussian noise float32 `[B, C, samples]` with these standard deviations.

    It is drawn from the last sample to the first, so padding in front of a window changes nothing.
    """
    shape = (samples, len(scale_C))
    noise_BTC = np.stack([generator.standard_normal(shape, np.float32) for generator in generators])
    return torch.from_numpy((scale_C * noise_BTC[:, ::-1]).transpose(0, 2, 1))


def with_noise(imu_BCT: Tensor, noise_BCT: Tensor, length_B: Tensor | None = None) -> Tensor:
    """Windows with noise added to their real samples."""
    return imu_BCT + (noise_BCT if length_B is None else noise_BCT * _real(imu_BCT, length_B))


def shifted(imu_BCT: Tensor, shift_B: Tensor, length_B: Tensor | None = None) -> Tensor:
    """Windows that begin `shift_B` samples earlier (negative: later) than they were cut.

    The samples before (after) a window are not known: it is continued by its own mirror image,
    which keeps gravity and frequencies. Samples that leave the window are lost.
    """
    samples = imu_BCT.shape[-1]
    lengths_B1 = torch.full((len(imu_BCT), 1), samples) if length_B is None else length_B[:, None]
    start_B1 = samples - lengths_B1
    time_BT = torch.arange(samples) - start_B1  # from the first real sample
    period_B1 = (2 * (lengths_B1 - 1)).clamp(min=1)
    phase_BT = (time_BT - shift_B[:, None]) % period_B1
    source_BT = start_B1 + torch.minimum(phase_BT, period_B1 - phase_BT)
    source_BT = torch.where(time_BT < 0, torch.arange(samples), source_BT.clamp(max=samples - 1))
    return imu_BCT.gather(2, source_BT[:, None].expand_as(imu_BCT))


def half_rate(imu_BCT: Tensor, length_B: Tensor | None = None) -> Tensor:
    """Windows as of a sensor with half the rate: each two samples are averaged, and the windows are
    interpolated linearly back to their number of samples, as preparation resamples a slower sensor
    to the rate of its data set."""
    out_BCT = imu_BCT.clone()
    lengths_B = torch.full((len(imu_BCT),), imu_BCT.shape[-1]) if length_B is None else length_B
    for length in lengths_B.unique().tolist():
        real_BCT = imu_BCT[lengths_B == length, :, -length:]
        half_BCT = F.avg_pool1d(real_BCT, 2, ceil_mode=True)
        out_BCT[lengths_B == length, :, -length:] = F.interpolate(half_BCT, length, mode="linear")
    return out_BCT


def without(imu_BCT: Tensor, places: Sequence[int]) -> Tensor:
    """Windows of a dead sensor, whose channels have these places: they are zero."""
    out_BCT = imu_BCT.clone()
    out_BCT[:, places] = 0
    return out_BCT


def _real(imu_BCT: Tensor, length_B: Tensor) -> Tensor:
    """Whether a sample is real, not padding: `[B, 1, T]`."""
    samples = imu_BCT.shape[-1]
    return (torch.arange(samples) >= samples - length_B[:, None])[:, None]
