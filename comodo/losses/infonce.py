"""InfoNCE, with a fixed or a learnt temperature."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from comodo.core.lazy import torch
from comodo.core.settings import ADDED_LATER
from comodo.losses.loss import (
    Loss,
    Step,
    Term,
    check_pairs,
    check_temperature,
    frozen_unit,
    log_scale,
    unit,
)

MAX_SCALE = 100.0
"""Largest factor of the similarities, as in CLIP."""


class InfonceLoss(Loss):
    """InfoNCE: a contrastive loss within the batch."""

    learn_temperature: Annotated[bool, ADDED_LATER] = False
    """Whether the temperature is trained too, as in CLIP; it stays at 0.01 or above."""
    temperature: float = Field(
        default_factory=lambda data: 0.07 if data.get("learn_temperature") else 0.1, gt=0
    )
    """Divides the cosine similarities; by default 0.1. With `learn_temperature` the first value, by
    default 0.07."""
    symmetric: bool = False
    """Whether to add the direction from video to IMU."""

    def trained(self, student_dim: int, classes: int) -> dict[str, torch.nn.Parameter]:
        """With `learn_temperature` the similarities are multiplied by a factor that is trained as
        its logarithm and never above 100, as in CLIP (arXiv 2103.00020, sections 2.4 and 2.5),
        whose first temperature was 0.07. IMU2CLIP's paper (arXiv 2210.14395) follows CLIP; its code
        has a fixed temperature of 0.1."""
        return {"log_scale": log_scale(1 / self.temperature)} if self.learn_temperature else {}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        temperature: float | torch.Tensor = self.temperature
        if self.learn_temperature:
            with torch.no_grad():
                own.log_scale.clamp_(max=math.log(MAX_SCALE))
            temperature = (-own.log_scale).exp()
        return infonce_loss(step.student_BD, step.teacher_BD, temperature, self.symmetric)


class InfonceTerm(InfonceLoss, Term):
    """The loss of the method infonce."""


def infonce_loss(
    student_BD: torch.Tensor,
    teacher_BD: torch.Tensor,
    temperature: float | torch.Tensor = 0.1,
    symmetric: bool = False,
) -> torch.Tensor:
    """InfoNCE, in nats: each IMU window has to find its own video among the videos of the batch.

        loss = mean over i of -log softmax_j(z_x[i] . z_v[j] / temperature)[i]

    The loss of contrastive predictive coding (arXiv 1807.03748) as IMU2CLIP (arXiv 2210.14395) uses
    it, which is a baseline of COMODO (arXiv 2503.07259). `symmetric` adds, without averaging, the
    loss of the other direction, in which each video has to find its IMU window. A temperature that
    is a tensor, positive, receives a gradient too.
    """
    check_pairs(student_BD, teacher_BD)
    if not isinstance(temperature, torch.Tensor):  # to look at a tensor is to wait for the device
        check_temperature("temperature", temperature)
    student, teacher = unit(student_BD), frozen_unit(teacher_BD, like=student_BD)
    own = torch.arange(len(student), device=student.device)
    with torch.autocast(student.device.type, enabled=False):
        logits_BB = student @ teacher.T / temperature
        loss = torch.nn.functional.cross_entropy(logits_BB, own)
        if symmetric:
            loss = loss + torch.nn.functional.cross_entropy(logits_BB.T, own)
    return loss
