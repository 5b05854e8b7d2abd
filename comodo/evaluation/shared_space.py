"""Embeddings of student and teacher in the space that their projectors share. Shape letters: N
windows, D width of the embeddings."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.inference_mode()
def embed(head: nn.Module, feature_ND: Tensor) -> npt.NDArray[np.float32]:
    """L2-normalised output of a projector."""
    return F.normalize(head.eval()(feature_ND.float()), dim=1).numpy()
