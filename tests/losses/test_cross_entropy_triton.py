"""The fused loss against the loss in plain operations: on a GPU, and by Triton's interpreter."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from comodo.losses import cross_entropy_triton
from comodo.losses.comodo import comodo_loss
from comodo.losses.cross_entropy import LossWithGradient

SIZES = [(3, 8, 5), (70, 128, 1000), (65, 100, 64), (16, 20, 300), (4, 128, 1)]


def loss_and_gradient(loss: object, student_BD: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    student_BD = student_BD.clone().requires_grad_()
    value = loss(student_BD, *others, 0.1, 0.05)  # type: ignore[operator]
    (2 * value).backward()
    assert student_BD.grad is not None
    return value.detach(), student_BD.grad


def fused_loss(*inputs: object) -> Tensor:
    return LossWithGradient.apply(cross_entropy_triton.fused_loss_and_gradient, *inputs)


def compare(device: str, batch: int, width: int, queue: int) -> None:
    """Of embeddings of any length, where plain operations compute in float64."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(n, width, generator=generator) for n in (batch, batch, queue)]
    tensors[0][0] = 0  # of no length: plain operations let it be
    plain = loss_and_gradient(comodo_loss, *(tensor.double() for tensor in tensors))
    there = [tensor.to(device) for tensor in tensors]
    fused = loss_and_gradient(fused_loss, *there)
    torch.testing.assert_close(fused[0].cpu(), plain[0].float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(fused[1][1:].cpu(), plain[1][1:].float(), rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("size", [*SIZES, (128, 128, 65_536)])
def test_it_is_the_plain_loss_on_a_gpu(size: tuple[int, int, int]) -> None:
    compare("cuda", *size)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_s_embeddings_come_here(monkeypatch: pytest.MonkeyPatch) -> None:
    student_BD = torch.randn(4, 8, device="cuda")
    assert cross_entropy_triton.fits(student_BD)
    assert not cross_entropy_triton.fits(student_BD.double())
    assert not cross_entropy_triton.fits(torch.randn(4, 256, device="cuda"))
    fused = torch.tensor(7.0, device="cuda"), student_BD
    monkeypatch.setattr(cross_entropy_triton, "fused_loss_and_gradient", lambda *_: fused)
    assert comodo_loss(student_BD, student_BD, student_BD, 0.1, 0.05) == 7


def test_its_kernels_compute_the_plain_loss() -> None:
    """Interpreted: Triton reads the setting when it is loaded."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run(
        [sys.executable, "-m", "tests.losses.test_cross_entropy_triton"],
        env=environment,
        check=True,
    )


def test_a_cpu_s_embeddings_do_not_come_here() -> None:
    assert not cross_entropy_triton.fits(torch.randn(4, 8))


if __name__ == "__main__":
    cross_entropy_triton.SHARES = 4
    for size in SIZES:
        compare("cpu", *size)
