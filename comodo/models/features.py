"""Features of a frozen student for the windows of a split.

This module does not know what the features are used for.
"""

import torch
from torch import Tensor, nn

from comodo.data.arrays import Split
from comodo.models.students import Student

EXTRACT_BATCH = 128  # windows; features do not depend on it


@torch.inference_mode()
def extract_features(
    student: Student,
    split: Split,
    index_N: Tensor,
    mask: bool = True,
    head: nn.Module | None = None,
) -> Tensor:
    """Student features `[N, D]` of these windows, float32 on the CPU, computed in eval mode.

    `mask` is as in `Student.forward`; a `head` (in eval mode) is applied to the features.
    """
    was_training = student.training
    student.eval()
    device = next(student.parameters()).device
    features = []
    for index_B in index_N.split(EXTRACT_BATCH):
        imu_BCT, length_B = split.imu(index_B)
        feature_BD = student(imu_BCT.to(device), length_B, mask)
        features.append((feature_BD if head is None else head(feature_BD)).cpu())
    student.train(was_training)
    return torch.cat(features).float()
