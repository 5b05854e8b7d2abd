"""Robustness of a frozen student: accuracy of its probe on windows as another sensor, or the same
one worn otherwise, would record them.

The probe is fitted on the train windows as they are; only val and test are changed. It does not
know how the student was trained. Shape letters: N windows, B batch, C channels, T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from comodo.config.channels import AXES, QUANTITIES, in_groups, quantity_of, sensor_of
from comodo.data import imu_transforms
from comodo.data.arrays import Change, Split
from comodo.evaluation.feature_metrics import Hits
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, hit_metrics
from comodo.models.students import extract_features

METRICS = ("clean", "rotated", "half_rate", "shifted", "noisy", "without_acc", "without_gyro")

MAX_TILT_DEGREES = 30.0
SHIFT_SECONDS = 0.5
NOISE = {"acc": 0.1, "gyro": 10.0}  # standard deviations in g and deg/s, for each sample


@dataclass(frozen=True)
class ChangedWindows:
    """A split whose windows are changed, as packed, before a student resizes them."""

    split: Split
    change: Change

    def imu(self, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Split.imu`."""
        return self.split.packed(index_B, self.change)


def changes(
    seen: Sequence[str], stored: Sequence[str], rate: float, seed: int
) -> dict[str, Change]:
    """The changes by metric, for a student that sees some of the stored channels of windows of this
    rate in Hz.

    Random ones are drawn for each window from the seed. A device is rotated only where all axes of
    what the student sees are stored. A missing accelerometer or gyroscope, of all sensors, is only
    measured of a student that has both.
    """
    groups = in_groups(stored)
    sensors = list(dict.fromkeys(map(sensor_of, stored)))
    places = {q: [i for i, name in enumerate(stored) if quantity_of(name) == q] for q in QUANTITIES}

    def rotated(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        generators = imu_transforms.window_generators(index_B, seed, 0)
        tilts = {
            sensor: imu_transforms.random_tilts(generators, MAX_TILT_DEGREES) for sensor in sensors
        }
        return imu_transforms.rotated(imu_BCT, stored, tilts)

    def half_rate(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        return imu_transforms.half_rate(imu_BCT, length_B)

    def shifted(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        samples_B = torch.full_like(index_B, round(SHIFT_SECONDS * rate))
        return imu_transforms.shifted(imu_BCT, samples_B, length_B)

    def noisy(imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        generators = imu_transforms.window_generators(index_B, seed, 1)
        level_C = np.array([NOISE[quantity_of(name)] for name in stored], np.float32)
        noise_BCT = imu_transforms.random_noise(generators, imu_BCT.shape[-1], level_C)
        return imu_transforms.with_noise(imu_BCT, noise_BCT, length_B)

    def without(quantity: str, imu_BCT: Tensor, length_B: Tensor | None, index_B: Tensor) -> Tensor:
        return imu_transforms.without(imu_BCT, places[quantity])

    found: dict[str, Change] = {}
    if all(len(groups.get(group, AXES)) == len(AXES) for group in in_groups(seen)):
        found["rotated"] = rotated
    found |= {"half_rate": half_rate, "shifted": shifted, "noisy": noisy}
    if {quantity_of(name) for name in seen} == QUANTITIES.keys():
        found |= {f"without_{quantity}": partial(without, quantity) for quantity in QUANTITIES}
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
        seen, stored = frozen.student.channels, part.stored_channels
        hits_of[split] = {"clean": _hits(frozen, features_ND, names_K[label_N])}
        for name, change in changes(seen, stored, frozen.rate, frozen.seed).items():
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
