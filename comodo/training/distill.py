"""The training loop of one trial.

It knows neither Ray nor MLflow. All state of a run is in its checkpoint, which is written after
every epoch and, in long epochs, in between: a run that is stopped and restarted ends bit for bit
like one that never was.

Shape letters: B batch, b this worker's part of it, C channels, T samples, D width, F width of the
teacher's features, N training windows, Q queue length.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comodo import config
from comodo.config import metric
from comodo.core.store import atomic, key_of, report_damaged
from comodo.core.tensors import CutOffError, load_tensors
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.losses.comodo import ComodoLoss
from comodo.losses.loss import Step
from comodo.models.heads import build_heads, digest_of
from comodo.models.students import Student
from comodo.training.augment import Augment
from comodo.training.cuda_graph import StudentForward
from comodo.training.distributed import WorkerGroup
from comodo.training.epoch import Checkpoints, Epoch, ShouldStop, TrainingError
from comodo.training.epoch_accuracy import AnchorAccuracy, ClassMeans, anchor_rows, epoch_accuracy
from comodo.training.loader import Batch, BatchLoader, epoch_order
from comodo.training.optimizer import build_optimizer
from comodo.training.queue import TeacherQueue, first_windows
from comodo.training.schedule import learning_rate, schedule_of
from comodo.training.terms import LossModule, build_terms, scalars
from comodo.training.train_rows import train_rows

Report = Callable[[dict[str, Any]], None]

TRAIN_PER_VAL_WINDOW = 10  # training windows per window that the epoch's accuracy is measured on


def seed_of(seed: int, purpose: str, number: int = 0) -> int:
    """An independent 32-bit seed for each use of the trial's one seed."""
    return int(key_of([seed, purpose, number])[:8], 16)


