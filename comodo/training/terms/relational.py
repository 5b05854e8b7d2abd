"""Relational knowledge distillation: what windows are to each other, not where each is."""

from torch import Tensor

from comodo.training.losses import relational_angle_loss, relational_distance_loss
from comodo.training.terms.term import Step, Term


class DistanceTerm(Term):
    """`relational_distance_loss`."""

    def forward(self, step: Step) -> Tensor:
        return relational_distance_loss(step.student_BD, step.teacher_BD)


class AngleTerm(Term):
    """`relational_angle_loss`."""

    def forward(self, step: Step) -> Tensor:
        return relational_angle_loss(step.student_BD, step.teacher_BD)
