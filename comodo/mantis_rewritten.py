"""Mantis's forward pass, rewritten to give the same numbers with less work.

Its networks are the library's: only their parameters are read here, so weights, gradients and
checkpoints stay theirs. Two things are saved. The library convolves every sample to D numbers,
normalises each and averages them over a patch; a normalised sample is linear in the samples under
the kernel but for one factor, so averaging comes first and the convolution last, for P patches
instead of T samples. And of the last layer only the class token is used, so only that is computed.

Exact but for rounding; in training the dropout of the last layer draws other random numbers. Holds
for the versions in `LIKE` alone: `MantisEncoder` runs the library's own forward pass of any other.

Shape letters: N sequences, T samples, P patches, W samples in a patch, K taps of a kernel,
J = K + 1 (the last for the bias), S scales, H numbers of a scale, D width, Q queries.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LIKE = {"1.1.0"}  # of mantis-tsfm


@cache
def holds() -> bool:
    """Whether the installed library is one that this was written for."""
    return version("mantis-tsfm") in LIKE


def class_token(network: Any, x_NT: Tensor) -> Tensor:
    """What `MantisV1` or `MantisV2` gives for sequences `[N, 1, T]`: features `[N, D]`."""
    token_NPD = tokens(network.tokgen_unit, x_NT)
    unit = network.transf_unit
    if not hasattr(unit, "pos_encoder"):  # the second version, whose layers are left as they are
        feature_ND: Tensor = unit(token_NPD)
        return feature_ND
    first_N1D = unit.cls_token.expand(len(x_NT), 1, -1)
    x_NPD = unit.pos_encoder(torch.cat([first_N1D, token_NPD], dim=1).transpose(0, 1))
    x_NPD = x_NPD.transpose(0, 1)
    for depth, (attention, feed_forward) in enumerate(unit.transformer.layers, start=1):
        asking = 1 if depth == len(unit.transformer.layers) else x_NPD.shape[1]
        taken_NQD = _attends(attention.fn, attention.norm(x_NPD), asking)
        x_NPD = taken_NQD + x_NPD[:, :asking]
        x_NPD = feed_forward(x_NPD) + x_NPD
    return x_NPD.squeeze(1)


def tokens(unit: Any, x_NT: Tensor) -> Tensor:
    """What the library's TokenGeneratorUnit gives: `[N, P, D]`."""
    with torch.autocast(x_NT.device.type, enabled=False):  # next to free, and variances are squares
        seen_NPD = _seen(unit, x_NT)
    token_NPD: Tensor = unit.linear_encoder(seen_NPD)
    return token_NPD


def _seen(unit: Any, x_NT: Tensor) -> Tensor:
    """What the tokens are projected from: each patch's means and its two numbers."""
    patches = unit.num_patches
    x_NPW = x_NT.unflatten(1, (patches, -1))
    change_NT = functional.pad(x_NT.diff(dim=1), (0, 1))
    parts = []
    for series_NT, convolution, norm in zip(
        (change_NT, x_NT), unit.convs, unit.layer_norms, strict=True
    ):
        scaled_NT = unit.ts_scaler(series_NT.unsqueeze(1)).squeeze(1)
        parts.append(_patch_means(convolution.conv, norm, scaled_NT, patches))
    for number_NP, encoder in zip((x_NPW.mean(2), x_NPW.std(2)), unit.scalar_encoders, strict=True):
        parts.append(_scalars(encoder, number_NP))
    return torch.cat(parts, dim=-1)


def _patch_means(convolution: Any, norm: Any, x_NT: Tensor, patches: int) -> Tensor:
    """Mean over each patch of the normalised convolution, `[N, P, D]`.

    With centred taps w' and b' (their mean over D taken off), LayerNorm of w x + b
    is (w' x + b') / sqrt(x^T G x + eps), where G is the taps' Gram matrix over D, and x ends in 1.
    """
    tap_DJ = torch.cat([convolution.weight.squeeze(1), convolution.bias.unsqueeze(1)], dim=1)
    tap_DJ = tap_DJ - tap_DJ.mean(0)
    gram_JJ = tap_DJ.T @ tap_DJ / len(tap_DJ)
    taps = convolution.kernel_size[0]
    seen_NTK = functional.pad(x_NT, (taps // 2, taps // 2)).unfold(1, taps, 1)
    seen_NTJ = functional.pad(seen_NTK, (0, 1), value=1.0)
    variance_NT = ((seen_NTJ @ gram_JJ) * seen_NTJ).sum(-1)
    scale_NT = (variance_NT + norm.eps).rsqrt()
    scale_NP1W = scale_NT.unflatten(1, (patches, -1)).unsqueeze(2)
    mean_NPJ = (scale_NP1W @ seen_NTJ.unflatten(1, (patches, -1))).squeeze(2)
    mean_NPJ = mean_NPJ / scale_NP1W.shape[-1]
    return functional.linear(mean_NPJ, tap_DJ * norm.weight.unsqueeze(1), norm.bias)


def _scalars(encoder: Any, number_NP: Tensor) -> Tensor:
    """What the library's MultiScaledScalarEncoder gives: `[N, P, H]`.

    Each scale's embedding is LayerNorm of (x w + k b): as above, with two taps.
    """
    x_NP1 = number_NP.unsqueeze(-1)
    alpha_NPS = (1 / torch.log(x_NP1.abs() / encoder.scales + encoder.epsilon)).abs()
    alpha_NPS = alpha_NPS / alpha_NPS.sum(-1, keepdim=True)
    scales = encoder.encoders
    w_SH = torch.cat([scale.w for scale in scales])
    b_SH = torch.cat([scale.k * scale.b for scale in scales])
    w_SH, b_SH = w_SH - w_SH.mean(1, keepdim=True), b_SH - b_SH.mean(1, keepdim=True)
    variance_NPS = (
        x_NP1**2 * (w_SH**2).mean(1) + 2 * x_NP1 * (w_SH * b_SH).mean(1) + (b_SH**2).mean(1)
    )
    gain_SH = torch.stack([scale.layer_norm.weight for scale in scales])
    shift_SH = torch.stack([scale.layer_norm.bias for scale in scales])
    weight_NPS = alpha_NPS * (variance_NPS + scales[0].layer_norm.eps).rsqrt()
    return (
        (weight_NPS * x_NP1) @ (w_SH * gain_SH)
        + weight_NPS @ (b_SH * gain_SH)
        + alpha_NPS @ shift_SH
    )


def _attends(attention: Any, x_NPD: Tensor, asking: int) -> Tensor:
    """What the first so many tokens take from all, `[N, Q, D]`, by the library's Attention."""
    # Three products for its one: their gradients then need not be joined to go back through it.
    query, key, value = attention.to_qkv.weight.chunk(3)
    parts = ((x_NPD[:, :asking], query), (x_NPD, key), (x_NPD, value))
    q, k, v = (
        functional.linear(x, weight).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for x, weight in parts
    )
    share = attention.dropout(attention.attend(q @ k.transpose(-1, -2) * attention.scale))
    taken: Tensor = attention.to_out((share @ v).transpose(1, 2).flatten(2))
    return taken
