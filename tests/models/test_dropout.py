"""Dropout against what it promises: shares, scale, gradients, and PyTorch's own elsewhere."""

import pytest
import torch
from torch import nn

from comodo.models.dropout import FastDropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_it_drops_its_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ones = torch.ones(400_003, dtype=dtype)  # no multiple of four
    out = FastDropout(p)(ones)
    assert out.dtype == dtype
    values = out.unique()
    assert values[0] == 0 and len(values) == 2
    assert values[1].item() == pytest.approx(1 / (1 - p), rel=5e-3)
    spread = (p * (1 - p) / len(ones)) ** 0.5
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=4 * spread + 1e-5)
    # Neighbours, also those that share 64 bits, are dropped independently.
    zero = (out[: 4 * 100_000] == 0).double().view(-1, 4)
    pairs = torch.corrcoef(zero.T) - torch.eye(4)
    assert pairs.abs().max() < 5 / 100_000**0.5


def test_gradients_pass_where_activations_do() -> None:
    x = torch.randn(3, 5, 7, requires_grad=True)
    out = FastDropout(0.4)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.allclose(gradient * x, out)
    assert 0 < (gradient == 0).sum() < x.numel()


def test_a_seed_gives_the_same_draws_and_another_others() -> None:
    x, dropout = torch.ones(1000), FastDropout(0.5)
    first, again, other = (dropout(x) for seed in (1, 1, 2) if torch.manual_seed(seed))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("p", "training", "value"), [(0.3, False, 1), (0.0, True, 1), (1, True, 0)]
)
def test_nothing_is_drawn_where_nothing_is_random(p: float, training: bool, value: int) -> None:
    before = torch.get_rng_state()
    out = FastDropout(p).train(training)(torch.ones(50))
    assert torch.equal(out, torch.full((50,), float(value)))
    if p != 1:
        assert torch.equal(torch.get_rng_state(), before)


def test_it_takes_the_place_of_every_dropout_and_nothing_else() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.7)))
    names = list(network.state_dict())
    replace_dropout(network)
    found = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert [(type(module), module.p) for module in found] == [
        (FastDropout, 0.2),
        (FastDropout, 0.7),
    ]
    assert list(network.state_dict()) == names
