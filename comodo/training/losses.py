"""The distillation losses, as pure functions of tensors.

All take the embeddings of a batch of windows, the student's z_x `[B, D]` and the teacher's z_v
`[B, D]`, and return a scalar: float64 for a float64 student, otherwise float32. Inputs are
normalised to unit length, so similarities are cosines in [-1, 1]. Only the student receives a
gradient. They raise ValueError for shapes that do not fit together, and for a temperature that is
not positive. This module does not know where embeddings come from, how the queue is updated or how
a model is trained.

Shape letters: B batch, D embedding width, Q queue length, K keys (queue and batch together),
N queries.
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


def comodo_loss(
    student_BD: Tensor,
    teacher_BD: Tensor,
    queue_QD: Tensor,
    teacher_temperature: float = 0.1,
    student_temperature: float = 0.05,
) -> Tensor:
    """COMODO's loss, in nats: the student's similarities to a queue should be the teacher's.

    The keys K are the queue, in any order, followed by the batch's own teacher embeddings. Student
    and teacher each give a distribution over the keys, and the loss is their cross-entropy
    (equations 1 to 3 of COMODO, arXiv 2503.07259):

        P_v = softmax(z_v K^T / tau_v),  P_x = softmax(z_x K^T / tau_x)
        loss = mean over the batch of -sum(P_v log P_x)

    All embeddings are normalised to unit length here. The memory needed beyond the inputs does not
    grow with Q. Inputs in half precision are computed in float32.

    Args:
        student_BD: z_x, embeddings of the IMU windows of a batch `[B, D]`; they alone receive a
            gradient.
        teacher_BD: z_v, embeddings `[B, D]` of the videos of the same windows, in the same order.
        queue_QD: keys `[Q, D]`, as `TeacherQueue.keys_QD`; Q may be 0.
        teacher_temperature: tau_v.
        student_temperature: tau_x.

    Returns:
        A scalar, float64 for a float64 student, otherwise float32; it has no second derivative.

    Raises:
        ValueError: shapes that do not fit together, or a temperature that is not positive.

    Example:
        >>> queue = comodo.TeacherQueue(first_QD)
        >>> loss = comodo.comodo_loss(student_BD, teacher_BD, queue.keys_QD)
        >>> loss.backward()
        >>> queue.push(teacher_BD)  # after the step, as in the paper
    """
    _check_pairs(student_BD, teacher_BD)
    _check_temperature("teacher_temperature", teacher_temperature)
    _check_temperature("student_temperature", student_temperature)
    if queue_QD.ndim != 2 or queue_QD.shape[1] != student_BD.shape[1]:
        shape = tuple(queue_QD.shape)
        raise ValueError(f"queue has shape {shape}, expected [Q, {student_BD.shape[1]}]")
    others = queue_QD.detach(), teacher_temperature, student_temperature
    if student_BD.is_cuda:
        from comodo.training import losses_triton  # imports Triton, which a CPU cannot use

        if losses_triton.fits(student_BD):
            compare = losses_triton.fused_loss_and_gradient
            student, teacher = student_BD.float().contiguous(), teacher_BD.detach()
            return LossWithGradient.apply(compare, student, teacher, *others)
    student, teacher = _unit(student_BD), _frozen_unit(teacher_BD, like=student_BD)
    return LossWithGradient.apply(_queue_cross_entropy, student, teacher, *others)


def infonce_loss(
    student_BD: Tensor,
    teacher_BD: Tensor,
    temperature: float | Tensor = 0.1,
    symmetric: bool = False,
) -> Tensor:
    """InfoNCE, in nats: each IMU window has to find its own video among the videos of the batch.

        loss = mean over i of -log softmax_j(z_x[i] . z_v[j] / temperature)[i]

    The loss of contrastive predictive coding (arXiv 1807.03748) as IMU2CLIP (arXiv 2210.14395) uses
    it, which is a baseline of COMODO (arXiv 2503.07259). `symmetric` adds, without averaging, the
    loss of the other direction, in which each video has to find its IMU window. A temperature that
    is a tensor, positive, receives a gradient too.
    """
    _check_pairs(student_BD, teacher_BD)
    if not isinstance(temperature, Tensor):  # to look at a tensor is to wait for the device
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
    """Feature matching: mean squared error over all B x D elements, a baseline of COMODO.

    It equals (2 - 2 cosine similarity) / D, averaged over the batch, so it is at most 4 / D.
    """
    _check_pairs(student_BD, teacher_BD)
    return functional.mse_loss(_unit(student_BD), _frozen_unit(teacher_BD, like=student_BD))


def vicreg_loss(one_BD: Tensor, other_BD: Tensor) -> Tensor:
    """VICReg of the embeddings of two views of a batch's windows, which are not normalised here.

    25 (mean squared difference) + 25 (mean over dimensions and views of max(0, 1 - standard
    deviation)) + 1 (sum over views of the squared covariances of different dimensions, over D):
    arXiv 2105.04906 with its published weights and, where the paper has sums, the means of its
    code. Both views receive a gradient.
    """
    _check_pairs(one_BD, other_BD)
    dtype = torch.promote_types(one_BD.dtype, torch.float32)
    one_BD, other_BD = one_BD.to(dtype), other_BD.to(dtype)
    variance = covariance = torch.zeros((), dtype=dtype, device=one_BD.device)
    with torch.autocast(one_BD.device.type, enabled=False):
        for view_BD in (one_BD, other_BD):
            centred_BD = view_BD - view_BD.mean(dim=0)
            covariance_DD = centred_BD.T @ centred_BD / max(1, len(centred_BD) - 1)
            spread_D = (covariance_DD.diagonal() + 1e-4).sqrt()
            variance = variance + functional.relu(1 - spread_D).mean() / 2
            apart_DD = covariance_DD - covariance_DD.diagonal().diag()
            covariance = covariance + apart_DD.square().sum() / view_BD.shape[1]
        return 25 * functional.mse_loss(one_BD, other_BD) + 25 * variance + covariance


def nt_xent_loss(one_BD: Tensor, other_BD: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views of a batch's windows, in nats: each view has to find the other of its
    window among all other 2 B - 1 views.

        loss = mean over i of -log(exp(z[i] . z[j] / temperature) / sum over k != i of
               exp(z[i] . z[k] / temperature)),  j the other view of the window of i

    Equation 1 and algorithm 1 of SimCLR (arXiv 2002.05709). Both views receive a gradient. 0 for a
    single window.
    """
    _check_pairs(one_BD, other_BD)
    _check_temperature("temperature", temperature)
    view_VD = _unit(torch.cat([one_BD, other_BD]))  # V: 2 B views
    itself_VV = torch.eye(len(view_VD), dtype=torch.bool, device=view_VD.device)
    partner_V = torch.arange(len(view_VD), device=view_VD.device).roll(len(one_BD))
    with torch.autocast(view_VD.device.type, enabled=False):
        logits_VV = (view_VD @ view_VD.T / temperature).masked_fill(itself_VV, float("-inf"))
        return functional.cross_entropy(logits_VV, partner_V)


