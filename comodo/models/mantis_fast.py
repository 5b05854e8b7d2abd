"""Mantis's forward pass, rewritten to give the same numbers with less work.

Its networks are the library's: only their parameters are read here, so weights, gradients and
checkpoints stay theirs. Three things are saved:

- The library convolves every sample to D numbers, normalises each, averages them over a patch and
  projects the averages. A normalised sample is linear in the samples under the kernel but for one
  factor, so averaging comes first, and then one product with what follows, folded into one matrix.
- Of the last layer only the class token is used, so only that is computed.
- It alone asks there, so the keys' weights are multiplied with what it asks instead of with every
  token, and the values' weights with what it takes from them.

Exact but for rounding; in training the dropout of the last layer draws other random numbers. Holds
for the versions in `LIKE` alone: `MantisEncoder` runs the library's own forward pass of any other.

Shape letters: N sequences, T samples, P patches, W samples in a patch, K taps of a kernel,
J = K + 1 (the last for the bias), S scales, H numbers of a scale, I numbers seen of a patch, D
width, E numbers of a head, h heads.
"""

from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SUPPORTED_VERSIONS = {"1.1.0"}  # of mantis-tsfm


@cache
def is_supported() -> bool:
    """Whether the installed library is one that this was written for."""
    return version("mantis-tsfm") in SUPPORTED_VERSIONS


class FoldedTokenizer(NamedTuple):
    """What the token generator's weights come to, made once for all sequences of a step."""

    gram_JJ: list[Tensor]
    """Of each series: the variance of a convolved sample, from the samples under the kernel."""
    moment_3S: list[Tensor]
    """Of each scalar: the variances of its embeddings are these times its square, itself and 1."""
    weight_DI: Tensor
    bias_D: Tensor


def fold_tokenizer(network: Any) -> FoldedTokenizer:
    """Of `MantisV1` or `MantisV2`."""
    unit, linear = network.tokgen_unit, network.tokgen_unit.linear_encoder.linear
    with _without_autocast(linear.weight):
        series = [_fold_series(*pair) for pair in zip(unit.convs, unit.layer_norms, strict=True)]
        scalars = [_fold_scalar(encoder.encoders) for encoder in unit.scalar_encoders]
        made = [matrix for _, matrix in (*series, *scalars)]
        onto = linear.weight.split([len(matrix) for matrix in made], dim=1)
        weight_DI = torch.cat([each @ matrix for each, matrix in zip(onto, made, strict=True)], 1)
        bias_D = linear.bias
        for onto_DD, norm in zip(onto, unit.layer_norms, strict=False):
            bias_D = bias_D + onto_DD @ norm.bias
    return FoldedTokenizer([gram for gram, _ in series], [m for m, _ in scalars], weight_DI, bias_D)


