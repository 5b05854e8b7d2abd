"""What all terms have in common. Shape letters: B batch, W width of the student's features, D width
of the embeddings."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What a term may compare in one step, for the whole batch, on the device."""

    feature_BW: Tensor
    """The student's features."""
    label_B: Tensor
    """Class indices, or NO_LABEL."""
    student_BD: Tensor
    """The student's embeddings, not normalised; without a teacher of width 0, as the next."""
    teacher_BD: Tensor
    """Unit-length embeddings of the teacher's features."""
    view_BW: Tensor
    """Features of the windows in another random change; none (B = 0) if no term needs them."""


class Term(nn.Module):
    """A loss with what it trains and remembers.

    `forward` takes a Step and returns a scalar; each term has its own. Parameters without
    dimensions, such as a temperature, are trained without weight decay.
    """

    def __init__(self, settings: Any, student_dim: int, classes: int) -> None:
        super().__init__()
        self.settings = settings


def scalars(module: nn.Module) -> list[nn.Parameter]:
    """The parameters without dimensions."""
    return [parameter for parameter in module.parameters() if not parameter.ndim]


def log_scale(scale: float) -> nn.Parameter:
    """A factor of similarities that is trained as its logarithm."""
    return nn.Parameter(torch.tensor(float(scale)).log())
