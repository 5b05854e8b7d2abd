"""A frozen student on one data set: what is measured, as opposed to how (`evaluate`).

Its features are extracted once and serve every measure.

Shapes: N windows, D numbers in a feature, B windows in a batch.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from comodo.arrays import Features, Split, Windows
from comodo.probe import stratified_subset
from comodo.students import Student

BATCH = 128  # windows at a time; features do not depend on it
SCORED = ("val", "test")
MOST_TRAIN = 50_000  # windows that measures learn from, so that memory ends where labels do not

Labelled = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class EvaluateError(ValueError):
    """A data set on which a student cannot be measured."""


@dataclass(frozen=True)
class Teacher:
    """The teacher's side of a student on the data set that it was trained on."""

    features: Features
    heads: tuple[nn.Module, nn.Module] | None
    """Projectors of student and teacher; None for a student that no teacher has trained."""


@dataclass(eq=False)
class Subject:
    """A frozen student on one data set."""

    student: Student
    windows: Windows
    seed: int
    mask: bool = True
    """As in `Student.forward`."""
    ties: Literal["smallest", "middle"] = "middle"
    """As in `SVMProbe`."""
    teacher: Teacher | None = None
    source: "Subject | None" = None
    """The student on the data set that it was trained on, if this is another."""
    head: nn.Module | None = None
    """From features to the classes of its own data set, of a student trained with labels."""
    common_name: dict[str, str] = field(default_factory=dict)
    """Classes to names that several data sets share; others keep their own."""

    def __post_init__(self) -> None:
        self.labelled = cache(self._labelled)

    def _labelled(self, split: str) -> Labelled | None:
        """Features [N, D] and labels [N] of a split's labelled windows; None if it has none.

        Of the train split those of `to_learn_from`.
        """
        part = self.windows.splits.get(split)
        if part is None or not len(index_N := part.labelled_N):
            return None
        if split == "train":
            index_N = self.to_learn_from(index_N)
        features_ND = extract(self.student, part, index_N, self.mask).numpy()
        return features_ND, part.label_N[index_N].numpy()

    def to_learn_from(self, index_N: Tensor) -> Tensor:
        """Of these labelled train windows at most MOST_TRAIN, every class cut by the same factor.

        Drawn by the seed alone, so every student with this seed is measured by the same windows.
        """
        label_N = self.windows.splits["train"].label_N[index_N]
        return index_N[stratified_subset(label_N.numpy(), MOST_TRAIN, self.seed)]

    def train(self) -> Labelled:
        """Raises EvaluateError without labelled training windows."""
        if (labelled := self.labelled("train")) is None:
            raise EvaluateError("no labelled windows in the train split: a probe needs labels")
        return labelled

    def scored(self) -> dict[str, Labelled]:
        """The labelled windows of val and test, as far as there are any."""
        found = {split: self.labelled(split) for split in SCORED}
        return {split: labelled for split, labelled in found.items() if labelled is not None}


@torch.inference_mode()
def extract(
    student: Student,
    split: Split,
    index_N: Tensor,
    mask: bool = True,
    head: nn.Module | None = None,
) -> Tensor:
    """Student features `[N, D]` float32 of the windows with these indices, in evaluation mode.

    `mask` as in `Student.forward`; with a head, what that makes of them.
    """
    was_training = student.training
    student.eval()
    device = next(student.parameters()).device
    features = []
    for index_B in index_N.split(BATCH):
        imu_BCT, length_B = split.imu(index_B)
        feature_BD = student(imu_BCT.to(device), length_B, mask)
        features.append((feature_BD if head is None else head(feature_BD)).cpu())
    student.train(was_training)
    return torch.cat(features).float()