def _fold_series(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Gram matrix `[J, J]`, and what makes the normalised convolution of patch means, `[D, J]`.

    With centred taps w' and b' (their mean over D taken off), LayerNorm of w x + b
    is (w' x + b') / sqrt(x^T G x + eps), where G is the taps' Gram matrix over D, and x ends in 1.
    """
    conv = convolution.conv
    tap_DJ = torch.cat([conv.weight.squeeze(1), conv.bias.unsqueeze(1)], dim=1)
    tap_DJ = tap_DJ - tap_DJ.mean(0)
    return tap_DJ.T @ tap_DJ / len(tap_DJ), tap_DJ * norm.weight.unsqueeze(1)


def _fold_scalar(scales: Any) -> tuple[Tensor, Tensor]:
    """Moments `[3, S]`, and what makes the embedding of what `_scalars` gives, `[H, 3 S]`.

    Each scale's embedding is LayerNorm of (x w + k b): as above, with two taps.
    """
    w_SH = torch.cat([scale.w for scale in scales])
    b_SH = torch.cat([scale.k * scale.b for scale in scales])
    w_SH, b_SH = w_SH - w_SH.mean(1, keepdim=True), b_SH - b_SH.mean(1, keepdim=True)
    moments = (w_SH**2).mean(1), 2 * (w_SH * b_SH).mean(1), (b_SH**2).mean(1)
    gain_SH = torch.stack([scale.layer_norm.weight for scale in scales])
    shift_SH = torch.stack([scale.layer_norm.bias for scale in scales])
    return torch.stack(moments), torch.cat([w_SH * gain_SH, b_SH * gain_SH, shift_SH]).T


def _without_autocast(x: Tensor) -> torch.autocast:
    """What tokens are made of is next to free, and variances are squares."""
    return torch.autocast(x.device.type, enabled=False)


def encode(network: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """What the network gives for sequences `[N, 1, T]`: features `[N, D]`."""
    token_NPD = tokens(network.tokgen_unit, folded, x_NT)
    unit = network.transf_unit
    if not hasattr(unit, "pos_encoder"):  # the second version, whose layers are left as they are
        feature_ND: Tensor = unit(token_NPD)
        return feature_ND
    first_N1D = unit.cls_token.expand(len(x_NT), 1, -1)
    x_NPD = unit.pos_encoder(torch.cat([first_N1D, token_NPD], dim=1).transpose(0, 1))
    x_NPD = x_NPD.transpose(0, 1)
    *layers, (attention, feed_forward) = unit.transformer.layers
    for attends, feeds_forward in layers:
        x_NPD = _attend(attends.fn, attends.norm(x_NPD)) + x_NPD
        x_NPD = feeds_forward(x_NPD) + x_NPD
    x_ND = _first_attends(attention.fn, attention.norm(x_NPD)) + x_NPD[:, 0]
    x_ND = feed_forward(x_ND) + x_ND
    return x_ND


def tokens(unit: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """What the library's TokenGeneratorUnit gives: `[N, P, D]`."""
    with _without_autocast(x_NT):
        seen_NPI = _seen(unit, folded, x_NT)
        token_NPD = functional.linear(seen_NPI, folded.weight_DI, folded.bias_D)
    normed_NPD: Tensor = unit.linear_encoder.layer_norm(token_NPD)
    return normed_NPD


def _seen(unit: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """All that tokens are made of: means of each patch, and what its two numbers come to."""
    patches = unit.num_patches
    x_NPW = x_NT.unflatten(1, (patches, -1))
    change_NT = functional.pad(x_NT.diff(dim=1), (0, 1))
    parts = []
    for series_NT, gram_JJ, norm in zip(
        (change_NT, x_NT), folded.gram_JJ, unit.layer_norms, strict=True
    ):
        scaled_NT = unit.ts_scaler(series_NT.unsqueeze(1)).squeeze(1)
        parts.append(_patch_means(scaled_NT, gram_JJ, norm.eps, patches))
    for number_NP, moment_3S, encoder in zip(
        (x_NPW.mean(2), x_NPW.std(2)), folded.moment_3S, unit.scalar_encoders, strict=True
    ):
        parts += _scalars(number_NP, moment_3S, encoder)
    return torch.cat(parts, dim=-1)


def _patch_means(x_NT: Tensor, gram_JJ: Tensor, eps: float, patches: int) -> Tensor:
    """Mean over each patch, `[N, P, J]`, of the samples under the kernel and 1, each divided by
    the deviation that the norm divides by."""
    taps = len(gram_JJ) - 1
    seen_NTK = functional.pad(x_NT, (taps // 2, taps // 2)).unfold(1, taps, 1)
    seen_NTJ = functional.pad(seen_NTK, (0, 1), value=1.0)
    variance_NT = ((seen_NTJ @ gram_JJ) * seen_NTJ).sum(-1)
    scale_NP1W = (variance_NT + eps).rsqrt().unflatten(1, (patches, 1, -1))
    sum_NPJ = (scale_NP1W @ seen_NTJ.unflatten(1, (patches, -1))).squeeze(2)
    return sum_NPJ / scale_NP1W.shape[-1]


def _scalars(number_NP: Tensor, moment_3S: Tensor, encoder: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The scales' weights by their deviations times the number, by these alone, and as they are:
    each `[N, P, S]`."""
    x_NP1 = number_NP.unsqueeze(-1)
    alpha_NPS = (1 / torch.log(x_NP1.abs() / encoder.scales + encoder.epsilon)).abs()
    alpha_NPS = alpha_NPS / alpha_NPS.sum(-1, keepdim=True)
    variance_NPS = x_NP1**2 * moment_3S[0] + x_NP1 * moment_3S[1] + moment_3S[2]
    weight_NPS = alpha_NPS * (variance_NPS + encoder.encoders[0].layer_norm.eps).rsqrt()
    return weight_NPS * x_NP1, weight_NPS, alpha_NPS


def _attend(attention: Any, x_NPD: Tensor) -> Tensor:
    """What all tokens take from all, `[N, P, D]`, by the library's Attention."""
    # Three products for its one: their gradients then need not be joined to go back through it.
    q, k, v = (
        functional.linear(x_NPD, weight).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for weight in attention.to_qkv.weight.chunk(3)
    )
    if x_NPD.device.type == "cpu":
        share = attention.dropout(attention.attend(q @ k.transpose(-1, -2) * attention.scale))
        taken_NhPE = share @ v
    else:  # one kernel; on a CPU its dropout would be PyTorch's, which is dear there
        dropped = attention.dropout.p if attention.training else 0.0
        taken_NhPE = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropped, scale=attention.scale
        )
    taken: Tensor = attention.to_out(taken_NhPE.transpose(1, 2).flatten(2))
    return taken


def _first_attends(attention: Any, x_NPD: Tensor) -> Tensor:
    """What the first token takes from all, `[N, D]`."""
    query_hED, key_hED, value_hED = (
        weight.unflatten(0, (attention.heads, -1)) for weight in attention.to_qkv.weight.chunk(3)
    )
    query_NhE = functional.linear(x_NPD[:, 0], query_hED.flatten(0, 1))
    query_NhE = query_NhE.unflatten(-1, (attention.heads, -1))
    asked_NhD = torch.einsum("nhe,hed->nhd", query_NhE, key_hED)
    score_NhP = asked_NhD @ x_NPD.transpose(1, 2) * attention.scale
    share_NhP = attention.dropout(attention.attend(score_NhP))
    taken_NhE = torch.einsum("nhd,hed->nhe", share_NhP @ x_NPD, value_hED)
    taken_ND: Tensor = attention.to_out(taken_NhE.flatten(1))
    return taken_ND
