"""NT-Xent, with the layers between feature and embedding."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from comodo.core.lazy import torch
from comodo.losses.loss import Step, Term, check_pairs, check_temperature, unit


class NtXentTerm(Term):
    """NT-Xent of SimCLR (arXiv 2002.05709): each of two changes of a window, by `augment`, has to
    find the other among those of the batch, after a projection head. Needs neither teacher nor
    labels."""

    needs_teacher: ClassVar[bool] = False
    needs_views: ClassVar[bool] = True

    temperature: float = Field(0.1, gt=0)
    """Divides the cosine similarities; published 0.1 for ImageNet, 0.5 for CIFAR-10."""
    width: int = Field(128, ge=1)
    """Width of the embedding, after a hidden layer as wide as the student's feature; published
    128."""

    def trained(self, student_dim: int, classes: int) -> dict[str, torch.nn.Module]:
        """SimCLR's projection head (section 2.1): one hidden layer, as wide as the feature."""
        nn = torch.nn
        first, last = nn.Linear(student_dim, student_dim), nn.Linear(student_dim, self.width)
        return {"projector": nn.Sequential(first, nn.ReLU(), last)}

    def compute(self, step: Step, own: Any) -> torch.Tensor:
        views = own.projector(step.feature_BW), own.projector(step.view_BW)
        return nt_xent_loss(*views, self.temperature)


def nt_xent_loss(one_BD: torch.Tensor, other_BD: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent of two views of a batch's windows, in nats: each view has to find the other of its
    window among all other 2 B - 1 views.

        loss = mean over i of -log(exp(z[i] . z[j] / temperature) / sum over k != i of
               exp(z[i] . z[k] / temperature)),  j the other view of the window of i

    Equation 1 and algorithm 1 of SimCLR (arXiv 2002.05709). Both views receive a gradient. 0 for a
    single window.
    """
    check_pairs(one_BD, other_BD)
    check_temperature("temperature", temperature)
    view_VD = unit(torch.cat([one_BD, other_BD]))  # V: 2 B views
    itself_VV = torch.eye(len(view_VD), dtype=torch.bool, device=view_VD.device)
    partner_V = torch.arange(len(view_VD), device=view_VD.device).roll(len(one_BD))
    with torch.autocast(view_VD.device.type, enabled=False):
        logits_VV = (view_VD @ view_VD.T / temperature).masked_fill(itself_VV, float("-inf"))
        return torch.nn.functional.cross_entropy(logits_VV, partner_V)
