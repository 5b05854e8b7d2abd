"""Encoders of supervised classifiers that are not foundation models: DLinear, Informer, TimesNet.

Each encodes all channels of a window together. Its feature is its activations at all time steps;
with the linear layer that the method `supervised` adds, it is the classifier that papers compare
with. This module does not know that layer, nor how anything is trained.

Shape letters: B batch, C channels, T samples, D width of the model, H heads, E width of a head,
L length of a sequence, S sampled keys, K periods, F frequencies, R rows of P samples.
"""

import math
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comodo.data.resize import by_group, resized
from comodo.models.encoders import Encoder


class DLinear(nn.Module):
    """DLinear (arXiv 2205.13504): a linear layer over time for the trend, and one for the rest.

    Maps `[B, C, T]` to `[B, C, T]`. All channels share the layers, as is usual for classification.
    """

    def __init__(self, channels: int, seq_len: int = 1000, moving_average: int = 25) -> None:
        super().__init__()
        if moving_average % 2 == 0:
            raise ValueError(f"moving_average {moving_average}: must be odd")
        self.moving_average = moving_average
        self.trend, self.rest = nn.Linear(seq_len, seq_len), nn.Linear(seq_len, seq_len)
        for layer in (self.trend, self.rest):
            nn.init.constant_(layer.weight, 1 / seq_len)
        self.dim = channels * seq_len

    def forward(self, x_BCT: Tensor) -> Tensor:
        trend_BCT, rest_BCT = decompose(x_BCT, self.moving_average)
        return self.trend(trend_BCT) + self.rest(rest_BCT)


