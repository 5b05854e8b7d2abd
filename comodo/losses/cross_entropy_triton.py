"""The comodo loss in two GPU kernels, because many small operations are slow on a GPU.

`comodo.comodo_loss` has the formula and the guarantees, and calls this module if `fits` allows.
Each program of the first kernel compares a block of queries (teacher or student embeddings of the
batch) with its share of the keys, in an online softmax. Each program of the second kernel combines
the shares of one window into its loss and gradient. Each matrix product is split into three TF32
products, which together are as exact as float32.

Shape letters: B batch, N queries (first the students', then the teachers'), D embedding width,
Q queue length, S shares of the keys; inside kernels n queries and k keys of one block.
"""

import math
import shutil
from functools import cache

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # PyTorch installs it with its GPU builds only
    triton = None

SHARES = 64
QUERIES, KEYS, WARPS = 128, 32, 8  # in one program
STAGES = 1  # no prefetching of loads: it would take shared memory from other programs
MAX_WIDTH = 128  # of embeddings
MIN_SHARED_MEMORY = 163_840  # bytes that a program of that width takes
LOG2_E = math.log2(math.e)


def fits(student_BD: Tensor) -> bool:
    """Whether `fused_loss_and_gradient` can compute the loss of these embeddings."""
    single = student_BD.dtype != torch.float64
    return student_BD.is_cuda and single and student_BD.shape[1] <= MAX_WIDTH and _runs()


@cache
def _runs() -> bool:
    """Whether the GPU is at least an NVIDIA A100, and Triton finds the C compiler that it needs."""
    large = torch.cuda.get_device_properties().shared_memory_per_block_optin >= MIN_SHARED_MEMORY
    return large and triton is not None and any(map(shutil.which, ("cc", "gcc", "clang")))


def fused_loss_and_gradient(
    student_BD: Tensor, teacher_BD: Tensor, queue_QD: Tensor, tau_v: float, tau_x: float
) -> tuple[Tensor, Tensor]:
    """`losses.comodo_loss` and its gradient `[B, D]` for the student, which is contiguous and
    float32. Embeddings need not have unit length."""
    teacher_BD, queue_QD = teacher_BD.float().contiguous(), queue_QD.float().contiguous()
    (batch, width), queue = student_BD.shape, len(queue_QD)
    padded = max(16, triton.next_power_of_2(width))
    keys_per_share = triton.cdiv(triton.cdiv(queue + batch, SHARES), KEYS) * KEYS
    mean_NSD = student_BD.new_empty(2 * batch, SHARES, width)
    peak_NS, total_NS = student_BD.new_empty(2, 2 * batch, SHARES)
    inputs, shares = (student_BD, teacher_BD, queue_QD), (mean_NSD, peak_NS, total_NS)
    factors = LOG2_E / tau_x, LOG2_E / tau_v
    sizes = batch, queue, keys_per_share, width, padded
    grid = 2 * triton.cdiv(batch, QUERIES), SHARES
    launch = {"num_warps": WARPS, "num_stages": STAGES}
    _compare[grid](*inputs, *shares, *factors, *sizes, QUERIES, KEYS, SHARES, **launch)
    loss_B, gradient_BD = student_BD.new_empty(batch), torch.empty_like(student_BD)
    outputs, factor = (loss_B, gradient_BD), 1 / tau_x
    _combine[(batch,)](student_BD, *shares, *outputs, factor, batch, width, padded, SHARES)
    return loss_B.mean(), gradient_BD


