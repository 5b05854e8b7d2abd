"""Validation accuracy after every epoch, by the nearest class mean of the training features; as
published, by the nearest video of each class too.

The first is cheap, because training computes those features anyway. It shows whether a trial
learns, and is not comparable with the probe. This module does not know how the student is trained.
Shape letters: B batch, N windows, D width of features or embeddings, K classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comodo.config import TrialConfig
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.models.students import Student, extract_features

MAX_WINDOWS = 512  # validation windows


class ClassMeans:
    """The mean unit-length feature of each class, over the training windows of an epoch."""

    def __init__(self, classes: int, dim: int, device: str) -> None:
        self._sum_KD = torch.zeros(classes + 1, dim, device=device)  # last row: no label

    def add(self, feature_BD: Tensor, label_B: Tensor) -> None:
        """Adds the features of a training batch."""
        row_B = (label_B % len(self._sum_KD)).to(feature_BD.device)  # NO_LABEL is -1
        self._sum_KD.index_add_(0, row_B, F.normalize(feature_BD.detach().to(self._sum_KD), dim=1))

    def state_dict(self) -> Tensor:
        """A copy of the sums so far."""
        return self._sum_KD.clone()

    def load_state_dict(self, state: Tensor) -> None:
        self._sum_KD.copy_(state)

    def nearest(self, feature_ND: Tensor) -> Tensor | None:
        """The class `[N]` whose mean has the highest cosine similarity; None without labels."""
        labelled_K = self._sum_KD[:-1].any(dim=1).cpu()
        if not labelled_K.any():
            return None
        mean_KD = F.normalize(self._sum_KD[:-1].to(feature_ND), dim=1)
        with torch.autocast(feature_ND.device.type, enabled=False):  # also if the caller uses it
            similarity_NK = feature_ND @ mean_KD.T
        return similarity_NK.masked_fill(~labelled_K, -torch.inf).argmax(1)


def epoch_accuracy(student: Student, means: ClassMeans, split: Split, limit: int) -> float | None:
    """Top-1 accuracy of the nearest class mean, in [0, 1], on at most `limit` and `MAX_WINDOWS`
    labelled windows, evenly spaced in the split; None without labels."""
    labelled_N = split.labelled_N
    count = min(MAX_WINDOWS, limit, len(labelled_N))
    if not count:
        return None
    index_N = labelled_N[torch.linspace(0, len(labelled_N) - 1, count).long()]
    predicted_N = means.nearest(extract_features(student, split, index_N))
    if predicted_N is None:
        return None
    return float((predicted_N == split.label_N[index_N]).float().mean())


def anchor_rows(trial: TrialConfig, windows: WindowArrays, features: FeatureArrays) -> Tensor:
    """Rows `[K]` of val with the published anchors: the first window of each class that has a
    feature, in the order of the data set's lists. Without a last window that training drops."""
    val, row_N = windows.splits.get("val"), features.encoded.get("val")
    if val is None or row_N is None:
        return torch.empty(0, dtype=torch.long)
    row_N = row_N[val.label_N[row_N] >= 0]
    if trial.last_window == "drop":
        row_N = row_N[~val.last_N[row_N]]
    _, first_K = np.unique(val.label_N[row_N].numpy(), return_index=True)
    return row_N[torch.from_numpy(first_K)]


class AnchorAccuracy:
    """The zero-shot check of the published code: the class of a window is that of the anchor whose
    unit-length embedding by the teacher is closest to the student's.

    Args:
        row_N: the labelled windows of `split` that are measured.
        anchor_KD: the anchors' embeddings, on the student's device, of the classes `class_K`.
    """

    def __init__(self, split: Split, row_N: Tensor, anchor_KD: Tensor, class_K: Tensor) -> None:
        self._split, self._row_N = split, row_N
        self._anchor_KD, self._class_K = anchor_KD.float().cpu(), class_K

    def measure(self, student: Student, head: nn.Module) -> float:
        """Top-1 accuracy, in [0, 1]; `head` is the student's projector."""
        was_training = head.training
        head.eval()
        student_ND = extract_features(student, self._split, self._row_N, head=head)
        head.train(was_training)
        # Cosines have the order of these products: anchors have unit length.
        predicted_N = self._class_K[(student_ND @ self._anchor_KD.T).argmax(1)]
        return float((predicted_N == self._split.label_N[self._row_N]).float().mean())
