"""SigLIP, with its learnt scale and bias."""

from typing import Any

import torch
from torch import Tensor, nn

from comodo.training.losses import siglip_loss
from comodo.training.terms.term import Step, Term, log_scale

FIRST_SCALE, FIRST_BIAS = 10.0, -10.0


class SiglipTerm(Term):
    """`siglip_loss`, whose scale, as its logarithm, and bias begin as in the paper (section 3.2 of
    arXiv 2303.15343): nearly all pairs of a batch are no match, and the bias says so at first."""

    def __init__(self, settings: Any, student_dim: int, classes: int) -> None:
        super().__init__(settings, student_dim, classes)
        self.log_scale = log_scale(FIRST_SCALE)
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def forward(self, step: Step) -> Tensor:
        return siglip_loss(step.student_BD, step.teacher_BD, self.log_scale.exp(), self.bias)
