"""SigLIP, with its learnt scale and bias."""

from __future__ import annotations

from typing import Any

from comodo.core.lazy import torch
from comodo.losses.loss import Step, Term, check_pairs, frozen_unit, log_scale, unit

FIRST_SCALE, FIRST_BIAS = 10.0, -10.0


class SiglipTerm(Term):
    """SigLIP: each pair of a window and a video of the batch is a match or none (arXiv 2303.15343);
    the factor of the similarities and the bias are trained, from 10 and -10."""

    def trained(self, student_dim: int, classes: int) -> dict[str, torch.nn.Parameter]:
        """The scale, as its logarithm, and the bias begin as in the paper (section 3.2): nearly all
        pairs of a batch are no match, and the bias says so at first."""
        bias = torch.nn.Parameter(torch.tensor(FIRST_BIAS))
        return {"log_scale": log_scale(FIRST_SCALE), "bias": bias}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        return siglip_loss(step.student_BD, step.teacher_BD, own.log_scale.exp(), own.bias)


def siglip_loss(
    student_BD: torch.Tensor,
    teacher_BD: torch.Tensor,
    scale: float | torch.Tensor,
    bias: float | torch.Tensor,
) -> torch.Tensor:
    """SigLIP, in nats: each pair of a window and a video of the batch is a match or none.

        loss = mean over i of sum over j of -log sigmoid(l_ij (scale z_x[i] . z_v[j] + bias))

    with l_ij = 1 for a window and its own video, otherwise -1 (algorithm 1 of arXiv 2303.15343).
    A `scale`, positive, or a `bias` that is a tensor receives a gradient too.
    """
    check_pairs(student_BD, teacher_BD)
    student, teacher = unit(student_BD), frozen_unit(teacher_BD, like=student_BD)
    with torch.autocast(student.device.type, enabled=False):
        logits_BB = student @ teacher.T * scale + bias
        sign_BB = 2 * torch.eye(len(student), dtype=logits_BB.dtype, device=student.device) - 1
        return -torch.nn.functional.logsigmoid(sign_BB * logits_BB).sum(dim=1).mean()
