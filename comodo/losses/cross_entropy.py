"""The cross-entropy of the teacher's and the student's similarities to a queue, with its gradient.

`comodo.comodo_loss` has the formula and the guarantees. Shape letters: B batch, D embedding width,
Q queue length, K keys (queue and batch together), N queries.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

# The similarities to this many keys fit into the cache. More keys are processed in chunks.
_MAX_KEYS_UNCHUNKED = 4096
# Keys in a chunk. On a CPU the working set (2 x B x keys) should stay in the cache, but each chunk
# also synchronises all threads ten times, which is expensive on a busy machine. On an accelerator
# a few large kernels are faster than many small ones.
_CHUNK_KEYS_CPU = 512
_CHUNK_KEYS_ACCELERATOR = 32_768


class LossWithGradient(torch.autograd.Function):
    """The loss that `compare(student_BD, ...)` returns together with its gradient `[B, D]`.

    Only that gradient is kept for the backward pass, never a `[B, K]` tensor.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        compare: Callable[..., tuple[Tensor, Tensor]],
        student_BD: Tensor,
        *others: Any,
    ) -> Tensor:
        loss, gradient_BD = compare(student_BD, *others)
        ctx.save_for_backward(gradient_BD)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_BD,) = ctx.saved_tensors
        return None, grad_loss * gradient_BD, *[None] * (len(ctx.needs_input_grad) - 2)


def queue_cross_entropy(
    student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor, tau_v: float, tau_x: float
) -> tuple[Tensor, Tensor]:
    """`comodo_loss` of unit-length embeddings and its gradient.

    -sum(P_v log P_x) = logsumexp(z_x K^T / tau_x) - z_x (P_v K) / tau_x, because P_v sums to one.
    Its gradient with respect to z_x is (P_x - P_v) K / tau_x.
    """
    compare = _compare_at_once if len(queue_QD) <= _MAX_KEYS_UNCHUNKED else _compare_in_chunks
    with torch.autocast(student_BD.device.type, enabled=False):
        loss, difference_BD = compare(student_BD / tau_x, teacher_BD / tau_v, queue_QD, teacher_BD)
    return loss, difference_BD / (len(student_BD) * tau_x)


def _compare_at_once(
    student_BD: Tensor, teacher_BD: Tensor, *keys: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss and (P_x - P_v) K `[B, D]`; embeddings are already divided by their temperatures."""
    key_KD = torch.cat([functional.normalize(part.to(student_BD.dtype), dim=1) for part in keys])
    teacher_BK = (teacher_BD @ key_KD.T).softmax(dim=1)
    log_student_BK = (student_BD @ key_KD.T).log_softmax(dim=1)
    loss = -(teacher_BK * log_student_BK).sum(dim=1).mean()
    return loss, log_student_BK.exp_().sub_(teacher_BK) @ key_KD


def _compare_in_chunks(
    student_BD: Tensor, teacher_BD: Tensor, *keys: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as `_compare_at_once`, in memory that does not grow with the number of keys.

    Loss and gradient follow from P_v K and P_x K, which are summed over chunks of keys. Computing
    (P_x - P_v) K directly would save one product, but it needs the softmax sums over all keys
    first; keeping the similarities until then costs memory and about as much time.
    """
    # Teacher and student rows are stacked, so that each chunk takes one product, not two.
    mean_2BD, logsumexp_2B = _softmax_average(torch.cat([teacher_BD, student_BD]), *keys)
    teacher_mean_BD, student_mean_BD = mean_2BD.chunk(2)
    _, logsumexp_B = logsumexp_2B.chunk(2)
    loss = logsumexp_B.mean() - (student_BD * teacher_mean_BD).sum() / len(student_BD)
    return loss, student_mean_BD - teacher_mean_BD


def _softmax_average(query_ND: Tensor, *keys: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(query K^T) K `[N, D]` and logsumexp(query K^T) `[N]`, with K all keys.

    An online softmax (arXiv 1805.02867): sums are relative to the largest similarity so far. It
    uses powers of two because torch's exp2 takes a third of the time of its exp on a CPU, and even
    less for results that underflow.
    """
    query_ND = query_ND * math.log2(math.e)
    chunk_keys = _CHUNK_KEYS_CPU if query_ND.device.type == "cpu" else _CHUNK_KEYS_ACCELERATOR
    peak_N1 = query_ND.new_full((len(query_ND), 1), float("-inf"))
    total_N1 = torch.zeros_like(peak_N1)
    average_ND = torch.zeros_like(query_ND)
    for chunk in (chunk for part in keys for chunk in part.split(chunk_keys)):
        key_KD = functional.normalize(chunk.to(query_ND.dtype), dim=1)
        weight_NK = query_ND @ key_KD.T
        new_peak_N1 = torch.maximum(peak_N1, weight_NK.amax(dim=1, keepdim=True))
        weight_NK.sub_(new_peak_N1).exp2_()
        # The sums so far were relative to the old peak.
        rescale_N1 = (peak_N1 - new_peak_N1).exp2_()
        total_N1.mul_(rescale_N1).add_(weight_NK.sum(dim=1, keepdim=True))
        average_ND.mul_(rescale_N1).addmm_(weight_NK, key_KD)
        peak_N1 = new_peak_N1
    return average_ND / total_N1, math.log(2) * (peak_N1 + total_N1.log2()).squeeze(1)
