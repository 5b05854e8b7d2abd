"""NT-Xent: the loss against a plain formulation, and what its term projects."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comodo.config.terms import Terms
from comodo.core.store import Store
from comodo.losses.loss import Step
from comodo.losses.nt_xent import nt_xent_loss
from comodo.training.distill import distil
from comodo.training.terms import LossModule
from tests.helpers import make_arrays
from tests.training.test_terms import ignore, new_run


def views(batch: int, width: int) -> list[Tensor]:
    """Embeddings of both, in float64, with a gradient."""
    both = torch.randn(
        2, batch, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return [view.clone().requires_grad_() for view in both]


def plain(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Equation 1 for each of the 2 B windows, one pair after the other."""
    rows = [*one, *other]

    def similarity(i: int, k: int) -> Tensor:
        return rows[i] @ rows[k] / (rows[i].square().sum() * rows[k].square().sum()).sqrt()

    total = torch.zeros((), dtype=one.dtype)
    for i in range(len(rows)):
        partner = (i + len(one)) % len(rows)
        others = [k for k in range(len(rows)) if k != i]
        among = sum(torch.exp(similarity(i, k) / temperature) for k in others)
        total = total - torch.log(torch.exp(similarity(i, partner) / temperature) / among)
    return total / len(rows)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_and_its_gradients_are_those_of_the_plain_sum(temperature: float) -> None:
    one, other = views(5, 3)
    results = []
    for loss in (nt_xent_loss, plain):
        value = loss(one, other, temperature)
        results.append((value, torch.autograd.grad(value, (one, other))))
    torch.testing.assert_close(*results)
    assert torch.autograd.gradcheck(lambda a, b: nt_xent_loss(a, b, temperature), (one, other))
    low = nt_xent_loss(one.bfloat16(), other.bfloat16(), temperature)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), results[0][0], rtol=0.02, atol=0)


def test_equal_views_of_orthogonal_windows() -> None:
    """Each finds its own at similarity 1 among 2 B - 2 others at 0; alone there is nothing else."""
    eye = torch.eye(4)
    expected = math.log(math.exp(2) + 6) - 2
    assert float(nt_xent_loss(eye, 3 * eye, 0.5)) == pytest.approx(expected)
    assert float(nt_xent_loss(eye[:1], eye[1:2], 0.5)) == 0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        nt_xent_loss(torch.eye(2), torch.eye(2), 0)
    with pytest.raises(ValueError, match="one shape"):
        nt_xent_loss(torch.eye(2), torch.eye(3), 0.1)


def test_the_term_projects_the_features_of_both_views() -> None:
    given = {"nt_xent": {"width": 4, "temperature": 0.3}}
    settings = Terms.model_validate(given).nt_xent
    assert settings is not None and settings.needs_views and not settings.needs_teacher
    term: Any = LossModule(settings, 6, 0)
    feature_BW, view_BW = (view.float().detach() for view in views(5, 6))
    nothing = torch.zeros(5, 0)
    step = Step(feature_BW, torch.zeros(5, dtype=torch.long), nothing, nothing, view_BW)
    first: Any = term.projector[0]
    last: Any = term.projector[2]
    assert (first.out_features, last.out_features) == (6, 4)
    one, other = (
        (x @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
        for x in (feature_BW, view_BW)
    )
    torch.testing.assert_close(term(step), plain(one, other, 0.3))


def test_a_student_learns_from_it_alone(tmp_path: Path) -> None:
    """Without a teacher, from windows without labels."""
    store = Store(tmp_path)
    make_arrays(store)
    settings: dict[str, Any] = {"teacher": None, "augment": {"noise": 0.3}, "epochs": 3}
    run = new_run(store, {"terms": ["nt_xent"]}, labelled=0, **settings)
    assert len(run.row_N) == 42
    history = distil(run, tmp_path / "run.pt", ignore)
    assert history[-1]["train/loss"] < history[0]["train/loss"]
