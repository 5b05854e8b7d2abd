"""The training loop of one trial.

Handed a student, mapped arrays, a checkpoint's path, something that reports and something that
says when to leave; knows neither Tune nor Train nor MLflow. All of a run's state is in its
checkpoint, written after every epoch and in long ones between: a run that is stopped anywhere and
started again ends as one that never stopped.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comodo.config import (
    ComodoMethod,
    DistillingMethod,
    InfonceMethod,
    L2Method,
    NoneMethod,
    SupervisedMethod,
    TrialConfig,
)
from comodo.config import metric as names
from comodo.core.store import atomic, key_of
from comodo.core.tensors import load_tensors
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.models.students import Student, build_head
from comodo.training.cuda_graph import cuda_graphed
from comodo.training.distributed import WorkerGroup
from comodo.training.epoch import Epoch, TrainingError
from comodo.training.epoch_accuracy import ClassMeans, epoch_accuracy
from comodo.training.loader import Batch, BatchLoader, epoch_order
from comodo.training.losses import comodo_loss, infonce_loss, l2_loss
from comodo.training.queue import TeacherQueue
from comodo.training.schedule import learning_rate, schedule_of

Report = Callable[[dict[str, Any]], None]
Leave = Callable[[], bool]
"""Asked between steps whether the run has to leave its machine; it may raise what ends the run."""

QUICK_SHARE = 10  # the quick check looks at a tenth as many windows as an epoch trains on
SAVE_SECONDS = 600.0  # seconds of an epoch that a killed process loses at most
LEAVE_POLL_STEPS = 16  # steps; several workers must answer alike, and asking is an exchange


class Paused(RuntimeError):
    """The run was asked to leave; all that it has done is in its checkpoint."""


def seed_of(seed: int, purpose: str, number: int = 0) -> int:
    """An independent 32-bit seed for each use of the trial's one seed."""
    return int(key_of([seed, purpose, number])[:8], 16)


def build_heads(
    method: DistillingMethod, student_dim: int, feature_dim: int
) -> tuple[nn.Module, nn.Module]:
    """The student's projector, and the teacher's: random and frozen, or none."""
    head, output = method.head, feature_dim
    teacher: nn.Module = nn.Identity()
    if head.teacher_projector:
        output = head.output_dim
        teacher = build_head("mlp", feature_dim, output, head.hidden_dim)
    student = build_head(head.kind, student_dim, output, head.hidden_dim)
    return student, teacher.eval().requires_grad_(False)


