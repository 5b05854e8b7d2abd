"""COMODO's loss, with the queue that it compares with."""

from torch import Tensor

from comodo.config.terms import ComodoLoss
from comodo.training.losses import comodo_loss
from comodo.training.queue import TeacherQueue
from comodo.training.terms.term import Step, Term


class ComodoTerm(Term):
    """`comodo_loss`; a batch's teacher embeddings enter the queue after their step."""

    settings: ComodoLoss
    queue: TeacherQueue  # filled by the training, which has the windows for it

    def forward(self, step: Step) -> Tensor:
        settings, keys_QD = self.settings, self.queue.keys_QD
        temperatures = settings.teacher_temperature, settings.student_temperature
        loss = comodo_loss(step.student_BD, step.teacher_BD, keys_QD, *temperatures)
        self.queue.push(step.teacher_BD)
        return loss
