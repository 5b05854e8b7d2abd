"""Windows of unequal lengths through a network, so that no result depends on the rest of a batch.

This file does not know which network that is.

Shape letters: B batch, C channels, T samples, D feature width, N sequences (one channel each).
"""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# Sequences encoded at once on a CPU, where larger working sets leave the cache.
_AT_ONCE_CPU = 64


def by_group(keys: list[int], apply: Callable[[int, list[int]], Tensor]) -> Tensor:
    """Stack apply(key, rows with that key) over all keys, rows back in their order."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    grouped = torch.cat([apply(key, rows) for key, rows in groups.items()])
    order = [row for rows in groups.values() for row in rows]
    return grouped[torch.tensor(order).argsort()]


def resized(imu_BCT: Tensor, lengths: list[int], samples: int) -> Tensor:
    """Each window's last `length` samples, linearly interpolated to `[B, C, samples]`."""

    def resize(length: int, rows: list[int]) -> Tensor:
        real_BCT = imu_BCT[rows, :, -length:]
        return functional.interpolate(real_BCT, size=samples, mode="linear", align_corners=False)

    return by_group(lengths, resize)


def in_chunks(encode: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """encode(*inputs), on a CPU some rows at a time."""
    if inputs[0].device.type != "cpu":
        return encode(*inputs)
    chunks = zip(*(rows.split(_AT_ONCE_CPU) for rows in inputs), strict=True)
    return torch.cat([encode(*chunk) for chunk in chunks])


def in_patches(
    encode: Callable[[Tensor, Tensor], Tensor],
    imu_BCT: Tensor,
    lengths: list[int],
    patch: int,
    at_least: int = 0,
) -> Tensor:
    """Features [B, C, D], from encode(samples [N, T], which of them are real [N, T]) -> [N, D].

    Each window's last `length` samples are left-padded with zeros to whole patches and to no fewer
    than `at_least` samples, never to the batch's longest.
    """
    widths = [-(-max(at_least, length) // patch) * patch for length in lengths]

    def pad(width: int, rows: list[int]) -> Tensor:
        x_BCT = functional.pad(imu_BCT[rows], (width - imu_BCT.shape[-1], 0))
        length_B = torch.tensor([lengths[row] for row in rows], device=x_BCT.device)
        # Real is what lies no further from the end than the window is long.
        real_BT = torch.arange(width, 0, -1, device=x_BCT.device) <= length_B.unsqueeze(1)
        x_BCT = x_BCT.masked_fill(~real_BT.unsqueeze(1), 0)
        real_NT = real_BT.repeat_interleave(x_BCT.shape[1], dim=0)
        return in_chunks(encode, x_BCT.flatten(0, 1), real_NT).unflatten(0, x_BCT.shape[:2])

    return by_group(widths, pad)
