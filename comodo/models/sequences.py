"""Encoding windows of different lengths with any network, each independently of its batch.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from comodo.data.resize import by_group

# Samples in a chunk on a CPU, in float32 and in bf16: the working set should stay in the cache.
_CHUNK_SAMPLES_CPU, _CHUNK_SAMPLES_CPU_BF16 = 2**15, 2**16


def in_chunks(encode: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """encode(*inputs), on a CPU in chunks along the first dimension.

    The first input holds sequences `[N, ..., T]`; the others have a row for each of them. There are
    no chunks in an exported program, whose N is not fixed.
    """
    if inputs[0].device.type != "cpu" or torch.compiler.is_exporting():
        return encode(*inputs)
    bf16 = torch.is_autocast_enabled("cpu")
    samples = _CHUNK_SAMPLES_CPU_BF16 if bf16 else _CHUNK_SAMPLES_CPU
    count = max(1, samples // inputs[0].shape[-1])
    chunks = zip(*(rows.split(count) for rows in inputs), strict=True)
    return torch.cat([encode(*chunk) for chunk in chunks])


def in_patches(
    encode: Callable[[Tensor, Tensor], Tensor],
    imu_BCT: Tensor,
    lengths: list[int] | None,
    patch: int,
    min_samples: int = 0,
    to_batch: bool = False,
) -> Tensor:
    """Features `[B, C, D]` of windows that are left-padded with zeros to at least `min_samples`
    and to whole patches of `patch` samples, but never to the longest of the batch; with `to_batch`
    all to T or, if that is more, `min_samples`, whole patches or not.

    `encode` computes features `[N, D]` from samples `[N, T]` and a mask of the real ones `[N, T]`:
    the last `lengths` samples of each window; None: all.
    """

    samples = imu_BCT.shape[-1]

    def padded_length(length: int) -> int:
        if to_batch:
            return max(min_samples, samples)
        return -(-max(min_samples, length) // patch) * patch

    def pad(rows_BCT: Tensor, width: int, length_B1: Tensor) -> Tensor:
        x_BCT = functional.pad(rows_BCT, (width - rows_BCT.shape[-1], 0))
        real_BT = torch.arange(width, 0, -1, device=x_BCT.device) <= length_B1
        x_BCT = x_BCT.masked_fill(~real_BT.unsqueeze(1), 0)
        real_NT = real_BT.repeat_interleave(x_BCT.shape[1], dim=0)
        return in_chunks(encode, x_BCT.flatten(0, 1), real_NT).unflatten(0, x_BCT.shape[:2])

    if lengths is None:
        length_B1 = torch.full((imu_BCT.shape[0], 1), samples, device=imu_BCT.device)
        return pad(imu_BCT, padded_length(samples), length_B1)

    def pad_rows(width: int, rows: list[int]) -> Tensor:
        length_B = torch.tensor([lengths[row] for row in rows], device=imu_BCT.device)
        return pad(imu_BCT[rows], width, length_B.unsqueeze(1))

    return by_group([padded_length(length) for length in lengths], pad_rows)
