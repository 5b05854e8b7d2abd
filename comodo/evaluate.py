"""Measures of a frozen student: its features, the probe's accuracies, a quick check per epoch.

Knows neither how the student was trained nor where results go.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from comodo.arrays import Split, Windows
from comodo.probe import SVMProbe
from comodo.students import Student

BATCH = 128  # windows at a time; features do not depend on it
QUICK = 512  # windows of each split that the quick check looks at


class EvaluateError(ValueError):
    """A dataset on which a student cannot be measured."""


@torch.inference_mode()
def extract(student: Student, split: Split, index_N: Tensor, mask: bool = True) -> Tensor:
    """Student features `[N, D]` float32 of the windows with these indices, in evaluation mode.

    `mask` as in `Student.forward`.
    """
    was_training = student.training
    student.eval()
    device = next(student.parameters()).device
    features = []
    for index_B in index_N.split(BATCH):
        imu_BCT, length_B = split.imu(index_B)
        features.append(student(imu_BCT.to(device), length_B, mask).cpu())
    student.train(was_training)
    return torch.cat(features).float()


def quick_accuracy(student: Student, windows: Windows) -> float | None:
    """Acc@1 of the nearest class mean: up to 512 labelled train windows against 512 of val.

    Cheap enough for every epoch, not comparable with the probe. None without labelled windows in
    both splits.
    """
    if "train" not in windows.splits or "val" not in windows.splits:
        return None
    train, val = windows.splits["train"], windows.splits["val"]
    known_N, asked_N = _spread(train.labelled_N), _spread(val.labelled_N)
    if not len(known_N) or not len(asked_N):
        return None
    known_ND = F.normalize(extract(student, train, known_N), dim=1)
    asked_ND = F.normalize(extract(student, val, asked_N), dim=1)
    label_N = train.label_N[known_N]
    classes_K = label_N.unique()
    mean_KD = torch.stack([known_ND[label_N == label].mean(0) for label in classes_K])
    answer_N = classes_K[torch.cdist(asked_ND, mean_KD).argmin(1)]
    return float((answer_N == val.label_N[asked_N]).float().mean())


def _spread(index_N: Tensor) -> Tensor:
    """At most QUICK of the indices, evenly spread."""
    return index_N[torch.linspace(0, len(index_N) - 1, min(QUICK, len(index_N))).long()]


def probe(student: Student, windows: Windows, seed: int, mask: bool = True) -> dict[str, float]:
    """The SVM probe: fitted on the labelled train windows, scored on val and test.

    `mask=False` shows MOMENT its padding as if it were real, as the published probe does.

    Returns `val/acc1` ... `test/acc5` (shares, not percent; only of splits that have labels), and
    `probe/C`.

    Raises:
        EvaluateError: no labelled train windows.
    """
    train = windows.splits.get("train")
    if train is None or not len(train.labelled_N):
        raise EvaluateError("no labelled windows in the train split: a probe needs labels")
    fitted = SVMProbe(seed=seed).fit(*_labelled(student, train, mask))
    metrics = {"probe/C": float(fitted.C_)}
    for name in ("val", "test"):
        split = windows.splits.get(name)
        if split is not None and len(split.labelled_N):
            accuracy = fitted.accuracy(*_labelled(student, split, mask))
            metrics |= {f"{name}/acc{k}": float(value) for k, value in accuracy.items()}
    return metrics


def _labelled(student: Student, split: Split, mask: bool) -> tuple[np.ndarray, np.ndarray]:
    index_N = split.labelled_N
    return extract(student, split, index_N, mask).numpy(), split.label_N[index_N].numpy()
