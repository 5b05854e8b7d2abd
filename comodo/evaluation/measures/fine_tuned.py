"""Fine-tunes copies of a frozen student on few or all labels, next to the frozen linear probe.

It begins where the frozen student ends: linear probing, then fine-tuning (Kumar et al. 2022, arXiv
2202.10054). The head is the logistic regression of the few-shot curve, as a layer, so a student
that is fine-tuned for no step is the frozen student with its linear probe. It does not know how the
student was trained before. Shape letters: N windows, B batch, D features, K classes.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from comodo.data.arrays import Split
from comodo.evaluation.feature_metrics import Hits, draws_of_ranks
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import (
    check_two_classes,
    checked_features,
    stratified_subset,
    unit_rows,
)
from comodo.evaluation.measured import Measured, hit_metrics
from comodo.evaluation.tuning_schedule import (
    BATCH_SIZE,
    CHECKS,
    DRAWS,
    MAX_VAL_WINDOWS,
    tuning_runs,
    tuning_steps,
)
from comodo.models.students import Student, extract_features

METRICS = (
    "1", "frozen_1", "5", "frozen_5", "10", "frozen_10", "50", "frozen_50", "all", "frozen_all",
)  # fmt: skip
SPLITS = ("test",)  # val is for early stopping
TRAINS = True

LEARNING_RATE = 1e-4  # of student and head, falls linearly to 0
WEIGHT_DECAY = 0.01
PATIENCE = 3  # checks on val without a higher accuracy that end it

Labels = npt.NDArray[np.int64]


class LinearProbe(nn.Module):
    """A fitted logistic regression as a layer: logits `[B, K]` of features `[B, D]`, which are
    L2-normalised and standardised first."""

    def __init__(self, scaler: StandardScaler, fitted: LogisticRegression) -> None:
        super().__init__()
        weight_KD, bias_K = fitted.coef_, fitted.intercept_
        if len(weight_KD) == 1:  # of two classes it has the difference
            weight_KD, bias_K = (np.concatenate([-x, x]) / 2 for x in (weight_KD, bias_K))
        self.weight = nn.Parameter(torch.from_numpy(weight_KD).float())
        self.bias = nn.Parameter(torch.from_numpy(bias_K).float())
        self.mean_D: Tensor
        self.register_buffer("mean_D", torch.from_numpy(scaler.mean_).float())
        self.scale_D: Tensor
        self.register_buffer("scale_D", torch.from_numpy(scaler.scale_).float())

    def forward(self, feature_BD: Tensor) -> Tensor:
        unit_BD = F.normalize(feature_BD.float(), dim=1)
        return F.linear((unit_BD - self.mean_D) / self.scale_D, self.weight, self.bias)


@dataclass(frozen=True)
class LabelledWindows:
    """Some windows of a split, with their classes as places in `LinearProbe`."""

    split: Split
    index_N: Tensor
    label_N: Tensor

    def accuracy(self, student: Student, head: nn.Module, mask: bool) -> float:
        logit_NK = extract_features(student, self.split, self.index_N, mask, head)
        return float((logit_NK.argmax(1) == self.label_N).float().mean())


def fine_tune(
    student: Student,
    head: LinearProbe,
    train: LabelledWindows,
    val: LabelledWindows | None,
    steps: int,
    seed: int,
    mask: bool = True,
) -> int:
    """Trains student and head in place by cross-entropy on random batches; returns the steps of the
    weights that they have afterwards.

    In eval mode, without dropout and with fixed statistics of batch normalisation: the head is
    fitted on such features and magnifies differences between windows, which can be a thousandth of
    a feature's size. With dropout the first steps destroyed untrained students.

    With `val`, these are the weights with the highest accuracy on it, of equal ones the first,
    among those before training and after each of `CHECKS` parts of the steps; `PATIENCE` parts in
    a row without a higher accuracy end it. Without, those after the last step. `mask` is as in
    `Student.forward`. The order of the windows follows from the seed; nothing else is random.

    Raises StudentError, `student.not-finite`, if training diverged.
    """
    parameters = [*student.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    device, done, waited = parameters[0].device, 0, 0
    ends = [round(steps * part / CHECKS) for part in range(1, CHECKS + 1)] if val else [steps]
    best_steps, best_state = 0, _state(student, head)
    best = val.accuracy(student, head, mask) if val else 0.0
    batches = _batches(len(train.index_N), seed)
    student.eval()
    for end in ends:
        for step in range(done, end):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
            batch_B = next(batches)
            imu_BCT, length_B = train.split.imu(train.index_N[batch_B])
            logit_BK = head(student(imu_BCT.to(device), length_B, mask))
            loss = F.cross_entropy(logit_BK, train.label_N[batch_B].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        done = end
        if val is None:
            best_steps, best_state = end, _state(student, head)
        elif (accuracy := val.accuracy(student, head, mask)) > best:
            best, best_steps, best_state, waited = accuracy, end, _state(student, head), 0
        elif (waited := waited + 1) == PATIENCE:
            break
    for module, state in zip((student, head), best_state, strict=True):
        module.load_state_dict(state)
    return best_steps


def copy_of(student: Student) -> Student:
    """A student with the same weights, built again: some encoders cannot be copied as they are."""
    with torch.random.fork_rng([]):  # what it draws for its first weights is of no use
        copied = Student(**student.description)
    copied.load_state_dict(student.state_dict())
    return copied.to(student.limit_C1.device).eval()


def _state(*modules: nn.Module) -> list[dict[str, Tensor]]:
    """Copies of the modules' weights."""
    return [copy.deepcopy(module.state_dict()) for module in modules]


