"""Relational knowledge distillation: what windows are to each other, not where each is."""

from __future__ import annotations

from typing import Any, ClassVar

from comodo.core.lazy import torch
from comodo.losses.loss import Step, Term, check_pairs, frozen_unit, unit


class RkdDistanceTerm(Term):
    """RKD-D (arXiv 1904.05068): the distances between the windows of a batch, relative to their
    mean; published with weight 1."""

    is_relational: ClassVar[bool] = True

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        return relational_distance_loss(step.student_BD, step.teacher_BD)


class RkdAngleTerm(Term):
    """RKD-A (arXiv 1904.05068): the angles between three windows of a batch; published with weight
    2. Memory grows with the cube of the batch."""

    is_relational: ClassVar[bool] = True

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        return relational_angle_loss(step.student_BD, step.teacher_BD)


def relational_distance_loss(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> torch.Tensor:
    """Distances between the windows of a batch, relative to their mean, should be the teacher's.

    Smooth L1 distance (of 1) between ||z[i] - z[j]|| / mu of student and teacher, averaged over all
    B x B pairs; mu is the mean over the pairs of two different windows. RKD-D, equations 5 to 7 of
    arXiv 1904.05068, whose sum is a mean here, as in its code. 0 for a single window.
    """
    check_pairs(student_BD, teacher_BD)
    return torch.nn.functional.smooth_l1_loss(
        _relative_distances(unit(student_BD)),
        _relative_distances(frozen_unit(teacher_BD, like=student_BD)),
    )


def relational_angle_loss(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> torch.Tensor:
    """Angles between the windows of a batch should be the teacher's.

    Smooth L1 distance (of 1) between cos of the angle i-j-k of student and teacher, averaged over
    all B x B x B triplets. RKD-A, equations 8 to 10 of arXiv 1904.05068, whose sum is a mean here,
    as in its code. Memory and time grow with the cube of the batch: 50 MB for 128 windows.
    """
    check_pairs(student_BD, teacher_BD)
    student, teacher = unit(student_BD), frozen_unit(teacher_BD, like=student_BD)
    with torch.autocast(student.device.type, enabled=False):
        return torch.nn.functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _relative_distances(embedding_BD: torch.Tensor) -> torch.Tensor:
    """Distances `[B, B]`, divided by their mean without the diagonal."""
    distance_BB = (embedding_BD.unsqueeze(0) - embedding_BD.unsqueeze(1)).norm(dim=2)
    pairs = max(1, len(embedding_BD) * (len(embedding_BD) - 1))
    mean = distance_BB.sum() / pairs
    return distance_BB / mean.clamp(min=torch.finfo(mean.dtype).eps)


def _angles(embedding_BD: torch.Tensor) -> torch.Tensor:
    """Cosines `[B, B, B]` of the angles at the first of three windows."""
    difference_BBD = embedding_BD.unsqueeze(0) - embedding_BD.unsqueeze(1)
    direction_BBD = torch.nn.functional.normalize(difference_BBD, dim=2)
    return direction_BBD @ direction_BBD.transpose(1, 2)
