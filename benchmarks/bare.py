"""The bare step of a distillation trial, the baseline for the engine and for whole sweeps.

The same student, heads, loss, queue and optimizer as in a trial, on tensors in memory, and nothing
else: no checkpoint, no report, no check. Knows neither Ray nor MLflow, nor where windows come from.

Shape letters: B windows of a batch, C channels, T samples, F numbers of a teacher's feature, D of
an embedding, Q queue length.
"""

import torch
from torch import Tensor
from torch.nn import functional

from comodo.config import ComodoMethod, TrialConfig
from comodo.losses.comodo import comodo_loss
from comodo.models.heads import build_heads
from comodo.models.students import build_student
from comodo.training.queue import TeacherQueue


class BareTraining:
    """A trial's networks, from scratch or its weights, with a queue of these features."""

    def __init__(self, trial: TrialConfig, first_QF: Tensor) -> None:
        assert isinstance(trial.method, ComodoMethod)
        self.method, self.student = trial.method, build_student(trial.student).train()
        feature_dim = first_QF.shape[1]
        heads = build_heads(self.method.head, self.student.dim, feature_dim)
        self.head, self.teacher_head = heads
        self.queue = TeacherQueue(self._embed(first_QF))
        self.optimizer = torch.optim.AdamW(
            [*self.student.parameters(), *self.head.parameters()],
            lr=trial.learning_rate,
            weight_decay=trial.weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def _embed(self, feature_BF: Tensor) -> Tensor:
        return functional.normalize(self.teacher_head(feature_BF), dim=1)

    def step(self, imu_BCT: Tensor, feature_BF: Tensor, rate: float) -> None:
        """Trains on one batch, at this learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        teacher_BD = self._embed(feature_BF)
        loss = comodo_loss(
            self.head(self.student(imu_BCT)),
            teacher_BD,
            self.queue.keys_QD,
            self.method.teacher_temperature,
            self.method.student_temperature,
        )
        self.queue.push(teacher_BD)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
