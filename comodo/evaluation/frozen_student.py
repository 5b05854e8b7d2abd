"""A frozen student on one data set: its features and labels, extracted once for all measures.

It does not know the measures, which are in `measures`. Shape letters: N windows, D features.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from comodo.config.measures import SCORED_SPLITS
from comodo.core.labels import NO_LABEL
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.evaluation.hand_crafted import ClassicalClassifier
from comodo.evaluation.labelled_features import EvaluateError, stratified_subset
from comodo.evaluation.probe import SVMProbe
from comodo.models.hand_crafted import HandCraftedEncoder
from comodo.models.students import EXTRACT_BATCH, Student, extract_features

MAX_TRAIN_WINDOWS = 50_000  # for fitting classifiers: limits memory on large data sets

Labelled = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]  # features [N, D], labels [N]


@dataclass(frozen=True)
class TeacherContext:
    """The teacher's features and both projectors, on the data set that the student trained on."""

    features: FeatureArrays
    heads: tuple[nn.Module, nn.Module] | None
    """Projectors of student and teacher; None if the student was not trained with a teacher."""
    anchor_K: Tensor | None = None
    """Rows of val whose features are the anchors of the zero-shot measure; None: train medoids."""
    texts: Path | None = None
    """`data.prompts` of the classes; only there if a measure asks for them."""


@dataclass(eq=False)
class FrozenStudent:
    """A frozen student and the data set that it is evaluated on."""

    student: Student
    windows: WindowArrays
    seed: int
    mask: bool = True  # as in `Student.forward`
    ties: Literal["smallest", "middle"] = "middle"  # as in `SVMProbe`
    probe_windows: Literal["seed", "published"] = "seed"  # as in `TrialConfig`
    teacher: TeacherContext | None = None
    source: "FrozenStudent | None" = None
    """The student on the data set that it was trained on; None if that is this one."""
    head: nn.Module | None = None
    """The classifier of a student trained on labels: features to classes of its data set."""
    common_name: dict[str, str] = field(default_factory=dict)
    """Class names to the names that they have in common with other data sets (`label_map`);
    classes that are missing here keep their own name."""
    rate: float | None = None
    """Samples per second of the windows; None: no measure asks for it."""
    batch_size: int = EXTRACT_BATCH
    """Windows that are encoded together, in the order of their split."""
    extracted: dict[int, npt.NDArray[np.float32]] | None = None
    """Features of windows by their packed rows, shared by the folds of one data set, so that each
    window is extracted once; None: nothing is shared."""

    probe: SVMProbe | ClassicalClassifier | None = None
    """As `fitted_probe.fit_probe` has fitted it; None: not yet."""

    def __post_init__(self) -> None:
        self.labelled = cache(self._labelled)

    @property
    def is_hand_crafted(self) -> bool:
        """Whether these are hand-crafted features, and no student's."""
        return self.student.encoder.name == HandCraftedEncoder.name

    def _labelled(self, split: str, all_train: bool = False) -> Labelled | None:
        """The labelled windows of a split (of train `training_subset`, unless `all_train`); None if
        it has none."""
        part = self.windows.splits.get(split)
        if part is None or not len(index_N := part.labelled_N):
            return None
        if split == "train" and not all_train:
            index_N = self.training_subset(index_N)
        return self.extract(split, index_N), part.label_N[index_N].numpy()

    def extract(self, split: str, index_N: Tensor) -> npt.NDArray[np.float32]:
        """Features `[N, D]` of windows of a split, with or without a label."""
        part = self.windows.splits[split]
        if self.extracted is None:
            return self._extract(part, index_N)
        rows = part.stored(index_N).tolist()
        new_n = torch.tensor([i for i, row in enumerate(rows) if row not in self.extracted])
        if len(new_n):
            found_nD = self._extract(part, index_N[new_n])
            self.extracted |= {
                rows[i]: x_D for i, x_D in zip(new_n.tolist(), found_nD, strict=True)
            }
        return np.stack([self.extracted[row] for row in rows])

    def _extract(self, part: Split, index_N: Tensor) -> npt.NDArray[np.float32]:
        batch = self.batch_size
        return extract_features(self.student, part, index_N, self.mask, batch_size=batch).numpy()

    def training_subset(self, index_N: Tensor) -> Tensor:
        """At most `MAX_TRAIN_WINDOWS` of these train windows, stratified by class, those without a
        label as one more; the same for all students with this seed."""
        label_N = self.windows.splits["train"].label_N[index_N] - NO_LABEL
        return index_N[stratified_subset(label_N.numpy(), MAX_TRAIN_WINDOWS, self.seed)]

    def groups(self, split: str, index_N: Tensor) -> npt.NDArray[np.str_]:
        """Names `[N]` of the groups of windows of a split."""
        return np.array(self.windows.groups)[self.windows.splits[split].group_N[index_N].numpy()]

    def train(self, all_windows: bool = False) -> Labelled:
        """The labelled train windows that classifiers are fitted on, `training_subset` or all;
        EvaluateError, `evaluate.no-labels`, if there are none."""
        train = self.windows.splits.get("train")
        is_cut = train is not None and len(train.labelled_N) > MAX_TRAIN_WINDOWS
        if (labelled := self.labelled("train", all_windows and is_cut)) is None:
            raise EvaluateError(
                "evaluate.no-labels",
                "no labelled windows in the train split: label some of its recordings, as "
                "classifiers on frozen features need labels",
            )
        return labelled

    def scored(self) -> dict[str, Labelled]:
        """The labelled windows of val and test; splits without labels are missing."""
        labelled_of = {split: self.labelled(split) for split in SCORED_SPLITS}
        return {split: labelled for split, labelled in labelled_of.items() if labelled is not None}