if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _unit(x, axis: tl.constexpr):  # type: ignore[no-untyped-def]
        """Rows of unit length, as torch's `normalize` computes them."""
        length = tl.sqrt(tl.sum(x * x, axis=axis, keep_dims=True))
        return x / tl.maximum(length, 1e-12)

    @triton.jit  # type: ignore[untyped-decorator]
    def _compare(  # type: ignore[no-untyped-def]
        student_BD,
        teacher_BD,
        queue_QD,
        mean_NSD,
        peak_NS,
        total_NS,
        student_factor,
        teacher_factor,
        batch,
        queue,
        share,
        width,
        PADDED: tl.constexpr,
        QUERIES: tl.constexpr,
        KEYS: tl.constexpr,
        SHARES: tl.constexpr,
    ):
        """Compares a block of queries with a share of the keys.

        Stores for each query the largest similarity (as a power of two) and, relative to it, the
        sum of the weights and the weighted sum of the keys.
        """
        blocks = tl.num_programs(0) // 2
        of_teacher = tl.program_id(0) >= blocks
        row_n = tl.program_id(0) % blocks * QUERIES + tl.arange(0, QUERIES)
        column_D = tl.arange(0, PADDED)
        real_n, real_D = row_n < batch, column_D < width
        at_nD = row_n[:, None] * width + column_D[None, :]
        real_nD = real_n[:, None] & real_D[None, :]
        if of_teacher:
            query_nD = _unit(tl.load(teacher_BD + at_nD, real_nD, 0.0), 1) * teacher_factor
        else:
            query_nD = _unit(tl.load(student_BD + at_nD, real_nD, 0.0), 1) * student_factor
        peak_n = tl.full((QUERIES,), float("-inf"), tl.float32)
        total_n = tl.zeros((QUERIES,), tl.float32)
        mean_nD = tl.zeros((QUERIES, PADDED), tl.float32)
        first = tl.program_id(1) * share
        for start in range(first, tl.minimum(first + share, queue + batch), KEYS):
            key_k = start + tl.arange(0, KEYS)
            in_queue_k, real_k = key_k < queue, key_k < queue + batch
            at_kD = key_k.to(tl.int64)[:, None] * width + column_D[None, :]
            key_kD = tl.load(queue_QD + at_kD, in_queue_k[:, None] & real_D[None, :], 0.0)
            in_batch_kD = (real_k & ~in_queue_k)[:, None] & real_D[None, :]
            at_kD = (key_k - queue)[:, None] * width + column_D[None, :]
            key_kD = _unit(key_kD + tl.load(teacher_BD + at_kD, in_batch_kD, 0.0), 1)
            weight_nk = tl.dot(query_nD, tl.trans(key_kD), input_precision="tf32x3")
            weight_nk = tl.where(real_k[None, :], weight_nk, float("-inf"))
            new_peak_n = tl.maximum(peak_n, tl.max(weight_nk, axis=1))
            weight_nk = tl.exp2(weight_nk - new_peak_n[:, None])
            rescale_n = tl.exp2(peak_n - new_peak_n)
            total_n = total_n * rescale_n + tl.sum(weight_nk, axis=1)
            mean_nD = mean_nD * rescale_n[:, None]
            mean_nD = tl.dot(weight_nk, key_kD, mean_nD, input_precision="tf32x3")
            peak_n = new_peak_n
        place_n = (row_n + of_teacher.to(tl.int32) * batch) * SHARES + tl.program_id(1)
        tl.store(peak_NS + place_n, peak_n, real_n)
        tl.store(total_NS + place_n, total_n, real_n)
        at_nD = place_n.to(tl.int64)[:, None] * width + column_D[None, :]
        tl.store(mean_NSD + at_nD, mean_nD, real_nD)

    @triton.jit  # type: ignore[untyped-decorator]
    def _average(  # type: ignore[no-untyped-def]
        mean_NSD, peak_NS, total_NS, query, width, PADDED: tl.constexpr, SHARES: tl.constexpr
    ):
        """One query's average key `[D]`, and the base-2 logarithm of its sum of weights."""
        place_S, column_D = query * SHARES + tl.arange(0, SHARES), tl.arange(0, PADDED)
        peak_S, total_S = tl.load(peak_NS + place_S), tl.load(total_NS + place_S)
        peak = tl.max(peak_S, axis=0)
        weight_S = tl.exp2(peak_S - peak)
        total = tl.sum(weight_S * total_S, axis=0)
        at_SD = place_S.to(tl.int64)[:, None] * width + column_D[None, :]
        mean_SD = tl.load(mean_NSD + at_SD, (column_D < width)[None, :], 0.0)
        return tl.sum(weight_S[:, None] * mean_SD, axis=0) / total, peak + tl.log2(total)

    @triton.jit  # type: ignore[untyped-decorator]
    def _combine(  # type: ignore[no-untyped-def]
        student_BD,
        mean_NSD,
        peak_NS,
        total_NS,
        loss_B,
        gradient_BD,
        student_factor,
        batch,
        width,
        PADDED: tl.constexpr,
        SHARES: tl.constexpr,
    ):
        """One window's loss, and the mean loss's gradient with respect to its student embedding."""
        row, column_D = tl.program_id(0), tl.arange(0, PADDED)
        student_mean_D, log2_total = _average(
            mean_NSD, peak_NS, total_NS, row, width, PADDED, SHARES
        )
        teacher_mean_D, _ = _average(
            mean_NSD, peak_NS, total_NS, row + batch, width, PADDED, SHARES
        )
        at_D = row * width + column_D
        x_D = tl.load(student_BD + at_D, column_D < width, 0.0)
        length = tl.maximum(tl.sqrt(tl.sum(x_D * x_D, axis=0)), 1e-12)
        unit_D = x_D / length
        similarity = tl.sum(unit_D * teacher_mean_D, axis=0) * student_factor
        tl.store(loss_B + row, log2_total * 0.6931471805599453 - similarity)
        by_unit_D = (student_mean_D - teacher_mean_D) * (student_factor / batch)
        along = tl.sum(unit_D * by_unit_D, axis=0)
        tl.store(gradient_BD + at_D, (by_unit_D - unit_D * along) / length, column_D < width)
