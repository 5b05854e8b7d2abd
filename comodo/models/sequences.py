"""Windows of unequal lengths through a network, so that no result depends on the rest of a batch.

This file does not know which network that is.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from comodo.data.resize import by_group

# Samples encoded at once on a CPU, where larger working sets leave the cache: of float32, and of
# numbers half as long.
_AT_ONCE_CPU, _AT_ONCE_CPU_BF16 = 2**15, 2**16


def in_chunks(encode: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """encode(*inputs), of sequences `[N, ..., T]` and what belongs to them; on a CPU in chunks.

    An exported program takes them all at once: it must not know how many there are.
    """
    if inputs[0].device.type != "cpu" or torch.compiler.is_exporting():
        return encode(*inputs)
    at_once = _AT_ONCE_CPU_BF16 if torch.is_autocast_enabled("cpu") else _AT_ONCE_CPU
    count = max(1, at_once // inputs[0].shape[-1])
    chunks = zip(*(rows.split(count) for rows in inputs), strict=True)
    return torch.cat([encode(*chunk) for chunk in chunks])


def in_patches(
    encode: Callable[[Tensor, Tensor], Tensor],
    imu_BCT: Tensor,
    lengths: list[int] | None,
    patch: int,
    at_least: int = 0,
) -> Tensor:
    """Features [B, C, D], from encode(samples [N, T], which of them are real [N, T]) -> [N, D].

    Each window's last `length` samples (None: all) are left-padded with zeros to whole patches and
    to no fewer than `at_least` samples, never to the batch's longest.
    """

    def width_of(length: int) -> int:
        return -(-max(at_least, length) // patch) * patch

    def pad(rows_BCT: Tensor, width: int, length_B1: Tensor) -> Tensor:
        x_BCT = functional.pad(rows_BCT, (width - rows_BCT.shape[-1], 0))
        # Real is what lies no further from the end than the window is long.
        real_BT = torch.arange(width, 0, -1, device=x_BCT.device) <= length_B1
        x_BCT = x_BCT.masked_fill(~real_BT.unsqueeze(1), 0)
        real_NT = real_BT.repeat_interleave(x_BCT.shape[1], dim=0)
        return in_chunks(encode, x_BCT.flatten(0, 1), real_NT).unflatten(0, x_BCT.shape[:2])

    if lengths is None:
        samples = imu_BCT.shape[-1]
        length_B1 = torch.full((imu_BCT.shape[0], 1), samples, device=imu_BCT.device)
        return pad(imu_BCT, width_of(samples), length_B1)

    def pad_rows(width: int, rows: list[int]) -> Tensor:
        length_B = torch.tensor([lengths[row] for row in rows], device=imu_BCT.device)
        return pad(imu_BCT[rows], width, length_B.unsqueeze(1))

    return by_group([width_of(length) for length in lengths], pad_rows)