def siglip_loss(
    student_BD: Tensor, teacher_BD: Tensor, scale: float | Tensor, bias: float | Tensor
) -> Tensor:
    """SigLIP, in nats: each pair of a window and a video of the batch is a match or none.

        loss = mean over i of sum over j of -log sigmoid(l_ij (scale z_x[i] . z_v[j] + bias))

    with l_ij = 1 for a window and its own video, otherwise -1 (algorithm 1 of arXiv 2303.15343).
    A `scale`, positive, or a `bias` that is a tensor receives a gradient too.
    """
    _check_pairs(student_BD, teacher_BD)
    student, teacher = _unit(student_BD), _frozen_unit(teacher_BD, like=student_BD)
    with torch.autocast(student.device.type, enabled=False):
        logits_BB = student @ teacher.T * scale + bias
        sign_BB = 2 * torch.eye(len(student), dtype=logits_BB.dtype, device=student.device) - 1
        return -functional.logsigmoid(sign_BB * logits_BB).sum(dim=1).mean()


def relational_distance_loss(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Distances between the windows of a batch, relative to their mean, should be the teacher's.

    Smooth L1 distance (of 1) between ||z[i] - z[j]|| / mu of student and teacher, averaged over all
    B x B pairs; mu is the mean over the pairs of two different windows. RKD-D, equations 5 to 7 of
    arXiv 1904.05068, whose sum is a mean here, as in its code. 0 for a single window.
    """
    _check_pairs(student_BD, teacher_BD)
    return functional.smooth_l1_loss(
        _relative_distances(_unit(student_BD)),
        _relative_distances(_frozen_unit(teacher_BD, like=student_BD)),
    )


def relational_angle_loss(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Angles between the windows of a batch should be the teacher's.

    Smooth L1 distance (of 1) between cos of the angle i-j-k of student and teacher, averaged over
    all B x B x B triplets. RKD-A, equations 8 to 10 of arXiv 1904.05068, whose sum is a mean here,
    as in its code. Memory and time grow with the cube of the batch: 50 MB for 128 windows.
    """
    _check_pairs(student_BD, teacher_BD)
    student, teacher = _unit(student_BD), _frozen_unit(teacher_BD, like=student_BD)
    with torch.autocast(student.device.type, enabled=False):
        return functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _relative_distances(embedding_BD: Tensor) -> Tensor:
    """Distances `[B, B]`, divided by their mean without the diagonal."""
    distance_BB = (embedding_BD.unsqueeze(0) - embedding_BD.unsqueeze(1)).norm(dim=2)
    pairs = max(1, len(embedding_BD) * (len(embedding_BD) - 1))
    mean = distance_BB.sum() / pairs
    return distance_BB / mean.clamp(min=torch.finfo(mean.dtype).eps)


def _angles(embedding_BD: Tensor) -> Tensor:
    """Cosines `[B, B, B]` of the angles at the first of three windows."""
    difference_BBD = embedding_BD.unsqueeze(0) - embedding_BD.unsqueeze(1)
    direction_BBD = functional.normalize(difference_BBD, dim=2)
    return direction_BBD @ direction_BBD.transpose(1, 2)


def _queue_cross_entropy(
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


def _unit(embedding_BD: Tensor) -> Tensor:
    """Rows of unit length, at least in float32: temperatures near 0.01 amplify rounding errors."""
    dtype = torch.promote_types(embedding_BD.dtype, torch.float32)
    return functional.normalize(embedding_BD.to(dtype), dim=1)


def _frozen_unit(embedding_BD: Tensor, like: Tensor) -> Tensor:
    """Rows of unit length without gradient, in the precision that `like` is compared in."""
    return _unit(embedding_BD.detach()).to(torch.promote_types(like.dtype, torch.float32))


def _check_pairs(student_BD: Tensor, teacher_BD: Tensor) -> None:
    if student_BD.ndim != 2 or student_BD.shape != teacher_BD.shape or not len(student_BD):
        raise ValueError(
            "student and teacher must be non-empty and have one shape [B, D], "
            f"got {tuple(student_BD.shape)} and {tuple(teacher_BD.shape)}"
        )


def _check_temperature(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
