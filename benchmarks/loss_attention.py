"""The comodo loss written with PyTorch's attention, against ours: time of forward and backward.

    python -m benchmarks.loss_attention
    python -m benchmarks.loss_attention --device cpu --queues 16384

With the keys as values too, attention gives P K and the log-sum-exp of each row, and these are all
that the loss and its gradient need (equations 1 to 3 of arXiv 2503.07259):

    loss = mean over the batch of  lse_x - z_x . (P_v K) / tau_x
    d loss / d z_x = (P_x K - P_v K) / (tau_x B)

On a GPU attention is flex_attention, compiled; on a CPU PyTorch's flash attention. Both sides get
the same inputs and take turns; the differences of their losses and gradients are printed. Ours is
kept unless attention takes at most 1.3 times as long on a GPU: then its Triton kernels can go.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import AuxRequest, flex_attention

from benchmarks.common import Row, in_turns, machine, seconds, show
from benchmarks.loss import (
    BATCH,
    STUDENT_TEMPERATURE,
    TEACHER_TEMPERATURE,
    WIDTH,
    Loss,
    inputs,
    ours,
    step,
)
from comodo.losses.cross_entropy import LossWithGradient

QUEUES = (16_384, 65_536, 262_144)
compiled: Any = torch.compile(flex_attention, dynamic=False)  # whose overloads it loses


def attend(query_BD: Tensor, key_KD: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """P K [B, D] and the log-sum-exp [B] of the similarities over the temperature."""
    query, key = query_BD[None, None], key_KD[None, None]
    if query.is_cuda:
        mixed, aux = compiled(
            query, key, key, scale=1 / temperature, return_aux=AuxRequest(lse=True)
        )
        return mixed[0, 0], aux.lse[0, 0]
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    mixed, lse = flash(query, key, key, scale=1 / temperature)
    return mixed[0, 0], lse[0, 0]


def compare(student_BD: Tensor, teacher_BD: Tensor, key_KD: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient by the unit-length student."""
    of_teacher_BD, _ = attend(teacher_BD, key_KD, TEACHER_TEMPERATURE)
    of_student_BD, lse_B = attend(student_BD, key_KD, STUDENT_TEMPERATURE)
    loss_B = lse_B - (student_BD * of_teacher_BD).sum(dim=1) / STUDENT_TEMPERATURE
    gradient_BD = (of_student_BD - of_teacher_BD) / (STUDENT_TEMPERATURE * len(student_BD))
    return loss_B.mean(), gradient_BD


def by_attention(student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> Tensor:
    student_BD = functional.normalize(student_BD, dim=1)
    teacher_BD = functional.normalize(teacher_BD, dim=1)
    key_KD = torch.cat([queue_QD, teacher_BD])
    return LossWithGradient.apply(compare, student_BD, teacher_BD, key_KD)


LOSSES: dict[str, Loss] = {"ours": ours, "attention": by_attention}


def differences(queue: int, device: str) -> tuple[float, float]:
    """Of the losses, and the largest of the gradients over the largest gradient."""
    found = []
    for loss in LOSSES.values():
        student_BD, *others = inputs(queue, device)
        value = loss(student_BD, *others)
        value.backward()
        assert student_BD.grad is not None
        found.append((value.item(), student_BD.grad))
    (one, one_BD), (other, other_BD) = found
    return abs(one - other), float((one_BD - other_BD).abs().max() / one_BD.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, nargs="+", default=list(QUEUES))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    where = "on the GPU" if args.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(machine())
    for queue in args.queues:
        of_loss, of_gradient = differences(queue, args.device)
        print(f"queue {queue:,}: losses differ by {of_loss:.1e}, gradients by {of_gradient:.1e}")
        tensors = inputs(queue, args.device)
        sides: dict[str, Callable[[], float]] = {
            name: partial(seconds, partial(step, loss, *tensors), args.device)
            for name, loss in LOSSES.items()
        }
        ms = {name: 1000 * value for name, value in in_turns(args.repeats, sides).items()}
        show(
            Row(
                f"comodo loss by attention, queue {queue:,}, batch and width {BATCH} and {WIDTH}, "
                f"forward and backward, {where}",
                f"ours: {ms['ours']:,.2f} ms",
                f"attention: {ms['attention']:,.2f} ms",
                f"{ms['attention'] / ms['ours']:.2f} of our time",
                "at most 1.3 on a GPU, to replace the Triton kernels",
            )
        )


if __name__ == "__main__":
    main()
