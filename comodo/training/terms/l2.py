"""Feature matching."""

from torch import Tensor

from comodo.training.losses import l2_loss
from comodo.training.terms.term import Step, Term


class L2Term(Term):
    """`l2_loss`."""

    def forward(self, step: Step) -> Tensor:
        return l2_loss(step.student_BD, step.teacher_BD)
