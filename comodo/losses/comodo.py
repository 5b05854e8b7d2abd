"""COMODO: the student's similarities to a queue should be the teacher's."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from comodo.core.lazy import torch
from comodo.losses.loss import (
    Loss,
    Step,
    Term,
    check_pairs,
    check_temperature,
    frozen_unit,
    unit,
)


class ComodoLoss(Loss):
    """COMODO: the student's similarities to a queue are trained to match the teacher's."""

    queue_size: int = Field(1024, ge=1)
    """Teacher embeddings in the queue; limited by the training windows, as the first epoch needs
    some that are not in the queue."""
    teacher_temperature: float = Field(0.1, gt=0)
    """Divides the teacher's similarities; with a smaller one fewer entries count; published 0.1."""
    student_temperature: float = Field(0.05, gt=0)
    """Divides the student's similarities; published 0.05."""
    hold_out_queue: bool = True
    """Whether the windows that fill the queue are trained on only from the second epoch."""

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        """The batch's teacher embeddings enter `own.queue` after their step."""
        temperatures = self.teacher_temperature, self.student_temperature
        loss = comodo_loss(step.student_BD, step.teacher_BD, own.queue.keys_QD, *temperatures)
        own.queue.push(step.teacher_BD)
        return loss


class ComodoTerm(ComodoLoss, Term):
    """The loss of the method comodo."""


def comodo_loss(
    student_BD: torch.Tensor,
    teacher_BD: torch.Tensor,
    queue_QD: torch.Tensor,
    teacher_temperature: float = 0.1,
    student_temperature: float = 0.05,
) -> torch.Tensor:
    """COMODO's loss, in nats: the student's similarities to a queue should be the teacher's.

    The keys K are the queue, in any order, followed by the batch's own teacher embeddings. Student
    and teacher each give a distribution over the keys, and the loss is their cross-entropy
    (equations 1 to 3 of COMODO, arXiv 2503.07259):

        P_v = softmax(z_v K^T / tau_v),  P_x = softmax(z_x K^T / tau_x)
        loss = mean over the batch of -sum(P_v log P_x)

    All embeddings are normalised to unit length here. The memory needed beyond the inputs does not
    grow with Q. Inputs in half precision are computed in float32.

    Args:
        student_BD: z_x, embeddings of the IMU windows of a batch `[B, D]`; they alone receive a
            gradient.
        teacher_BD: z_v, embeddings `[B, D]` of the videos of the same windows, in the same order.
        queue_QD: keys `[Q, D]`, as `TeacherQueue.keys_QD`; Q may be 0.
        teacher_temperature: tau_v.
        student_temperature: tau_x.

    Returns:
        A scalar, float64 for a float64 student, otherwise float32; it has no second derivative.

    Raises:
        ValueError: shapes that do not fit together, or a temperature that is not positive.

    Examples:
        >>> queue = comodo.TeacherQueue(first_QD)
        >>> loss = comodo.comodo_loss(student_BD, teacher_BD, queue.keys_QD)
        >>> loss.backward()
        >>> queue.push(teacher_BD)  # after the step, as in the paper
    """
    check_pairs(student_BD, teacher_BD)
    check_temperature("teacher_temperature", teacher_temperature)
    check_temperature("student_temperature", student_temperature)
    if queue_QD.ndim != 2 or queue_QD.shape[1] != student_BD.shape[1]:
        shape = tuple(queue_QD.shape)
        raise ValueError(f"queue has shape {shape}, expected [Q, {student_BD.shape[1]}]")
    from comodo.losses.cross_entropy import LossWithGradient, queue_cross_entropy

    others = queue_QD.detach(), teacher_temperature, student_temperature
    if student_BD.is_cuda:
        from comodo.losses import cross_entropy_triton  # imports Triton, which a CPU cannot use

        if cross_entropy_triton.fits(student_BD):
            compare = cross_entropy_triton.fused_loss_and_gradient
            student, teacher = student_BD.float().contiguous(), teacher_BD.detach()
            return LossWithGradient.apply(compare, student, teacher, *others)
    student, teacher = unit(student_BD), frozen_unit(teacher_BD, like=student_BD)
    return LossWithGradient.apply(queue_cross_entropy, student, teacher, *others)