def _batches(windows: int, seed: int) -> Iterator[Tensor]:
    """Places of `BATCH_SIZE` windows, or of all if there are fewer, in one random order after the
    other; what is left of an order is dropped, so no batch is small."""
    generator, size = torch.Generator().manual_seed(seed), min(BATCH_SIZE, windows)
    while True:
        order_N = torch.randperm(windows, generator=generator)
        yield from order_N[: windows - windows % size].split(size)


def measure_fine_tuned(frozen: FrozenStudent) -> Measured:
    """Test accuracy of copies of the student that are fine-tuned on k labelled windows of each
    class (`5`) and on all (`all`), and of the linear probe of the frozen student on the same
    windows (`frozen_5`): the first `DRAWS` draws of the few-shot curve.

    Raises EvaluateError, `evaluate.no-labels` or `evaluate.one-class`, and the error of
    `fine_tune`.
    """
    train_ND, label_N = frozen.train()
    if (test := frozen.labelled("test")) is None:
        return Measured({})
    check_two_classes(label_N)
    test_label_N = test[1]
    unit_ND, test_ND = (
        unit_rows(checked_features(x)).astype(np.float64) for x in (train_ND, test[0])
    )
    scaler = StandardScaler().fit(unit_ND)
    part, of_test = (frozen.windows.splits[split] for split in ("train", "test"))
    index_N = frozen.training_subset(part.labelled_N)
    rank_RN = draws_of_ranks(label_N, DRAWS, frozen.seed)
    device = frozen.student.limit_C1.device
    hits_of = dict[str, Hits]()
    for k, draws, _ in tuning_runs(np.bincount(label_N)):
        tuned, probed = [], []
        for draw in range(draws):
            kept_N = rank_RN[draw] < (len(label_N) if k is None else k)
            fitted = LogisticRegression(max_iter=1000)
            fitted.fit(scaler.transform(unit_ND[kept_N]), label_N[kept_N])
            probed.append(fitted.predict(scaler.transform(test_ND)) == test_label_N)
            student = copy_of(frozen.student)
            head = LinearProbe(scaler, fitted).to(device)
            fine_tune(
                student,
                head,
                _windows(part, index_N[torch.from_numpy(kept_N)], fitted.classes_),
                _val_windows(frozen, fitted.classes_),
                tuning_steps(int(kept_N.sum())),
                _seed_of(frozen.seed, k or 0, draw),
                frozen.mask,
            )
            logit_NK = extract_features(student, of_test, of_test.labelled_N, frozen.mask, head)
            tuned.append(fitted.classes_[logit_NK.argmax(1).numpy()] == test_label_N)
        name = "all" if k is None else str(k)
        hits_of |= {name: np.stack(tuned), f"frozen_{name}": np.stack(probed)}
    return hit_metrics("fine-tuned", frozen, {"test": hits_of})


def _windows(split: Split, index_N: Tensor, classes_K: Labels) -> LabelledWindows:
    """These windows, with the place of their class among those of the head; -1 if it has none."""
    label_N = split.label_N[index_N].numpy()
    place_N = np.searchsorted(classes_K, label_N).clip(max=len(classes_K) - 1)
    place_N[classes_K[place_N] != label_N] = -1
    return LabelledWindows(split, index_N, torch.from_numpy(place_N))


def _val_windows(frozen: FrozenStudent, classes_K: Labels) -> LabelledWindows | None:
    """At most `MAX_VAL_WINDOWS` labelled windows of val; None without any."""
    split = frozen.windows.splits.get("val")
    if split is None or not len(index_N := split.labelled_N):
        return None
    kept_N = stratified_subset(split.label_N[index_N].numpy(), MAX_VAL_WINDOWS, frozen.seed)
    return _windows(split, index_N[kept_N], classes_K)


def _seed_of(*numbers: int) -> int:
    """An independent seed for each run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
