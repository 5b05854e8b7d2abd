"""InfoNCE, with a fixed or a learnt temperature."""

import math

import torch
from torch import Tensor

from comodo.config.terms import InfonceLoss
from comodo.training.losses import infonce_loss
from comodo.training.terms.term import Step, Term, log_scale

MAX_SCALE = 100.0
"""Largest factor of the similarities, as in CLIP."""


class InfonceTerm(Term):
    """`infonce_loss`. With `learn_temperature` the similarities are multiplied by a factor that is
    trained as its logarithm and never above 100, as in CLIP (arXiv 2103.00020, sections 2.4 and
    2.5), whose first temperature was 0.07. IMU2CLIP's paper (arXiv 2210.14395) follows CLIP; its
    code has a fixed temperature of 0.1."""

    settings: InfonceLoss

    def __init__(self, settings: InfonceLoss, student_dim: int, classes: int) -> None:
        super().__init__(settings, student_dim, classes)
        if settings.learn_temperature:
            self.log_scale = log_scale(1 / settings.temperature)

    def forward(self, step: Step) -> Tensor:
        settings = self.settings
        temperature: float | Tensor = settings.temperature
        if settings.learn_temperature:
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(MAX_SCALE))
            temperature = (-self.log_scale).exp()
        return infonce_loss(step.student_BD, step.teacher_BD, temperature, settings.symmetric)
