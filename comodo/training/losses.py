"""The distillation losses, as pure functions of tensors.

Each compares the embeddings of a batch of IMU windows (student) with those of the same windows'
videos (teacher). Inputs need not be normalised: every loss takes them to unit length itself. The
teacher is frozen, so gradients reach the student only. This file does not know where embeddings
come from, how a queue is kept or how a model is trained.

Shape letters: B batch, D embedding width, Q queue length.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

# Up to so many keys their similarities fit the cache, and are made whole; more are taken in chunks.
_MAX_KEYS_UNCHUNKED = 4096
# Keys in a chunk. On a CPU the working set (2 x B x keys) should stay in the cache, yet each chunk
# costs ten meetings of all threads, which are dear on a busy machine. On an accelerator few large
# kernels are faster than many small ones.
_CHUNK_KEYS_CPU = 512
_CHUNK_KEYS_ACCELERATOR = 32_768


def comodo_loss(
    student_BD: Tensor,
    teacher_BD: Tensor,
    queue_QD: Tensor,
    teacher_temperature: float,
    student_temperature: float,
) -> Tensor:
    """Cross-entropy between the teacher's and the student's similarities to a queue.

    With keys K = the queue followed by the batch's teacher embeddings, all of unit length,

        P_v = softmax(z_v K^T / tau_v),  P_x = softmax(z_x K^T / tau_x)
        loss = mean over the batch of -sum(P_v log P_x)

    which are equations 1 to 3 of COMODO (arXiv 2503.07259). The order of the keys is irrelevant.
    Memory beyond the inputs does not grow with Q. Half-precision inputs are computed in float32.

    Args:
        student_BD: student embeddings z_x; the only input that receives a gradient (once: second
            derivatives are not supported).
        teacher_BD: teacher embeddings z_v of the same windows.
        queue_QD: earlier teacher embeddings, in any order.
        teacher_temperature: tau_v, 0.1 in the paper.
        student_temperature: tau_x, 0.05 in the paper.

    Returns:
        A scalar, float32 or (for float64 students) float64.

    Raises:
        ValueError: shapes that do not fit together, or a temperature that is not positive.

    Example:
        >>> loss = comodo_loss(torch.randn(4, 8), torch.randn(4, 8), torch.randn(16, 8), 0.1, 0.05)
        >>> loss.shape
        torch.Size([])
    """
    _check_pairs(student_BD, teacher_BD)
    _check_temperature("teacher_temperature", teacher_temperature)
    _check_temperature("student_temperature", student_temperature)
    if queue_QD.ndim != 2 or queue_QD.shape[1] != student_BD.shape[1]:
        raise ValueError(
            f"queue has shape {tuple(queue_QD.shape)}, expected [Q, {student_BD.shape[1]}]"
        )
    if student_BD.is_cuda:
        from comodo.training import losses_triton  # brings Triton along, of no use to a CPU

        if losses_triton.fits(student_BD):
            return losses_triton.fused_comodo_loss(
                student_BD, teacher_BD, queue_QD, teacher_temperature, student_temperature
            )
    return _QueueCrossEntropy.apply(
        _unit(student_BD),
        _frozen_unit(teacher_BD, like=student_BD),
        queue_QD.detach(),
        teacher_temperature,
        student_temperature,
    )


def infonce_loss(
    student_BD: Tensor, teacher_BD: Tensor, temperature: float = 0.1, symmetric: bool = False
) -> Tensor:
    """Contrastive loss within the batch, as in IMU2CLIP (COMODO's baseline, arXiv 2503.07259).

        loss = mean over i of -log softmax_j(z_x[i] . z_v[j] / tau)[i]

    Each IMU window must pick its own video out of the batch. `symmetric` adds (does not average)
    the other direction, in which each video picks its IMU window.

    Args:
        student_BD: student embeddings z_x; receives the gradient.
        teacher_BD: teacher embeddings z_v, row i belonging to row i of the student.
        temperature: tau.
        symmetric: whether to add the direction from video to IMU.

    Returns:
        A scalar, float32 or (for float64 students) float64.

    Raises:
        ValueError: shapes that differ, or a temperature that is not positive.

    Example:
        >>> x = torch.eye(4)
        >>> round(infonce_loss(x, x, temperature=1.0).item(), 4)
        0.7437
    """
    _check_pairs(student_BD, teacher_BD)
    _check_temperature("temperature", temperature)
    student, teacher = _unit(student_BD), _frozen_unit(teacher_BD, like=student_BD)
    own = torch.arange(len(student), device=student.device)
    with torch.autocast(student.device.type, enabled=False):
        logits_BB = student @ teacher.T / temperature
        loss = functional.cross_entropy(logits_BB, own)
        if symmetric:
            loss = loss + functional.cross_entropy(logits_BB.T, own)
    return loss


def l2_loss(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Mean squared error, over all B x D elements, between embeddings of unit length.

    The plain feature-matching baseline of COMODO (arXiv 2503.07259): mean((z_x - z_v)^2).

    Args:
        student_BD: student embeddings z_x; receives the gradient.
        teacher_BD: teacher embeddings z_v of the same windows.

    Returns:
        A scalar, float32 or (for float64 students) float64.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> l2_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])).item()
        1.0
    """
    _check_pairs(student_BD, teacher_BD)
    return functional.mse_loss(_unit(student_BD), _frozen_unit(teacher_BD, like=student_BD))


class _QueueCrossEntropy(torch.autograd.Function):
    """The comodo loss of unit-length embeddings, and its gradient, in the forward pass.

    -sum(P_v log P_x) = logsumexp(z_x K^T / tau_x) - z_x (P_v K) / tau_x, because P_v sums to one;
    its gradient by z_x is (P_x - P_v) K / tau_x. Only that [B, D] gradient is kept for backward,
    never a [B, Q + B] tensor.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student_BD: Tensor,
        teacher_BD: Tensor,
        queue_QD: Tensor,
        teacher_temperature: float,
        student_temperature: float,
    ) -> Tensor:
        with torch.autocast(student_BD.device.type, enabled=False):
            compare = _compare_whole if len(queue_QD) <= _MAX_KEYS_UNCHUNKED else _compare_in_chunks
            loss, difference_BD = compare(
                student_BD / student_temperature,
                teacher_BD / teacher_temperature,
                queue_QD,
                teacher_BD,
            )
        ctx.save_for_backward(difference_BD / (len(student_BD) * student_temperature))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (grad_BD,) = ctx.saved_tensors
        return grad_loss * grad_BD, None, None, None, None


def _compare_whole(student_BD: Tensor, teacher_BD: Tensor, *keys: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and (P_x - P_v) K `[B, D]`, of queries that are divided by their temperatures."""
    key_KD = torch.cat([functional.normalize(part.to(student_BD.dtype), dim=1) for part in keys])
    teacher_BK = (teacher_BD @ key_KD.T).softmax(dim=1)
    log_student_BK = (student_BD @ key_KD.T).log_softmax(dim=1)
    loss = -(teacher_BK * log_student_BK).sum(dim=1).mean()
    return loss, log_student_BK.exp_().sub_(teacher_BK) @ key_KD


def _compare_in_chunks(
    student_BD: Tensor, teacher_BD: Tensor, *keys: Tensor
) -> tuple[Tensor, Tensor]:
    """The same for any number of keys, in memory that does not grow with them.

    Loss and gradient follow from P_v K and P_x K, which are summed over chunks of keys. That is a
    product more than (P_x - P_v) K needs, which has to wait for the sums over all keys; to keep the
    similarities till then takes about as long as that product, and memory.
    """
    # Both distributions share each product with the keys: teacher rows first, then student.
    mean_2BD, logsumexp_2B = _softmax_average(torch.cat([teacher_BD, student_BD]), *keys)
    teacher_mean_BD, student_mean_BD = mean_2BD.chunk(2)
    _, logsumexp_B = logsumexp_2B.chunk(2)
    loss = logsumexp_B.mean() - (student_BD * teacher_mean_BD).sum() / len(student_BD)
    return loss, student_mean_BD - teacher_mean_BD


def _softmax_average(query_ND: Tensor, *keys: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(query K^T) K, shape [N, D], and logsumexp(query K^T), shape [N]; K = all keys.

    An online softmax: sums are kept relative to the largest similarity so far. In powers of two,
    because torch's exp2 takes a third of its exp's time on a CPU, and less where results underflow.
    """
    query_ND = query_ND * math.log2(math.e)
    at_once = _CHUNK_KEYS_CPU if query_ND.device.type == "cpu" else _CHUNK_KEYS_ACCELERATOR
    peak_N1 = query_ND.new_full((len(query_ND), 1), float("-inf"))
    total_N1 = torch.zeros_like(peak_N1)
    average_ND = torch.zeros_like(query_ND)
    for chunk in (chunk for part in keys for chunk in part.split(at_once)):
        key_KD = functional.normalize(chunk.to(query_ND.dtype), dim=1)
        weight_NK = query_ND @ key_KD.T
        new_peak_N1 = torch.maximum(peak_N1, weight_NK.amax(dim=1, keepdim=True))
        weight_NK.sub_(new_peak_N1).exp2_()
        # What was summed so far was relative to the old peak.
        shrink_N1 = (peak_N1 - new_peak_N1).exp2_()
        total_N1.mul_(shrink_N1).add_(weight_NK.sum(dim=1, keepdim=True))
        average_ND.mul_(shrink_N1).addmm_(weight_NK, key_KD)
        peak_N1 = new_peak_N1
    return average_ND / total_N1, math.log(2) * (peak_N1 + total_N1.log2()).squeeze(1)


def _unit(embedding_BD: Tensor) -> Tensor:
    """Rows of unit length, in at least float32: temperatures near 0.01 magnify rounding."""
    dtype = torch.promote_types(embedding_BD.dtype, torch.float32)
    return functional.normalize(embedding_BD.to(dtype), dim=1)


def _frozen_unit(embedding_BD: Tensor, like: Tensor) -> Tensor:
    """Unit rows without gradient, in the precision in which `like` is compared."""
    return _unit(embedding_BD.detach()).to(torch.promote_types(like.dtype, torch.float32))


def _check_pairs(student_BD: Tensor, teacher_BD: Tensor) -> None:
    if student_BD.ndim != 2 or student_BD.shape != teacher_BD.shape or not len(student_BD):
        raise ValueError(
            "student and teacher must be non-empty and of one shape [B, D], "
            f"got {tuple(student_BD.shape)} and {tuple(teacher_BD.shape)}"
        )


def _check_temperature(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