class Distillation:
    """One run: student and head, the teacher's side, optimizer and queue.

    The method `supervised` is trained by the same loop, on labels: it has no teacher's side, and
    its head names the class.
    """

    def __init__(
        self,
        trial: TrialConfig,
        seed: int,
        windows: WindowArrays,
        features: FeatureArrays | None,
        student: Student,
        device: str,
    ) -> None:
        method = trial.method
        if isinstance(method, NoneMethod):
            raise TrainingError(f"the method '{method.name}' trains nothing")
        self.trial, self.method, self.seed, self.device = trial, method, seed, device
        self.workers = WorkerGroup()
        self.windows, self.train = windows, windows.splits["train"]
        self.student = student.to(device)
        torch.manual_seed(seed_of(seed, "heads"))
        head: nn.Module
        teacher_head: nn.Module
        if isinstance(method, SupervisedMethod):
            features = None
            self.row_N = self.train.labelled_N
            head, teacher_head = nn.Linear(student.dim, len(windows.classes)), nn.Identity()
        else:
            if features is None:
                raise TrainingError(f"the method '{method.name}' needs a teacher's features")
            self.row_N = features.encoded["train"]
            head, teacher_head = build_heads(method, student.dim, features.dim)
        self.head, self.teacher_head = head.to(device), teacher_head.to(device)
        if trial.last_window == "drop":
            self.row_N = self.row_N[~self.train.last_N[self.row_N]]
        self.reader = BatchLoader(self.train, features, self.workers, device)
        self.class_means = ClassMeans(len(windows.classes), student.dim, device)
        self.replayed_shape: torch.Size | None = None
        self.precision = next(self.head.parameters()).dtype  # also of what autocast made shorter
        self.parameters = [*self.student.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=trial.learning_rate,
            weight_decay=trial.weight_decay,
            fused=True,
        )
        count = len(self.row_N)
        self.reserved = torch.empty(0, dtype=torch.long)
        self.queue: TeacherQueue | None = None
        if isinstance(method, ComodoMethod):
            assert features is not None
            if method.queue_size > count - 2 * method.hold_out_queue:
                raise TrainingError(
                    f"method.queue_size: {method.queue_size} leaves too little of {count} "
                    "training windows for the first epoch"
                )
            generator = torch.Generator().manual_seed(seed_of(seed, "queue"))
            first_keys = torch.randperm(count, generator=generator)[: method.queue_size]
            embeddings = [
                self._embeddings(features.gather("train", rows).to(device))
                for rows in self.row_N[first_keys].split(1024)
            ]
            self.queue = TeacherQueue(torch.cat(embeddings))
            if method.hold_out_queue:
                self.reserved = first_keys
        self.epoch = 0
        self.running: Epoch | None = None
        steps = schedule_of(trial, count)
        self.first_steps = [0, *(steps.first + steps.later * n for n in range(trial.epochs))]
        self.planned_steps = steps.planned
        self.history: list[dict[str, Any]] = []

    @torch.no_grad()
    def _embeddings(self, feature_BF: Tensor) -> Tensor:
        """Unit-length embeddings `[B, D]` of the teacher's features."""
        return F.normalize(self.teacher_head(feature_BF), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """The method's loss of one batch; the queue then takes the batch in.

        With several workers the student sees this worker's share, everything else the batch.
        """
        batch.await_copy()
        feature_bD = self._student_features(batch)
        feature_BD = self.workers.gather(feature_bD.to(self.precision), batch.size)
        self.class_means.add(feature_BD, batch.label_B)
        student_BD = self.head(feature_BD)
        if isinstance(self.method, SupervisedMethod):
            return F.cross_entropy(student_BD, batch.label_B)
        assert batch.feature_BF is not None
        teacher_BD = self._embeddings(batch.feature_BF)
        match self.method:
            case ComodoMethod(teacher_temperature=tau_v, student_temperature=tau_x):
                assert self.queue is not None
                loss = comodo_loss(student_BD, teacher_BD, self.queue.keys_QD, tau_v, tau_x)
                self.queue.push(teacher_BD)
                return loss
            case InfonceMethod(temperature=tau, symmetric=symmetric):
                return infonce_loss(student_BD, teacher_BD, tau, symmetric)
            case L2Method():
                return l2_loss(student_BD, teacher_BD)

    def _student_features(self, batch: Batch) -> Tensor:
        """The student's features `[b, D]` of this worker's share, which may be empty."""
        if not len(batch.imu_bCT):
            return torch.zeros(0, self.student.dim, device=self.device)
        with self._autocast():
            if batch.length_b is None and batch.imu_bCT.shape == self.replayed_shape:
                return self.replay(batch.imu_bCT)
            feature_bD: Tensor = self.student(batch.imu_bCT, batch.length_b)
        return feature_bD

    def _autocast(self) -> torch.autocast:
        """That in which the student computes while it is trained."""
        bf16 = self.trial.precision == "bf16"
        on_cpu = self.device == "cpu"  # elsewhere a step uses each weight once
        return torch.autocast(self.device, torch.bfloat16, enabled=bf16, cache_enabled=on_cpu)

    def _record(self) -> None:
        """On a GPU, has whole batches of windows of one length go through a recorded student."""
        if self.device != "cuda" or not self.student.encoder.replayable or self.replayed_shape:
            return
        row_b = self.workers.share(self.row_N[: self.trial.batch_size])
        if not len(row_b):
            return
        imu_bCT, length_b = self.train.imu(row_b)
        if length_b is None:
            with self._autocast():
                self.replay = cuda_graphed(self.student, imu_bCT.to(self.device))
            self.replayed_shape = imu_bCT.shape

    def train_epoch(self, after_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """One pass over the training windows, or what a checkpoint left of it; its metrics.

        Raises:
            TrainingError: the loss became infinite or NaN.
        """
        self.student.train()
        self.head.train()
        self._record()
        order_N = epoch_order(self.row_N, seed_of(self.seed, "order", self.epoch))
        if self.epoch == 0:  # those that filled the queue join later, as published
            fresh_N = torch.ones(len(order_N), dtype=torch.bool)
            fresh_N[self.reserved] = False
            order_N = order_N[fresh_N[order_N]]
        first, steps = self.first_steps[self.epoch], self._steps_of_epoch()
        if self.running is None:
            self.class_means = ClassMeans(len(self.windows.classes), self.student.dim, self.device)
            self.running = Epoch(self.epoch + 1, self._dropout_seed(), steps, self.device)
        running = self.running
        left_N = self.row_N[order_N[running.steps * self.trial.batch_size :]]
        for batch in self.reader.read(left_N, self.trial.batch_size, steps - running.steps):
            running.add(*self._step(batch, self._rate(first + running.steps)))
            after_step()
        running.refuse_infinite(self.parameters)
        mean_loss, mean_norm = running.means()
        self.epoch, self.running = self.epoch + 1, None
        return {
            "epoch": self.epoch,
            names.TRAIN_LOSS: mean_loss,
            names.LEARNING_RATE: self._rate(first + steps - 1),
            names.GRAD_NORM: mean_norm,
            names.WINDOWS_PER_SECOND: len(order_N) / running.seconds,
        }

    def _step(self, batch: Batch, rate: float) -> tuple[Tensor, Tensor]:
        """Trains on one batch; its loss and the gradient's norm.

        A method of its own, so that the loss's graph ends with it: kept into the next step it lies
        among that one's tensors, and a trial of Mantis-8M takes a fifth more memory.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.workers.sum_gradients(self.student)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.step()
        return loss.detach(), norm

    def _rate(self, step: int) -> float:
        trial = self.trial
        return learning_rate(step, self.planned_steps, trial.warmup, trial.learning_rate)

    def _steps_of_epoch(self) -> int:
        return self.first_steps[self.epoch + 1] - self.first_steps[self.epoch]

    def _dropout_seed(self) -> int:
        # Seeded anew for every epoch: between epochs no random states need be kept to go on.
        return seed_of(self.seed, f"dropout {self.workers.rank}", self.epoch)

    def quick_accuracy(self) -> float | None:
        """Of the epoch just trained, at under a twentieth of its cost; None without labels."""
        if "val" not in self.windows.splits:
            return None
        most = len(self.row_N) // QUICK_SHARE
        with self._autocast():
            return epoch_accuracy(self.student, self.class_means, self.windows.splits["val"], most)

    def save_heads(self, path: Path) -> None:
        """The projectors of both sides, which some measures need."""
        with atomic(path) as temporary:
            torch.save([self.head.state_dict(), self.teacher_head.state_dict()], temporary)

    def save(self, path: Path) -> None:
        """Everything that is needed to go on, in one atomic write. Of several workers all must
        call it; the first writes."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "history": self.history,
            "student": self.student.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": None if self.queue is None else self.queue.state_dict(),
        }
        if self.running is not None:
            self.running.refuse_infinite(self.parameters)
            state["running"] = self.running.state_dict(self.workers)
            state["class_means"] = self.class_means.state_dict()
        if self.workers.rank == 0:
            with atomic(path) as temporary:
                torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        state = load_tensors(path, self.device)
        self.epoch, self.history = state["epoch"], state["history"]
        self.student.load_state_dict(state["student"])
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is not None:
            self.queue.load_state_dict(state["queue"])
        if "running" in state:
            self.class_means.load_state_dict(state["class_means"])
            self.running = Epoch.restored(
                state["running"],
                self._dropout_seed(),
                self._steps_of_epoch(),
                self.device,
                self.workers,
            )


def distil(
    run: Distillation, checkpoint: Path, report: Report, leave: Leave = lambda: False
) -> list[dict[str, Any]]:
    """Trains to the last epoch, from the checkpoint if there is one; returns the epochs' metrics.

    `report` is called after every epoch, when its checkpoint is safe. Of several workers the first
    writes it, and all restore it.

    Raises:
        TrainingError: the trial cannot go on.
        Paused: a worker was told to leave, and the checkpoint is written.
    """
    if checkpoint.exists():
        run.restore(checkpoint)
    saved, taken = time.monotonic(), 0

    def after_step() -> None:
        nonlocal saved, taken
        assert run.running is not None
        taken += 1
        if run.workers.size > 1 and taken % LEAVE_POLL_STEPS:
            return
        asked = run.workers.collect((leave(), time.monotonic() - saved >= SAVE_SECONDS))
        leaving, due = map(any, zip(*asked, strict=True))
        if leaving or due:
            run.save(checkpoint)
            run.workers.wait()
            saved = time.monotonic()
        if leaving:
            raise Paused(f"left in epoch {run.running.number}, after step {run.running.steps}")

    while run.epoch < run.trial.epochs:
        metrics = run.train_epoch(after_step)
        quick = run.quick_accuracy()
        if quick is not None:
            metrics[names.QUICK_ACCURACY] = quick
        run.history.append(metrics)
        run.save(checkpoint)
        run.workers.wait()
        saved = time.monotonic()
        report(metrics)
    return run.history
