"""What all losses share.

Functions that compute a loss take the embeddings of a batch of windows, the student's z_x `[B, D]`
and the teacher's z_v `[B, D]` or two views of the student's, and return a scalar: float64 for a
float64 student, otherwise float32. Where nothing else is said they normalise embeddings to unit
length, so that similarities are cosines in [-1, 1], and the student alone receives a gradient. They
raise ValueError for shapes that do not fit together, and for a temperature that is not positive.

Shape letters: B batch, W width of the student's features, D width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from comodo.core.lazy import torch
from comodo.core.settings import Settings


@dataclass(frozen=True)
class Step:
    """What a loss may compare in one step, for the whole batch, on the device."""

    feature_BW: torch.Tensor
    """The student's features."""
    label_B: torch.Tensor
    """Class indices, or NO_LABEL."""
    student_BD: torch.Tensor
    """The student's embeddings, not normalised; without a teacher of width 0, as the next."""
    teacher_BD: torch.Tensor
    """Unit-length embeddings of the teacher's features."""
    view_BW: torch.Tensor
    """Features of the windows in another random change; none (B = 0) if no loss needs them."""


class Loss(Settings):
    """A loss: its settings, and how it is computed."""

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    needs_views: ClassVar[bool] = False
    """Whether it compares two random changes of a window."""
    is_relational: ClassVar[bool] = False
    """Whether it compares what is between windows only, so that a student may lie anywhere."""

    def trained(
        self, student_dim: int, classes: int
    ) -> Mapping[str, torch.nn.Module | torch.nn.Parameter]:
        """What is trained besides the student, by name; it begins with torch's random numbers.
        Parameters without dimensions, such as a temperature, are trained without weight decay."""
        return {}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        """The loss of a step; `own` has what is `trained` as attributes."""
        raise NotImplementedError


class Term(Loss):
    """A loss with its weight in a sum."""

    weight: float = Field(1.0, ge=0)
    """Multiplies the loss; with 0 it is not computed."""


def log_scale(scale: float) -> torch.nn.Parameter:
    """A factor of similarities that is trained as its logarithm."""
    return torch.nn.Parameter(torch.tensor(float(scale)).log())


def unit(embedding_BD: torch.Tensor) -> torch.Tensor:
    """Rows of unit length, at least in float32: temperatures near 0.01 amplify rounding errors."""
    dtype = torch.promote_types(embedding_BD.dtype, torch.float32)
    return torch.nn.functional.normalize(embedding_BD.to(dtype), dim=1)


def frozen_unit(embedding_BD: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Rows of unit length without gradient, in the precision that `like` is compared in."""
    return unit(embedding_BD.detach()).to(torch.promote_types(like.dtype, torch.float32))


def check_pairs(student_BD: torch.Tensor, teacher_BD: torch.Tensor) -> None:
    """Raises ValueError for shapes that do not fit together."""
    if student_BD.ndim != 2 or student_BD.shape != teacher_BD.shape or not len(student_BD):
        raise ValueError(
            "student and teacher must be non-empty and have one shape [B, D], "
            f"got {tuple(student_BD.shape)} and {tuple(teacher_BD.shape)}"
        )


def check_temperature(name: str, value: float) -> None:
    """Raises ValueError for a temperature that is not positive."""
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
