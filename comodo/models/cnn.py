"""A small convolutional student, which encodes all channels together.

A residual network (He et al. 2016, arXiv 1512.03385) over time with group normalisation (Wu and He
2018, arXiv 1803.08494), so that a window's feature never depends on its batch or on what was
trained on before.

Shape letters: B batch, C channels, T samples, W width of a layer.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comodo.data.resize import resized
from comodo.models.encoders import Encoder

GROUPS = 8
STAGES = (1, 2, 4)  # widths of the residual blocks, of the first one's; each block halves the rate
SILENCE = 1e-3  # g, deg/s; a channel with a smaller deviation has no shape to normalise


def shape_and_strength(imu_BCT: Tensor) -> tuple[Tensor, Tensor]:
    """Each channel twice: standardised in the window, which shows its shape, and as its inverse
    hyperbolic sine, linear up to 1 g or deg/s and logarithmic above, which shows gravity and
    strength."""
    mean_BC1 = imu_BCT.mean(dim=2, keepdim=True)
    deviation_BC1 = imu_BCT.std(dim=2, keepdim=True, correction=0).clamp(min=SILENCE)
    return (imu_BCT - mean_BC1) / deviation_BC1, imu_BCT.asinh()


class ResidualBlock(nn.Module):
    """Two convolutions next to a shortcut: `[B, W, T]` to `[B, width, T / stride]`."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        half = kernel // 2
        self.first = nn.Conv1d(inputs, width, kernel, stride, half, bias=False)
        self.second = nn.Conv1d(width, width, kernel, 1, half, bias=False)
        self.shortcut = nn.Conv1d(inputs, width, 1, stride, bias=False)
        self.first_norm, self.second_norm = (nn.GroupNorm(GROUPS, width) for _ in range(2))

    def forward(self, x_BWT: Tensor) -> Tensor:
        inner_BWT = functional.relu(self.first_norm(self.first(x_BWT)))
        return functional.relu(self.second_norm(self.second(inner_BWT)) + self.shortcut(x_BWT))


class CnnEncoder(Encoder):
    """Windows are resized to `seq_len` samples, and each channel is given twice, by
    `shape_and_strength`. The feature is the mean and the largest value of the last layer over time.
    """

    name = "cnn"
    SIZE: ClassVar[dict[str, int]] = {"seq_len": 256, "width": 32, "kernel": 5}  # with defaults
    SAMPLES = 256
    TINY: ClassVar[Mapping[str, int]] = {"seq_len": 64, "width": 8}
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {"cnn": {"name": "cnn"}}
    JOINT = True
    samples: int

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        config = self.SIZE | config
        self.samples, width, kernel = config["seq_len"], config["width"], config["kernel"]
        if width % GROUPS or kernel % 2 == 0:
            raise ValueError(f"size of cnn: width must be a multiple of {GROUPS}, kernel odd")
        widths = [width * factor for factor in STAGES]
        stem = nn.Conv1d(2 * config["channels"], width, kernel, 2, kernel // 2)
        blocks = [
            ResidualBlock(inputs, outputs, kernel, 2)
            for inputs, outputs in zip([width, *widths], widths, strict=False)
        ]
        self.network = nn.Sequential(stem, *blocks)
        self.dim = 2 * widths[-1]

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        both = shape_and_strength(resized(imu_BCT, lengths, self.samples))
        last_BWT = self.network(torch.cat(both, dim=1))
        return torch.cat([last_BWT.mean(dim=2), last_BWT.amax(dim=2)], dim=1).unsqueeze(1)