def decompose(x_BCT: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The moving average over `width` samples, with the ends repeated, and the remainder."""
    padded = functional.pad(x_BCT, (width // 2, width // 2), mode="replicate")
    trend_BCT = functional.avg_pool1d(padded, width, stride=1)
    return trend_BCT, x_BCT - trend_BCT


class Embedding(nn.Module):
    """Maps `[B, C, T]` to `[B, T, D]`: a convolution over time plus sinusoidal positions."""

    position_TD: Tensor

    def __init__(self, channels: int, seq_len: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.value = nn.Conv1d(channels, d_model, 3, padding="same", padding_mode="circular",
                               bias=False)  # fmt: skip
        nn.init.kaiming_normal_(self.value.weight, nonlinearity="leaky_relu")
        rate = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000) / d_model))
        angle = torch.arange(seq_len).unsqueeze(1) * rate
        position_TD = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :d_model]
        self.register_buffer("position_TD", position_TD, persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        return self.dropout(self.value(x_BCT).mT + self.position_TD)


class Informer(nn.Module):
    """The encoder of Informer (arXiv 2012.07436): maps `[B, C, T]` to `[B, L, D]`.

    With `distil`, each layer but the last is followed by one that halves the length, as in the
    paper, but not in the library that uses Informer for classification.
    """

    def __init__(
        self,
        channels: int,
        seq_len: int = 1000,
        d_model: int = 128,
        heads: int = 8,
        layers: int = 3,
        d_ff: int = 256,
        factor: int = 5,
        distil: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if d_model % heads:
            raise ValueError(f"d_model {d_model} is not a multiple of heads {heads}")
        self.embedding = Embedding(channels, seq_len, d_model, dropout)
        self.layers = nn.Sequential()
        for layer in range(layers):
            if layer and distil:
                self.layers.append(HalvingConv(d_model))
                seq_len = (seq_len + 1) // 2
            self.layers.append(InformerLayer(d_model, heads, d_ff, factor, dropout))
        self.last = nn.Sequential(nn.LayerNorm(d_model), nn.GELU(), nn.Dropout(dropout))
        self.dim = seq_len * d_model

    def forward(self, x_BCT: Tensor) -> Tensor:
        return self.last(self.layers(self.embedding(x_BCT)))


class InformerLayer(nn.Module):
    """A transformer layer with ProbSparse self-attention."""

    def __init__(self, d_model: int, heads: int, d_ff: int, factor: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.factor = heads, factor
        self.project, self.join = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.wide, self.narrow = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.first, self.second = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        parts = self.project(x_BLD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BHLE, key_BHLE, value_BHLE = parts.unbind()
        fixed = not self.training  # in evaluation a window must always give the same feature
        attended_BHLE = probsparse_attention(query_BHLE, key_BHLE, value_BHLE, self.factor, fixed)
        joined_BLD = self.join(attended_BHLE.transpose(1, 2).flatten(2))
        x_BLD = self.first(x_BLD + self.dropout(joined_BLD))
        inner = self.dropout(functional.gelu(self.wide(x_BLD)))
        return self.second(x_BLD + self.dropout(self.narrow(inner)))


def probsparse_attention(
    query_BHLE: Tensor, key_BHLE: Tensor, value_BHLE: Tensor, factor: int, fixed: bool = False
) -> Tensor:
    """ProbSparse attention (arXiv 2012.07436): only the most active queries attend.

    A query's activity is the maximum minus the mean of its products with `factor * ln L` sampled
    keys. The same number of queries attends; all others get the mean of the values. `fixed`
    samples the same keys at every call instead of drawing them from torch's generator.
    """
    length = key_BHLE.shape[2]
    kept = min(length, factor * math.ceil(math.log(length)))
    key_SL = _fixed_keys(kept, length) if fixed else torch.randint(length, (kept, length))
    key_SL = key_SL.to(key_BHLE.device)
    with torch.no_grad():  # one key at a time, because all sampled keys together need much memory
        scores = [(query_BHLE * key_BHLE[:, :, key_L]).sum(3) for key_L in key_SL]
        score_SBHL = torch.stack(scores)
        top_BHS = (score_SBHL.amax(0) - score_SBHL.mean(0)).topk(kept).indices
    index_BHSE = top_BHS.unsqueeze(3).expand(-1, -1, -1, query_BHLE.shape[3])
    active_BHSE = query_BHLE.gather(2, index_BHSE)
    attended_BHSE = functional.scaled_dot_product_attention(active_BHSE, key_BHLE, value_BHLE)
    mean_BHLE = value_BHLE.mean(2, keepdim=True).expand_as(value_BHLE)
    return mean_BHLE.scatter(2, index_BHSE, attended_BHSE.to(mean_BHLE.dtype))


@cache
def _fixed_keys(kept: int, length: int) -> Tensor:
    """Cached, because an exported program can contain a tensor but no generator."""
    with torch.inference_mode(False):  # an inference tensor cannot be used in training
        return torch.randint(length, (kept, length), generator=torch.Generator().manual_seed(0))


class HalvingConv(nn.Module):
    """Informer's "distilling" layer: convolution, batch norm, ELU and max pooling with stride 2."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(d_model, d_model, 3, padding="same", padding_mode="circular")
        pooling = nn.MaxPool1d(3, stride=2, padding=1)
        self.steps = nn.Sequential(convolution, nn.BatchNorm1d(d_model), nn.ELU(), pooling)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.steps(x_BLD.mT).mT


class TimesNet(nn.Module):
    """TimesNet (arXiv 2210.02186): 2-D convolutions over windows folded by their periods.

    Maps `[B, C, T]` to `[B, T, D]`. The published code takes the strongest periods of the batch's
    mean spectrum. Here each window has its own, so its feature does not depend on its batch.
    """

    def __init__(
        self,
        channels: int,
        seq_len: int = 1000,
        d_model: int = 32,
        d_ff: int = 64,
        periods: int = 5,
        kernels: int = 6,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if periods > seq_len // 2:
            raise ValueError(f"periods {periods}: {seq_len} samples have at most {seq_len // 2}")
        self.embedding = Embedding(channels, seq_len, d_model, dropout)
        blocks = (TimesBlock(d_model, d_ff, periods, kernels) for _ in range(layers))
        self.blocks = nn.ModuleList(blocks)
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)
        self.dim = seq_len * d_model

    def forward(self, x_BCT: Tensor) -> Tensor:
        x_BTD: Tensor = self.embedding(x_BCT)
        for block in self.blocks:
            x_BTD = self.norm(block(x_BTD))
        return self.dropout(functional.gelu(x_BTD))


class TimesBlock(nn.Module):
    """Two inception convolutions per period of a window, averaged by the periods' amplitudes."""

    def __init__(self, d_model: int, d_ff: int, periods: int, kernels: int) -> None:
        super().__init__()
        self.periods = periods
        self.wide = Inception(d_model, d_ff, kernels)
        self.narrow = Inception(d_ff, d_model, kernels)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            raise ValueError("TimesNet cannot be exported: it folds each window by its own periods")
        period_BK, strength_BK = strongest_periods(x_BTD, self.periods)
        wide, narrow = self.wide.single_convolution(), self.narrow.single_convolution()

        def convolve(period: int, rows: list[int]) -> Tensor:
            folded_BDRP = fold_by_period(x_BTD[[row // self.periods for row in rows]], period)
            inner = functional.gelu(functional.conv2d(folded_BDRP, *wide, padding="same"))
            return unfold_period(functional.conv2d(inner, *narrow, padding="same"), x_BTD.shape[1])

        convolved = by_group(period_BK.flatten().tolist(), convolve).unflatten(0, period_BK.shape)
        weight_BK11 = strength_BK.softmax(1)[..., None, None]
        return x_BTD + (convolved * weight_BK11).sum(1)


def strongest_periods(x_BTD: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The periods `[B, K]`, in samples, of the strongest frequencies, and their amplitudes."""
    amplitude_BF = torch.fft.rfft(x_BTD.float(), dim=1).abs().mean(2)
    strength_BK, index_BK = amplitude_BF[:, 1:].topk(count)  # without frequency 0
    return x_BTD.shape[1] // (index_BK + 1), strength_BK


def fold_by_period(x_BTD: Tensor, period: int) -> Tensor:
    """`[B, D, R, P]`: one row per period, the last row padded with zeros."""
    missing = -x_BTD.shape[1] % period
    padded = functional.pad(x_BTD, (0, 0, 0, missing))
    return padded.unflatten(1, (-1, period)).permute(0, 3, 1, 2)


def unfold_period(x_BDRP: Tensor, samples: int) -> Tensor:
    """The inverse of `fold_by_period` for windows of `samples` samples: `[B, T, D]`."""
    return x_BDRP.permute(0, 2, 3, 1).flatten(1, 2)[:, :samples]


class Inception(nn.Module):
    """The mean of square convolutions of width 1, 3, 5, ..., which equals one convolution."""

    def __init__(self, in_width: int, out_width: int, kernels: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.empty(out_width, in_width, side, side) for side in range(1, 2 * kernels, 2)
        )
        self.biases = nn.Parameter(torch.zeros(kernels, out_width))
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    def single_convolution(self) -> tuple[Tensor, Tensor]:
        """Weight `[out, in, side, side]` and bias `[out]` of the one convolution."""
        widest = len(self.weights) - 1
        padded = [functional.pad(w, [widest - i] * 4) for i, w in enumerate(self.weights)]
        return torch.stack(padded).mean(0), self.biases.mean(0)


class BaselineEncoder(Encoder):
    """One of the networks above as an `Encoder`; its configuration is the network's arguments.

    Windows are resized to `seq_len` samples, and each channel is standardised over the training
    windows, as the libraries of these models do with their data sets.
    """

    JOINT = True
    ONLY_LABELS = True
    SAMPLES = 1000
    library: type[Any]
    samples: int

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = self.library(**config)
        self.samples = config.get("seq_len", self.SAMPLES)
        self.standardise = nn.BatchNorm1d(config["channels"], momentum=None, affine=False)
        self.dim = self.network.dim

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        x_BCT = self.standardise(resized(imu_BCT, lengths, self.samples))
        return self.network(x_BCT).flatten(1).unsqueeze(1)


class DLinearEncoder(BaselineEncoder):
    name = "dlinear"
    SIZE: ClassVar[Collection[str]] = ("seq_len", "moving_average")
    TINY: ClassVar[Mapping[str, int]] = {"seq_len": 64}
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {"dlinear": {"name": "dlinear"}}
    library = DLinear


class InformerEncoder(BaselineEncoder):
    name = "informer"
    SIZE: ClassVar[Collection[str]] = (
        "seq_len", "d_model", "heads", "layers", "d_ff", "factor", "distil", "dropout",
    )  # fmt: skip
    TINY: ClassVar[Mapping[str, int]] = {
        "seq_len": 64, "d_model": 16, "heads": 2, "layers": 2, "d_ff": 32,
    }  # fmt: skip
    # The size is that in the names of the published results, also of `timesnet-published`; those
    # of `dlinear` have the default one.
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "informer": {"name": "informer"},
        "informer-published": {"name": "informer", "size": {"factor": 1, "distil": 0}},
    }
    library = Informer


class TimesNetEncoder(BaselineEncoder):
    name = "timesnet"
    SIZE: ClassVar[Collection[str]] = (
        "seq_len", "d_model", "d_ff", "periods", "kernels", "layers", "dropout",
    )  # fmt: skip
    TINY: ClassVar[Mapping[str, int]] = {
        "seq_len": 64, "d_model": 8, "d_ff": 16, "periods": 2, "kernels": 2, "layers": 1,
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "timesnet": {"name": "timesnet"},
        "timesnet-published": {"name": "timesnet", "size": {"layers": 3}},
    }
    library = TimesNet
