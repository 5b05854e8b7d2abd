"""A measure for every epoch: the nearest mean of the epoch's own training features.

Cheap, because those features are made anyway; not comparable with the probe.

Shapes: B windows in a batch, N windows, D numbers in a feature, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from comodo.data.arrays import Split
from comodo.models.features import extract_features
from comodo.models.students import Student

MAX_WINDOWS = 512  # windows that are looked at, at most


class ClassMeans:
    """Mean unit-length feature of each class over an epoch's own training windows."""

    def __init__(self, classes: int, dim: int, device: str) -> None:
        self._sum_KD = torch.zeros(classes + 1, dim, device=device)  # the last: without a label

    def add(self, feature_BD: Tensor, label_B: Tensor) -> None:
        place_B = (label_B % len(self._sum_KD)).to(feature_BD.device)  # NO_LABEL is -1
        self._sum_KD.index_add_(
            0, place_B, F.normalize(feature_BD.detach().to(self._sum_KD), dim=1)
        )

    def state_dict(self) -> Tensor:
        """A copy of what `load_state_dict` needs."""
        return self._sum_KD.clone()

    def load_state_dict(self, state: Tensor) -> None:
        self._sum_KD.copy_(state)

    def nearest(self, feature_ND: Tensor) -> Tensor | None:
        """Class [N] of the nearest mean by angle; None when no window had a label."""
        seen_K = self._sum_KD[:-1].any(dim=1).cpu()
        if not seen_K.any():
            return None
        mean_KD = F.normalize(self._sum_KD[:-1].to(feature_ND), dim=1)
        with torch.autocast(feature_ND.device.type, enabled=False):  # whatever made the features
            similarity_NK = feature_ND @ mean_KD.T
        return similarity_NK.masked_fill(~seen_K, -torch.inf).argmax(1)


def epoch_accuracy(student: Student, means: ClassMeans, split: Split, most: int) -> float | None:
    """Acc@1 by the nearest class mean over at most `most` labelled windows, evenly spread.

    The means come from features that training made anyway, so that this is cheap enough for every
    epoch. Not comparable with the probe. None without labels.
    """
    labelled_N = split.labelled_N
    count = min(MAX_WINDOWS, most, len(labelled_N))
    if not count:
        return None
    index_N = labelled_N[torch.linspace(0, len(labelled_N) - 1, count).long()]
    answer_N = means.nearest(extract_features(student, split, index_N))
    return None if answer_N is None else float((answer_N == split.label_N[index_N]).float().mean())
