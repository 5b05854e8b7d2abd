"""Robustness of a frozen student: accuracy of its probe on windows as another sensor, or the same
one worn otherwise, would record them.

The probe is fitted on the train windows as they are; only val and test are changed. It does not
know how the student was trained. Shape letters: N windows, B batch, C channels, T samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from comodo.config import CHANNELS
from comodo.data import imu_transforms
from comodo.data.arrays import Split
from comodo.data.imu import ACC, GYRO
from comodo.evaluation.feature_metrics import Hits
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, hit_metrics
from comodo.models.students import extract_features

MAX_TILT_DEGREES = 30.0
SHIFT_SECONDS = 0.5
NOISE_G, NOISE_DEG_S = 0.1, 10.0  # standard deviations, for each sample and channel

Change = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""Changed windows `imu_BCT` from windows, their lengths and their indices in the split."""


@dataclass(frozen=True)
class ChangedWindows:
    """A split whose windows are changed, as packed, before a student resizes them."""

    split: Split
    change: Change

    def imu(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Split.imu`."""
        imu_BCT, length_B = self.split.packed(index_B)
        return self.change(imu_BCT, length_B, index_B), length_B


def changes(channels: list[str], rate: float, seed: int) -> dict[str, Change]:
    """The changes by metric, for a student with these channels and windows of this rate in Hz.

    Random ones are drawn for each window from the seed. A missing sensor is only measured of a
    student that has both.
    """

    def rotated(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        generators = imu_transforms.window_generators(index_B, seed, 0)
        tilt_B33 = imu_transforms.random_tilts(generators, MAX_TILT_DEGREES)
        return imu_transforms.rotated(imu_BCT, tilt_B33)

    def half_rate(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        return imu_transforms.half_rate(imu_BCT, length_B)

    def shifted(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        samples_B = torch.full_like(index_B, round(SHIFT_SECONDS * rate))
        return imu_transforms.shifted(imu_BCT, samples_B, length_B)

    def noisy(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        generators = imu_transforms.window_generators(index_B, seed, 1)
        levels = {"acc_g": NOISE_G, "gyro_deg_s": NOISE_DEG_S}
        noise_BCT = imu_transforms.random_noise(generators, imu_BCT.shape[-1], **levels)
        return imu_transforms.with_noise(imu_BCT, noise_BCT, length_B)

    def without(sensor: slice, imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        return imu_transforms.without(imu_BCT, sensor)

    found: dict[str, Change] = {
        "rotated": rotated,
        "half_rate": half_rate,
        "shifted": shifted,
        "noisy": noisy,
    }
    sensors = {"acc": ACC, "gyro": GYRO}
    if all(set(CHANNELS[sensor]) & set(channels) for sensor in sensors.values()):
        found |= {f"without_{name}": partial(without, x) for name, x in sensors.items()}
    return found


def measure_robustness(frozen: FrozenStudent) -> Measured:
    """Acc@1 of the SVM probe on val and test windows as they are (`clean`) and with each change.

    Raises the errors of `fit_probe`.
    """
    assert frozen.rate is not None
    names_K = np.array(frozen.windows.classes)
    hits_of = dict[str, dict[str, Hits]]()
    for split, (features_ND, label_N) in frozen.scored().items():
        part = frozen.windows.splits[split]
        channels = frozen.student.description["channels"]
        hits_of[split] = {"clean": _hits(frozen, features_ND, names_K[label_N])}
        for name, change in changes(channels, frozen.rate, frozen.seed).items():
            windows = ChangedWindows(part, change)
            changed_ND = extract_features(
                frozen.student, windows, part.labelled_N, frozen.mask, batch_size=frozen.batch_size
            )
            hits_of[split][name] = _hits(frozen, changed_ND.numpy(), names_K[label_N])
    return hit_metrics("robustness", frozen, hits_of)


def _hits(frozen: FrozenStudent, features_ND: np.ndarray, label_N: np.ndarray) -> Hits:
    """Whether the most probable class of each window is its own, [N]."""
    probe = fit_probe(frozen)
    return probe.classes_[probe.probabilities(features_ND).argmax(1)] == label_N
