"""Validation accuracy after every epoch, by the nearest class mean of the training features.

It is cheap, because training computes those features anyway. It shows whether a trial learns, and
is not comparable with the probe. This module does not know how the student is trained. Shape
letters: B batch, N windows, D feature width, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from comodo.data.arrays import Split
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
