"""Mantis's rewritten forward pass against its library's own, forwards and backwards."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mantis.architecture import MantisV1, MantisV2
from torch import Tensor, nn

from comodo.models import mantis_fast
from tests.tiny_students import make

SMALL = {
    "hidden_dim": 16,
    "transf_depth": 2,
    "transf_num_heads": 2,
    "transf_mlp_dim": 24,
    "transf_dim_head": 8,
    "hidden_dim_scalar_enc": 8,
}
SIZES: dict[Any, list[dict[str, Any]]] = {
    MantisV1: [
        {"seq_len": 64, "num_patches": 8},
        {"seq_len": 60, "num_patches": 4, "transf_depth": 1},
        {"seq_len": 64, "num_patches": 8, "scalar_scales": [0.1, 10.0], "transf_dropout": 0.0},
        {"seq_len": 64, "num_patches": 8, "transf_num_heads": 1, "transf_dim_head": 16},
        {"seq_len": 64, "num_patches": 8, "output_token": "mean_token"},
        {"seq_len": 64, "num_patches": 8, "output_token": "combined"},
    ],
    MantisV2: [
        {"num_patches": 8, "kernel_size": 9},
        {"num_patches": 8, "transf_depth": 1},
        {"num_patches": 8, "output_token": "combined"},
    ],
}
CASES = [(library, size) for library, sizes in SIZES.items() for size in sizes]


def build(library: Any, size: dict[str, Any]) -> Any:
    torch.manual_seed(3)
    network = library(**{**SMALL, **size}, device="cpu")
    with torch.no_grad():  # norms as training leaves them, not as they begin
        for module in network.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(torch.randn_like(module.weight) / 3)
                module.bias.add_(torch.randn_like(module.bias) / 3)
    return nn.Module.to(network, torch.float64).eval()


def rewritten(network: Any, x_NT: Tensor) -> Tensor:
    return mantis_fast.encode(network, mantis_fast.fold_tokenizer(network), x_NT)


def outcome(network: Any, feature_ND: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad()
    generator = torch.Generator().manual_seed(1)
    weight_ND = torch.randn(feature_ND.shape, generator=generator, dtype=torch.float64)
    (feature_ND * weight_ND).sum().backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return feature_ND.detach(), gradients


@pytest.mark.parametrize(("library", "size"), CASES)
def test_features_and_gradients_are_the_library_s(library: Any, size: dict[str, Any]) -> None:
    network = build(library, size)
    x_NT = torch.randn(5, size.get("seq_len", 64), dtype=torch.float64).cumsum(1)
    theirs, their_gradients = outcome(network, network(x_NT.unsqueeze(1)))
    ours, gradients = outcome(network, rewritten(network, x_NT))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-8, atol=1e-9, msg=name)


@given(
    exponent=st.floats(-4, 4),
    offset=st.floats(-1000, 1000),
    flat=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_in_float32_it_is_no_further_from_the_truth(
    exponent: float, offset: float, flat: bool, seed: int
) -> None:
    """Signals of any size and offset, also of none at all (a sensor that stands still)."""
    network = build(MantisV1, SIZES[MantisV1][0])
    generator = torch.Generator().manual_seed(seed)
    x_NT = torch.randn(4, 64, generator=generator) * 10**exponent + offset
    if flat:
        x_NT[:2] = offset
    with torch.no_grad():
        truth = network(x_NT.double().unsqueeze(1))
        short = nn.Module.to(network, torch.float32)
        theirs, ours = short(x_NT.unsqueeze(1)), rewritten(short, x_NT)
    allowed = 4 * (theirs - truth).abs().max() + 1e-5
    assert (ours - truth).abs().max() <= allowed


def test_dropout_differs_in_its_draws_only() -> None:
    network = build(MantisV1, SIZES[MantisV1][0] | {"transf_dropout": 0.5}).train()
    x_NT = torch.randn(1, 64, dtype=torch.float64).expand(4000, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = network(x_NT.unsqueeze(1))
        ours = rewritten(network, x_NT)
    error = theirs.std(0) / len(x_NT) ** 0.5
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    assert ((ours.std(0) / theirs.std(0) - 1).abs() < 0.1).all()


def test_another_version_of_the_library_runs_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    student = make("mantis").eval()
    imu_BCT = torch.randn(2, 6, 200)
    expected = student(imu_BCT)
    monkeypatch.setattr(mantis_fast, "is_supported", lambda: False)
    monkeypatch.setattr(mantis_fast, "encode", None)
    torch.testing.assert_close(student(imu_BCT), expected)
    monkeypatch.undo()
    mantis_fast.is_supported.cache_clear()
    monkeypatch.setattr(mantis_fast, "SUPPORTED_VERSIONS", {"0.0"})
    assert not mantis_fast.is_supported()
    mantis_fast.is_supported.cache_clear()
