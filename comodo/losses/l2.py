"""Feature matching."""

from __future__ import annotations

from typing import Any

from comodo.core.lazy import torch
from comodo.losses.loss import Loss, Step, Term, check_pairs, frozen_unit, unit


class L2Loss(Loss):
    """The student's embedding is trained to match the teacher's."""

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        return l2_loss(step.student_BD, step.teacher_BD)


class L2Term(L2Loss, Term):
    """The loss of the method l2."""


def l2_loss(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> torch.Tensor:
    """Feature matching: mean squared error over all B x D elements, a baseline of COMODO.

    It equals (2 - 2 cosine similarity) / D, averaged over the batch, so it is at most 4 / D.
    """
    check_pairs(student_BD, teacher_BD)
    return torch.nn.functional.mse_loss(unit(student_BD), frozen_unit(teacher_BD, like=student_BD))
