"""Cross-entropy on the labels, with the classifier that it trains."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from comodo.core.labels import NO_LABEL
from comodo.core.lazy import torch
from comodo.core.settings import ADDED_LATER
from comodo.losses.loss import Loss, Step, Term


class SupervisedLoss(Loss):
    """Cross-entropy on the labels, through a linear layer."""

    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True

    layer_norm: Annotated[bool, ADDED_LATER] = False
    """Whether a layer normalisation precedes the linear layer; with `protocol: published` it does
    for mantis, unless it is a term."""

    def trained(self, student_dim: int, classes: int) -> dict[str, torch.nn.Module]:
        """The classifier, from features to scores of the classes. With `layer_norm` it is the one
        of the published Mantis: LayerNorm - Linear."""
        linear: torch.nn.Module = torch.nn.Linear(student_dim, classes)
        if self.layer_norm:
            linear = torch.nn.Sequential(torch.nn.LayerNorm(student_dim), linear)
        return {"classifier": linear}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        """The mean over the windows of the batch that have a label; 0 if none has one."""
        score_BK, label_B = own.classifier(step.feature_BW), step.label_B
        total = torch.nn.functional.cross_entropy(
            score_BK, label_B, ignore_index=NO_LABEL, reduction="sum"
        )
        return total / (label_B != NO_LABEL).sum().clamp(min=1)


class SupervisedTerm(SupervisedLoss, Term):
    """The loss of the method supervised, on the student's feature before its projector. With a term
    that needs a teacher it learns from those windows with video that have a label."""
