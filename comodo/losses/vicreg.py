"""VICReg, with the layers between feature and embedding."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from comodo.core.lazy import torch
from comodo.losses.loss import Step, Term, check_pairs


class VicregTerm(Term):
    """VICReg (arXiv 2105.04906): two changes of a window, by `augment`, should have one embedding,
    whose dimensions vary and do not repeat each other. Needs neither teacher nor labels."""

    needs_teacher: ClassVar[bool] = False
    needs_views: ClassVar[bool] = True

    width: int = Field(1024, ge=2)
    """Width of the three layers between feature and embedding; published 8192."""

    def trained(self, student_dim: int, classes: int) -> dict[str, torch.nn.Module]:
        """The three layers."""
        nn, width = torch.nn, self.width
        expander = nn.Sequential(
            nn.Linear(student_dim, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, width),
        )  # fmt: skip
        return {"expander": expander}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        return vicreg_loss(own.expander(step.feature_BW), own.expander(step.view_BW))


def vicreg_loss(one_BD: torch.Tensor, other_BD: torch.Tensor) -> torch.Tensor:
    """VICReg of the embeddings of two views of a batch's windows, which are not normalised here.

    25 (mean squared difference) + 25 (mean over dimensions and views of max(0, 1 - standard
    deviation)) + 1 (sum over views of the squared covariances of different dimensions, over D):
    arXiv 2105.04906 with its published weights and, where the paper has sums, the means of its
    code. Both views receive a gradient.
    """
    check_pairs(one_BD, other_BD)
    dtype = torch.promote_types(one_BD.dtype, torch.float32)
    one_BD, other_BD = one_BD.to(dtype), other_BD.to(dtype)
    variance = covariance = torch.zeros((), dtype=dtype, device=one_BD.device)
    with torch.autocast(one_BD.device.type, enabled=False):
        for view_BD in (one_BD, other_BD):
            centred_BD = view_BD - view_BD.mean(dim=0)
            covariance_DD = centred_BD.T @ centred_BD / max(1, len(centred_BD) - 1)
            spread_D = (covariance_DD.diagonal() + 1e-4).sqrt()
            variance = variance + torch.nn.functional.relu(1 - spread_D).mean() / 2
            apart_DD = covariance_DD - covariance_DD.diagonal().diag()
            covariance = covariance + apart_DD.square().sum() / view_BD.shape[1]
        return 25 * torch.nn.functional.mse_loss(one_BD, other_BD) + 25 * variance + covariance
