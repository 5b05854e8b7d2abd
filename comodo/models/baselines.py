"""Supervised classifiers that are no foundation models: DLinear, Informer and TimesNet.

Each looks at all channels of a window together and gives one long feature, its activations at all
times side by side; the linear layer that training with labels puts on top makes it the classifier
that papers compare with. This file does not know that layer, nor how anything is trained.

Shape letters: B batch, C channels, T samples, D width of the model, H heads, E width of a head,
L length of a sequence, S sampled keys, K periods, F frequencies, R rows of P samples.
"""

import inspect
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from comodo.config.trial import RESIZED_TO
from comodo.data.resize import by_group, resized
from comodo.models.encoders import Encoder


class DLinear(nn.Module):
    """Trend and rest of each channel, each through one linear layer over time (arXiv 2205.13504).

    Channels share the layers, as is usual where it classifies. Gives `[B, C, T]` of `[B, C, T]`.
    """

    def __init__(self, channels: int, seq_len: int = 1000, moving_average: int = 25) -> None:
        super().__init__()
        if moving_average % 2 == 0:
            raise ValueError(f"moving_average {moving_average} has no middle; take an odd number")
        self.moving_average = moving_average
        self.trend, self.rest = nn.Linear(seq_len, seq_len), nn.Linear(seq_len, seq_len)
        for layer in (self.trend, self.rest):
            nn.init.constant_(layer.weight, 1 / seq_len)
        self.dim = channels * seq_len

    def forward(self, x_BCT: Tensor) -> Tensor:
        trend_BCT, rest_BCT = decompose(x_BCT, self.moving_average)
        feature_BCT: Tensor = self.trend(trend_BCT) + self.rest(rest_BCT)
        return feature_BCT


def decompose(x_BCT: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The moving average over `width` samples, the ends repeated, and what it leaves."""
    padded = functional.pad(x_BCT, (width // 2, width // 2), mode="replicate")
    trend_BCT = functional.avg_pool1d(padded, width, stride=1)
    return trend_BCT, x_BCT - trend_BCT


class Embedding(nn.Module):
    """`[B, T, D]` of `[B, C, T]`: a convolution over three samples, and sines for the place."""

    place_TD: Tensor

    def __init__(self, channels: int, seq_len: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.value = nn.Conv1d(channels, d_model, 3, padding="same", padding_mode="circular",
                               bias=False)  # fmt: skip
        nn.init.kaiming_normal_(self.value.weight, nonlinearity="leaky_relu")
        rate = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000) / d_model))
        angle = torch.arange(seq_len).unsqueeze(1) * rate
        place_TD = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :d_model]
        self.register_buffer("place_TD", place_TD, persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        embedded_BTD: Tensor = self.dropout(self.value(x_BCT).mT + self.place_TD)
        return embedded_BTD


class Informer(nn.Module):
    """The encoder of Informer (arXiv 2012.07436): `[B, L, D]` of `[B, C, T]`.

    With `distil` each layer but the last halves the length, as in the paper; the library that
    classifies with it leaves that out.
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
        feature_BLD: Tensor = self.last(self.layers(self.embedding(x_BCT)))
        return feature_BLD


class InformerLayer(nn.Module):
    """Sparse self-attention and a layer of its own for each place, each beside a shortcut."""

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
        # Measured with one fixed draw of keys, or a window would come out another at each look.
        attended_BHLE = probsparse_attention(
            query_BHLE, key_BHLE, value_BHLE, self.factor, fixed=not self.training
        )
        joined_BLD = self.join(attended_BHLE.transpose(1, 2).flatten(2))
        x_BLD = self.first(x_BLD + self.dropout(joined_BLD))
        inner = self.dropout(functional.gelu(self.wide(x_BLD)))
        out_BLD: Tensor = self.second(x_BLD + self.dropout(self.narrow(inner)))
        return out_BLD


def probsparse_attention(
    query_BHLE: Tensor,
    key_BHLE: Tensor,
    value_BHLE: Tensor,
    factor: int,
    fixed: bool = False,
) -> Tensor:
    """ProbSparse attention: the queries that stand out attend, all others get the mean value.

    A query stands out by the largest less the mean of its products with `factor * ln L` keys,
    drawn for each query (by torch's own generator, or always the same); as many queries attend.
    """
    length = key_BHLE.shape[2]
    kept = min(length, factor * math.ceil(math.log(length)))
    key_SL = _fixed_draw(kept, length) if fixed else torch.randint(length, (kept, length))
    key_SL = key_SL.to(key_BHLE.device)
    with torch.no_grad():  # a key at a time: all sampled keys together would be the largest tensor
        scores = [(query_BHLE * key_BHLE[:, :, key_L]).sum(3) for key_L in key_SL]
        score_SBHL = torch.stack(scores)
        top_BHS = (score_SBHL.amax(0) - score_SBHL.mean(0)).topk(kept).indices
    place_BHSE = top_BHS.unsqueeze(3).expand(-1, -1, -1, query_BHLE.shape[3])
    attended_BHSE = functional.scaled_dot_product_attention(
        query_BHLE.gather(2, place_BHSE), key_BHLE, value_BHLE
    )
    mean_BHLE = value_BHLE.mean(2, keepdim=True).expand_as(value_BHLE)
    return mean_BHLE.scatter(2, place_BHSE, attended_BHSE.to(mean_BHLE.dtype))


@cache
def _fixed_draw(kept: int, length: int) -> Tensor:
    """Kept, for an exported program can hold a tensor and no generator."""
    with torch.inference_mode(False):  # or gradients could not pass what measuring has kept
        return torch.randint(length, (kept, length), generator=torch.Generator().manual_seed(0))


class HalvingConv(nn.Module):
    """Half the length: convolution, normalisation, ELU and the largest of three neighbours."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.Conv1d(d_model, d_model, 3, padding="same", padding_mode="circular"),
            nn.BatchNorm1d(d_model),
            nn.ELU(),
            nn.MaxPool1d(3, stride=2, padding=1),
        )

    def forward(self, x_BLD: Tensor) -> Tensor:
        halved_BLD: Tensor = self.steps(x_BLD.mT).mT
        return halved_BLD


class TimesNet(nn.Module):
    """Convolutions over a window folded by its strongest periods (arXiv 2210.02186).

    Gives `[B, T, D]` of `[B, C, T]`. The published code takes the strongest periods of the batch's
    mean spectrum; here they are each window's own, so that no window depends on its batch.
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
            raise ValueError(f"{seq_len} samples have no {periods} periods")
        self.embedding = Embedding(channels, seq_len, d_model, dropout)
        self.blocks = nn.ModuleList(
            TimesBlock(d_model, d_ff, periods, kernels) for _ in range(layers)
        )
        self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)
        self.dim = seq_len * d_model

    def forward(self, x_BCT: Tensor) -> Tensor:
        x_BTD: Tensor = self.embedding(x_BCT)
        for block in self.blocks:
            x_BTD = self.norm(block(x_BTD))
        dropped_BTD: Tensor = self.dropout(functional.gelu(x_BTD))
        return dropped_BTD


