"""A frozen student on one data set: what is measured, as opposed to how (`evaluate`).

Its features are extracted once and serve every measure.

Shapes: N windows, D numbers in a feature, B windows in a batch.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from comodo.core.errors import ComodoError
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.evaluation.probe import stratified_subset
from comodo.models.features import extract_features
from comodo.models.students import Student

SCORED_SPLITS = ("val", "test")
MAX_TRAIN_WINDOWS = (
    50_000  # windows that measures learn from, so that memory ends where labels do not
)

Labelled = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class EvaluateError(ComodoError, ValueError):
    """A data set on which a student cannot be measured."""


@dataclass(frozen=True)
class TeacherContext:
    """The teacher's side of a student on the data set that it was trained on."""

    features: FeatureArrays
    heads: tuple[nn.Module, nn.Module] | None
    """Projectors of student and teacher; None for a student that no teacher has trained."""


@dataclass(eq=False)
class FrozenStudent:
    """A frozen student on one data set."""

    student: Student
    windows: WindowArrays
    seed: int
    mask: bool = True
    """As in `Student.forward`."""
    ties: Literal["smallest", "middle"] = "middle"
    """As in `SVMProbe`."""
    teacher: TeacherContext | None = None
    source: "FrozenStudent | None" = None
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
        features_ND = extract_features(self.student, part, index_N, self.mask).numpy()
        return features_ND, part.label_N[index_N].numpy()

    def to_learn_from(self, index_N: Tensor) -> Tensor:
        """Of these labelled train windows at most MOST_TRAIN, every class cut by the same factor.

        Drawn by the seed alone, so every student with this seed is measured by the same windows.
        """
        label_N = self.windows.splits["train"].label_N[index_N]
        return index_N[stratified_subset(label_N.numpy(), MAX_TRAIN_WINDOWS, self.seed)]

    def train(self) -> Labelled:
        """Raises EvaluateError without labelled training windows."""
        if (labelled := self.labelled("train")) is None:
            raise EvaluateError("no labelled windows in the train split: a probe needs labels")
        return labelled

    def scored(self) -> dict[str, Labelled]:
        """The labelled windows of val and test, as far as there are any."""
        found = {split: self.labelled(split) for split in SCORED_SPLITS}
        return {split: labelled for split, labelled in found.items() if labelled is not None}
