"""Windows of unequal lengths resized to one length."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def by_group(keys: list[int], apply: Callable[[int, list[int]], Tensor]) -> Tensor:
    """Calls `apply(key, rows with that key)` for each key; returns all results in row order."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    grouped = torch.cat([apply(key, rows) for key, rows in groups.items()])
    order = [row for rows in groups.values() for row in rows]
    return grouped[torch.tensor(order).argsort()]


def resized(imu_BCT: Tensor, lengths: list[int] | None, samples: int) -> Tensor:
    """Each window's last `length` samples (None: all), linearly interpolated to `samples`:
    `[B, C, samples]`."""

    def resize(real_BCT: Tensor) -> Tensor:
        if real_BCT.shape[-1] == samples:
            return real_BCT
        return functional.interpolate(real_BCT, size=samples, mode="linear", align_corners=False)

    if lengths is None:
        return resize(imu_BCT)
    return by_group(lengths, lambda length, rows: resize(imu_BCT[rows, :, -length:]))
