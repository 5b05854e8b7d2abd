"""Students and windows small enough for tests."""

from typing import Any

import torch
from torch import Tensor

from comodo.config import CHANNELS, StudentConfig
from comodo.models.students import Student, build_student

DIM = 16  # width of a channel's feature
MANTIS: dict[str, int] = {
    "hidden_dim": DIM,
    "num_patches": 4,
    "hidden_dim_scalar_enc": 4,
    "transf_depth": 2,
    "transf_num_heads": 2,
    "transf_mlp_dim": 32,
    "transf_dim_head": 8,
}
T5: dict[str, int] = {"d_model": DIM, "num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 32}
SIZES: dict[str, dict[str, int]] = {
    "mantis": {**MANTIS, "seq_len": 32},
    "mantis-v2": {**MANTIS, "seq_len": 32, "kernel_size": 5},
    "moment": {**T5, "seq_len": 64},
    "chronos-bolt": {**T5, "input_patch_size": 8},
}
FAMILIES = sorted(SIZES)


def make(name: str, **changes: Any) -> Student:
    """A student in eval mode, from scratch at a tiny size unless weights are named."""
    size = {} if "weights" in changes else SIZES[name]
    settings: Any = {"name": name, "size": size, "channels": CHANNELS, **changes}
    return build_student(StudentConfig.model_construct(**settings)).eval()


def windows(*shape: int) -> Tensor:
    """The same noise of that shape at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def left_padded(lengths: list[int]) -> Tensor:
    """Windows [B, 6, longest] of those lengths."""
    imu = windows(len(lengths), 6, max(lengths))
    for row, length in enumerate(lengths):
        imu[row, :, : max(lengths) - length] = 0
    return imu