class TimesBlock(nn.Module):
    """Two inception convolutions of a window folded by each of its periods, by their strength."""

    def __init__(self, d_model: int, d_ff: int, periods: int, kernels: int) -> None:
        super().__init__()
        self.periods = periods
        self.wide = Inception(d_model, d_ff, kernels)
        self.narrow = Inception(d_ff, d_model, kernels)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            raise ValueError("it folds each window by periods of its own, which no program can")
        period_BK, strength_BK = strongest_periods(x_BTD, self.periods)
        wide, narrow = self.wide.merged(), self.narrow.merged()

        def vary(period: int, rows: list[int]) -> Tensor:
            folded_BDRP = fold_by_period(x_BTD[[row // self.periods for row in rows]], period)
            inner = functional.gelu(functional.conv2d(folded_BDRP, *wide, padding="same"))
            return unfold_period(functional.conv2d(inner, *narrow, padding="same"), x_BTD.shape[1])

        varied = by_group(period_BK.flatten().tolist(), vary).unflatten(0, period_BK.shape)
        weight_BK11 = strength_BK.softmax(1)[..., None, None]
        return x_BTD + (varied * weight_BK11).sum(1)


def strongest_periods(x_BTD: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Periods `[B, K]` in samples of each window's strongest frequencies, and their amplitudes."""
    amplitude_BF = torch.fft.rfft(x_BTD.float(), dim=1).abs().mean(2)
    strength_BK, place_BK = amplitude_BF[:, 1:].topk(count)  # without the mean
    return x_BTD.shape[1] // (place_BK + 1), strength_BK


def fold_by_period(x_BTD: Tensor, period: int) -> Tensor:
    """`[B, D, R, P]`: a row for each period, the last one filled up with zeros."""
    missing = -x_BTD.shape[1] % period
    padded = functional.pad(x_BTD, (0, 0, 0, missing))
    return padded.unflatten(1, (-1, period)).permute(0, 3, 1, 2)


def unfold_period(x_BDRP: Tensor, samples: int) -> Tensor:
    """What `fold` made of so many samples, as `[B, T, D]` again."""
    return x_BDRP.permute(0, 2, 3, 1).flatten(1, 2)[:, :samples]


class Inception(nn.Module):
    """The mean of square convolutions 1, 3, 5, ... wide; by linearity a single one."""

    def __init__(self, in_width: int, out_width: int, kernels: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.empty(out_width, in_width, side, side) for side in range(1, 2 * kernels, 2)
        )
        self.biases = nn.Parameter(torch.zeros(kernels, out_width))
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of that one."""
        widest = len(self.weights) - 1
        padded = [functional.pad(w, [widest - i] * 4) for i, w in enumerate(self.weights)]
        return torch.stack(padded).mean(0), self.biases.mean(0)


class BaselineEncoder(Encoder):
    """A network above as an encoder of all channels together: its feature is `[B, 1, D]`.

    Windows are resized to `seq_len` samples, and each channel is standardised over the training
    windows, as libraries of these models do with their data sets.

    Its configuration is the network's arguments.
    """

    joint = True
    library: type[Any]
    samples: int

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = self.library(**config)
        self.samples = config.get("seq_len", RESIZED_TO[self.name])
        self.standardise = nn.BatchNorm1d(config["channels"], momentum=None, affine=False)
        self.dim = self.network.dim

    def forward(self, imu_BCT: Tensor, lengths: list[int] | None, mask: bool = True) -> Tensor:
        x_BCT = self.standardise(resized(imu_BCT, lengths, self.samples))
        return self.network(x_BCT).flatten(1).unsqueeze(1)


def _sizes(library: type[Any]) -> set[str]:
    return set(inspect.signature(library).parameters) - {"channels"}


class DLinearEncoder(BaselineEncoder):
    name, library, size_keys = "dlinear", DLinear, _sizes(DLinear)


class InformerEncoder(BaselineEncoder):
    name, library, size_keys = "informer", Informer, _sizes(Informer)


class TimesNetEncoder(BaselineEncoder):
    name, library, size_keys = "timesnet", TimesNet, _sizes(TimesNet)


BASELINE_ENCODERS: dict[str, type[Encoder]] = {
    encoder.name: encoder for encoder in (DLinearEncoder, InformerEncoder, TimesNetEncoder)
}
