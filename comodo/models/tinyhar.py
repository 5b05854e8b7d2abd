"""A small recurrent student, which encodes all channels together.

The five stages of TinyHAR (Zhou et al. 2022, "TinyHAR: A Lightweight Deep Learning Model Designed
for Human Activity Recognition", ISWC 2022, doi 10.1145/3544794.3558467) with the published order,
depth and residual weights that start at 0. Different are: group normalisation (Wu and He 2018,
arXiv 1803.08494) in place of batch normalisation, and no dropout, so that a window's feature never
depends on its batch or on what was trained on before; padding, so that short windows fit; each
channel is given twice, as to the CNN; 32 filters.

Shape letters: B batch, C channels, T samples, L steps after the convolutions, F filters, W width of
a step's vector (2 F).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from comodo.data.resize import resized
from comodo.models.cnn import GROUPS, shape_and_strength
from comodo.models.encoders import Encoder

STRIDES = (1, 2, 1, 2)  # of the convolutions


class ChannelAttention(nn.Module):
    """Self-attention between the channels of one step, `[..., C, F]` to `[..., C, F]`: what the
    channels say to each other is added, times `gain`, which is trained from 0. Not scaled by the
    square root of F, as published."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x_BLCF: Tensor) -> Tensor:
        weight_BLCC = (self.query(x_BLCF) @ self.key(x_BLCF).mT).softmax(dim=-1)
        return x_BLCF + self.gain * (weight_BLCC @ self.value(x_BLCF))


class WeightedSteps(nn.Module):
    """The last of the steps `[B, L, W]` plus their weighted mean, times `gain`, which is trained
    from 0: `[B, W]`. The weights are a softmax over the steps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.score = nn.Linear(width, width), nn.Linear(width, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x_BLW: Tensor) -> Tensor:
        weight_BL1 = self.score(self.inner(x_BLW).tanh()).softmax(dim=1)
        return x_BLW[:, -1] + self.gain * (weight_BL1 * x_BLW).sum(dim=1)


class TinyHar(nn.Module):
    """Maps `[B, C, 2, T]`, two series of each channel, to `[B, W]`."""

    def __init__(self, channels: int, filters: int, kernel: int) -> None:
        super().__init__()
        width, half = 2 * filters, kernel // 2
        layers = list[nn.Module]()
        for inputs, stride in zip((2, filters, filters, filters), STRIDES, strict=True):
            convolution = nn.Conv1d(inputs, filters, kernel, stride, half)
            layers += [convolution, nn.ReLU(), nn.GroupNorm(GROUPS, filters)]
        self.convolutions = nn.Sequential(*layers)  # the same for each channel
        self.interaction = ChannelAttention(filters)
        self.fusion = nn.Linear(channels * filters, width)
        self.recurrent = nn.LSTM(width, width, batch_first=True)
        self.aggregation = WeightedSteps(width)

    def forward(self, x_BC2T: Tensor) -> Tensor:
        channels = x_BC2T.shape[1]
        each_BCFL = self.convolutions(x_BC2T.flatten(0, 1)).unflatten(0, (-1, channels))
        together_BLCF = self.interaction(each_BCFL.permute(0, 3, 1, 2))
        fused_BLW = self.fusion(together_BLCF.flatten(2)).relu()
        step_BLW, _ = self.recurrent(fused_BLW)
        feature_BW: Tensor = self.aggregation(step_BLW)
        return feature_BW


class TinyHarEncoder(Encoder):
    """Windows are resized to `seq_len` samples; `filters` is the number of filters that all
    channels share, and half the width of the feature. 270 KB of weights for six channels."""

    name = "tinyhar"
    SIZE: ClassVar[dict[str, int]] = {"seq_len": 256, "filters": 32, "kernel": 5}  # with defaults
    SAMPLES = 256
    TINY: ClassVar[Mapping[str, int]] = {"seq_len": 64, "filters": 8}
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {"tinyhar": {"name": "tinyhar"}}
    JOINT = True
    samples: int

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        config = self.SIZE | config
        self.samples, filters, kernel = config["seq_len"], config["filters"], config["kernel"]
        if filters % GROUPS or kernel % 2 == 0:
            raise ValueError(f"size of tinyhar: filters must be a multiple of {GROUPS}, kernel odd")
        self.network = TinyHar(config["channels"], filters, kernel)
        self.dim = 2 * filters

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        both = shape_and_strength(resized(imu_BCT, lengths, self.samples))
        feature_BW: Tensor = self.network(torch.stack(both, dim=2))
        return feature_BW.unsqueeze(1)