class Distillation:
    """One run: student and head, the teacher's embeddings, the losses and the optimizer.

    Without a loss that needs a teacher `features` are not used, and the head is the classifier of
    the one that needs labels, if any. The split `train` is trained on; `val`, if there is one, is
    measured every epoch, with `zero_shot` also as the published code does, if the trial's anchors
    are the published ones. The student is trained in place, and moved to the device, "cpu" or
    "cuda"; without `student.train_encoder` only heads are, and it stays in eval mode.

    Raises TrainingError for the method `none`, if the method needs features and there are none, and
    if the training split has too few windows, or too few for the queue.
    """

    def __init__(
        self,
        trial: config.TrialConfig,
        seed: int,
        windows: WindowArrays,
        features: FeatureArrays | None,
        student: Student,
        device: str,
        zero_shot: bool = False,
    ) -> None:
        method = trial.method
        if isinstance(method, config.NoneMethod):
            raise TrainingError("training.method-none", f"method '{method.name}' trains nothing")
        self.trial, self.method, self.seed, self.device = trial, method, seed, device
        self.workers = WorkerGroup()
        self.windows, self.train = windows, windows.splits["train"]
        self.student = student.to(device)
        torch.manual_seed(seed_of(seed, "heads"))
        self.row_N = train_rows(trial, self.train, features)
        self.head: nn.Module = nn.Identity()
        self.teacher_head: nn.Module = nn.Identity()
        if (projectors := method.projectors) is None:
            features = None
        elif features is not None:
            self.head, self.teacher_head = build_heads(projectors, student.dim, features.dim)
        self.terms = build_terms(method, student.dim, len(windows.classes)).to(device)
        if features is None and method.has_classifier:
            self.head = self.terms.get_submodule("supervised.classifier")
        self.head, self.teacher_head = self.head.to(device), self.teacher_head.to(device)
        self.loader = BatchLoader(self.train, features, self.workers, device)
        self.class_means = ClassMeans(len(windows.classes), student.dim, device)
        self.forward = StudentForward(self.student, trial.precision == "bf16", device)
        encoder = [self.student] if trial.student.train_encoder else []
        trained: list[nn.Module] = [*encoder, self.head, self.terms]  # a classifier is in both
        self.parameters = list(dict.fromkeys(p for part in trained for p in part.parameters()))
        # Heads compute in this precision, even if autocast made the features bf16.
        self.precision = self.parameters[-1].dtype
        self.optimizer = build_optimizer(trial, self.parameters, scalars(self.terms))
        self.queue: TeacherQueue | None = None
        self.reserved = torch.empty(0, dtype=torch.long)  # places in row_N left out of epoch 0
        if features is not None and method.queue is not None:
            self._fill_queue(method.queue, features)
        self.anchors: AnchorAccuracy | None = None
        if zero_shot and features is not None and trial.zero_shot_anchors == "first":
            self.anchors = self._anchor_accuracy(features)
        self.schedule = schedule_of(trial, len(self.row_N))
        self.epoch = 0
        self.running: Epoch | None = None
        self.history: list[dict[str, Any]] = []

    def _fill_queue(self, loss: ComodoLoss, features: FeatureArrays) -> None:
        """Starts the queue with the embeddings of some training windows."""
        drawn_Q = first_windows(self.trial, len(self.row_N), seed_of(self.seed, "queue"))
        parts = (features.gather("train", row_B) for row_B in self.row_N[drawn_Q].split(1024))
        key_QD = torch.cat([self._embeddings(feature_BF.to(self.device)) for feature_BF in parts])
        self.queue = cast(LossModule, self.terms["comodo"]).queue = TeacherQueue(key_QD)
        if loss.hold_out_queue:
            self.reserved = drawn_Q

    @torch.no_grad()
    def _embeddings(self, feature_BF: Tensor) -> Tensor:
        """Unit-length embeddings `[B, D]` of the teacher's features."""
        return F.normalize(self.teacher_head(feature_BF), dim=1)

    def _features(self, batch: Batch) -> list[Tensor]:
        """The student's features `[B, D]` of a batch's windows, then those of their second view, if
        there is one: both in one pass, as a graph of the student can only be replayed once."""
        imu_bCT, length_b, own = batch.imu_bCT, batch.length_b, len(batch.imu_bCT)
        if batch.view_bCT is not None:
            imu_bCT = torch.cat([imu_bCT, batch.view_bCT])
            length_b = None if length_b is None else length_b.repeat(2)
        if own:
            with torch.set_grad_enabled(self.trial.student.train_encoder):
                feature_bD = self.forward(imu_bCT, length_b)
        else:  # this worker has no part of a small last batch
            feature_bD = torch.zeros(0, self.student.dim, device=self.device)
        parts = [feature_bD] if batch.view_bCT is None else [feature_bD[:own], feature_bD[own:]]
        return [self.workers.gather(part.to(self.precision), batch.size) for part in parts]

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of the losses of one batch; each on its own is in `term_losses`.

        With several workers each runs the student on its part of the batch; everything else is
        computed on the whole batch by all of them.
        """
        batch.await_copy()
        feature_BD, *view = self._features(batch)
        self.class_means.add(feature_BD, batch.label_B)
        if batch.feature_BF is None:
            student_BD = teacher_BD = feature_BD.new_empty(batch.size, 0)
        else:
            student_BD, teacher_BD = self.head(feature_BD), self._embeddings(batch.feature_BF)
        view_BW = view[0] if view else feature_BD[:0]
        step = Step(feature_BD, batch.label_B, student_BD, teacher_BD, view_BW)
        weights = self.method.weights
        losses = {name: term(step) for name, term in self.terms.items()}
        self.term_losses = {name: loss.detach() for name, loss in losses.items()}
        first, *others = (weights[name] * loss for name, loss in losses.items())
        return sum(others, start=first)

    def _capture_student(self) -> None:
        """Captures a CUDA graph for full batches, if all windows have the same length."""
        row_b = self.workers.share(self.row_N[: self.trial.batch_size])
        if self.trial.student.train_encoder and self.forward.needs_capture and len(row_b):
            imu_bCT, length_b = self.train.imu(row_b)
            if length_b is None:
                self.forward.capture(imu_bCT)

    def train_epoch(self, after_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Trains for one epoch, or for the rest of a restored one; returns its metrics.

        Raises TrainingError if a loss, gradient or weight became infinite or NaN.
        """
        self.student.train(self.trial.student.train_encoder)
        self.head.train()
        self.terms.train()
        self._capture_student()
        order_N = self._epoch_order()
        first, steps = self.schedule.steps_before(self.epoch), self.schedule.steps_of(self.epoch)
        if self.running is None:
            self.class_means = ClassMeans(len(self.windows.classes), self.student.dim, self.device)
            self.running = self._new_epoch()
        running = self.running
        rest_N = self.row_N[order_N[running.steps * self.trial.batch_size :]]
        rest_steps, changes = steps - running.steps, self._augment()
        for batch in self.loader.read(rest_N, self.trial.batch_size, rest_steps, *changes):
            running.add(*self._step(batch, self._rate(first + running.steps)))
            after_step()
        running.check_finite(self.parameters)
        (mean_loss, mean_norm), of_terms = running.means(), running.term_means()
        self.epoch, self.running = self.epoch + 1, None
        return {
            "epoch": self.epoch,
            metric.TRAIN_LOSS: mean_loss,
            **{f"{metric.TRAIN_LOSS}/{name}": mean for name, mean in of_terms.items()},
            metric.LEARNING_RATE: self._rate(first + steps - 1),
            metric.GRAD_NORM: mean_norm,
            metric.WINDOWS_PER_SECOND: len(order_N) / running.seconds,
        }

    def _new_epoch(self) -> Epoch:
        # Seeded every epoch: a checkpoint between epochs needs no random state.
        seed = seed_of(self.seed, f"dropout {self.workers.rank}", self.epoch)
        steps, summed = self.schedule.steps_of(self.epoch), len(self.terms) > 1
        return Epoch(self.epoch + 1, seed, steps, self.device, [*self.terms] if summed else ())

    def _augment(self) -> list[Augment]:
        """The random changes of this epoch's windows, one for each view; empty for none."""
        if (changes := self.trial.augment) == config.Augmentation():
            return []
        views = ("augment", "second view") if self.method.needs_views else ("augment",)
        seeds = (seed_of(self.seed, view, self.epoch) for view in views)
        return [Augment(changes, seed, self.train.stored_channels) for seed in seeds]

    def _epoch_order(self) -> Tensor:
        """The random order of this epoch's windows, as places in `row_N`."""
        seed = seed_of(self.seed, "order", self.epoch)
        order_N = epoch_order(self.train.stored(self.row_N), seed)
        if self.epoch == 0:  # windows that filled the queue join in the second epoch, as published
            order_N = order_N[~torch.isin(order_N, self.reserved)]
        return order_N

    def _step(self, batch: Batch, rate: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Trains on one batch; returns its loss, the norm of the gradient and the summed losses.

        A method, so that the graph of the loss is freed when it returns. Kept into the next step,
        it would fragment that step's memory: a trial of Mantis-8M would need a fifth more.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        if self.trial.student.train_encoder:
            self.workers.sum_gradients(self.student)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.step()
        summed = [*self.term_losses.values()] if len(self.terms) > 1 else []
        return loss.detach(), norm, summed

    def _rate(self, step: int) -> float:
        trial = self.trial
        planned, cosine = self.schedule.planned, trial.schedule == "cosine"
        return learning_rate(step, planned, trial.warmup, trial.learning_rate, cosine)

    def epoch_accuracy(self) -> float | None:
        """Validation accuracy after an epoch; None without a validation split or labels."""
        if "val" not in self.windows.splits:
            return None
        limit = len(self.row_N) // TRAIN_PER_VAL_WINDOW
        with self.forward.autocast():
            return epoch_accuracy(self.student, self.class_means, self.windows.splits["val"], limit)

    def _anchor_accuracy(self, features: FeatureArrays) -> AnchorAccuracy | None:
        """As `AnchorAccuracy`; None without labelled val windows that the teacher has encoded."""
        row_K = anchor_rows(self.trial, self.windows, features)
        if not len(row_K):
            return None
        anchor_KD = self._embeddings(features.gather("val", row_K).to(self.device))
        val = self.windows.splits["val"]
        row_N = val.labelled_N
        if self.trial.last_window == "drop":
            row_N = row_N[~val.last_N[row_N]]
        return AnchorAccuracy(val, row_N, anchor_KD, val.label_N[row_K])

    def anchor_accuracy(self) -> float | None:
        """Zero-shot accuracy on val with the published anchors; None where it is not measured."""
        if self.anchors is None:
            return None
        with self.forward.autocast():
            return self.anchors.measure(self.student, self.head)

    def save_heads(self, path: Path) -> None:
        """Saves the student's head, which some measures need, and the digest of the teacher's,
        which follows from the seed; of a student with a projector and a classifier that too."""
        state: list[Any] = [self.head.state_dict(), digest_of(self.teacher_head)]
        if self.method.needs_teacher and self.method.has_classifier:
            state.append(self.terms.get_submodule("supervised.classifier").state_dict())
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def save(self, path: Path) -> None:
        """Writes everything that `restore` needs; all workers must call it together.

        Raises TrainingError if a loss, gradient or weight is infinite or NaN; then nothing is
        written.
        """
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "history": self.history,
            "student": self.student.state_dict(),
            "head": self.head.state_dict(),
            "terms": self.terms.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": None if self.queue is None else self.queue.state_dict(),
        }
        if self.running is not None:
            self.running.check_finite(self.parameters)
            state["running"] = self.running.state_dict(self.workers)
            state["class_means"] = self.class_means.state_dict()
        if self.workers.rank == 0:
            with atomic(path) as temporary:
                torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        """Continues from a checkpoint that `save` wrote with the same trial and seed."""
        state = load_tensors(path, self.device)
        self.epoch, self.history = state["epoch"], state["history"]
        self.student.load_state_dict(state["student"])
        self.head.load_state_dict(state["head"])
        self.terms.load_state_dict(state.get("terms", {}), strict="terms" in state)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is not None:
            self.queue.load_state_dict(state["queue"])
        if "running" in state:
            self.running = self._new_epoch()
            self.running.load_state_dict(state["running"], self.workers)
            self.class_means.load_state_dict(state["class_means"])


def distil(
    run: Distillation, checkpoint: Path, report: Report, should_stop: ShouldStop = lambda: False
) -> list[dict[str, Any]]:
    """Trains to the last epoch, from the checkpoint if there is one that is not cut off.

    `report` is called after every epoch, once its checkpoint is written. Returns the metrics of
    every epoch, including those before the checkpoint. Raises TrainingError if the trial cannot
    continue, and Paused if a worker had to stop; then the checkpoint is written.
    """
    if checkpoint.exists():
        try:
            run.restore(checkpoint)
        except CutOffError:
            report_damaged(checkpoint, "cut off")
    checkpoints = Checkpoints(lambda: run.save(checkpoint), run.workers, should_stop)
    while run.epoch < run.trial.epochs:
        metrics = run.train_epoch(checkpoints.after_step)
        accuracy = run.epoch_accuracy()
        if accuracy is not None:
            metrics[metric.QUICK_ACCURACY] = accuracy
        if (anchor_accuracy := run.anchor_accuracy()) is not None:
            metrics[metric.ANCHOR_ACCURACY] = anchor_accuracy
        run.history.append(metrics)
        checkpoints.save()
        report(metrics)
    return run.history
