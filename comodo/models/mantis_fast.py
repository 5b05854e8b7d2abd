"""Mantis's forward pass, rewritten to compute the same features with less work.

It works on the library's networks and only reads their parameters, so weights, gradients and
checkpoints are the library's. Three things save time:

- The library convolves every sample to D channels, normalises each sample over them, averages over
  a patch and projects the averages. A normalised sample is linear in the samples under the kernel,
  except for one factor. So the samples can be averaged first, and everything that follows is folded
  into one matrix.
- If only the class token of the last layer is used, only that one is computed.
- There is then a single query. The keys' weights are multiplied with this query instead of with
  every token, and the values' weights with the weighted mean of the tokens.

Results are equal up to rounding; in training, the dropout of the last layer draws other random
numbers. For versions not in `SUPPORTED_VERSIONS` `MantisEncoder` runs the library's forward pass.

Shape letters: N sequences, T samples, P patches, W samples in a patch, K taps of a kernel,
J = K + 1 (the last for the bias), S scales, H width of a scale, I inputs per patch, D width,
E width of a head, h heads.
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
    """Whether this module is valid for the installed version of the library."""
    return version("mantis-tsfm") in SUPPORTED_VERSIONS


class FoldedTokenizer(NamedTuple):
    """The folded weights of the token generator, computed once for all sequences of a step."""

    gram_JJ: list[Tensor]  # per series: the quadratic form of a convolved sample's variance over D
    moment_3S: list[Tensor]  # per scalar: the variance of its embedding is this quadratic in it
    weight_DI: Tensor
    bias_D: Tensor


def fold_tokenizer(network: Any) -> FoldedTokenizer:
    """Folds the token generator of a `MantisV1` or `MantisV2`."""
    unit, linear = network.tokgen_unit, network.tokgen_unit.linear_encoder.linear
    with _without_autocast(linear.weight):
        series = [_fold_series(*pair) for pair in zip(unit.convs, unit.layer_norms, strict=True)]
        scalars = [_fold_scalar(encoder.encoders) for encoder in unit.scalar_encoders]
        matrices = [matrix for _, matrix in (*series, *scalars)]
        projections = linear.weight.split([len(matrix) for matrix in matrices], dim=1)
        pairs = zip(projections, matrices, strict=True)
        weight_DI = torch.cat([projection @ matrix for projection, matrix in pairs], 1)
        bias_D = linear.bias
        for projection_DD, norm in zip(projections, unit.layer_norms, strict=False):
            bias_D = bias_D + projection_DD @ norm.bias
    return FoldedTokenizer([gram for gram, _ in series], [m for m, _ in scalars], weight_DI, bias_D)


def _fold_series(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """The Gram matrix `[J, J]`, and the matrix `[D, J]` that maps `_patch_means` to embeddings.

    With centred taps w' and b' (their mean over D subtracted), LayerNorm of w x + b is
    (w' x + b') / sqrt(x^T G x + eps), where G is the Gram matrix of the taps, and x ends in 1.
    """
    conv = convolution.conv
    tap_DJ = torch.cat([conv.weight.squeeze(1), conv.bias.unsqueeze(1)], dim=1)
    tap_DJ = tap_DJ - tap_DJ.mean(0)
    return tap_DJ.T @ tap_DJ / len(tap_DJ), tap_DJ * norm.weight.unsqueeze(1)


def _fold_scalar(scales: Any) -> tuple[Tensor, Tensor]:
    """The moments `[3, S]`, and the matrix `[H, 3 S]` that maps `_scalars` to embeddings.

    Each scale's embedding is LayerNorm of (x w + k b): the same as above, with two taps.
    """
    w_SH = torch.cat([scale.w for scale in scales])
    b_SH = torch.cat([scale.k * scale.b for scale in scales])
    w_SH, b_SH = w_SH - w_SH.mean(1, keepdim=True), b_SH - b_SH.mean(1, keepdim=True)
    moments = (w_SH**2).mean(1), 2 * (w_SH * b_SH).mean(1), (b_SH**2).mean(1)
    gain_SH = torch.stack([scale.layer_norm.weight for scale in scales])
    shift_SH = torch.stack([scale.layer_norm.bias for scale in scales])
    return torch.stack(moments), torch.cat([w_SH * gain_SH, b_SH * gain_SH, shift_SH]).T


def _without_autocast(x: Tensor) -> torch.autocast:
    """Float32 costs almost nothing here, and variances need it."""
    return torch.autocast(x.device.type, enabled=False)


def encode(network: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """Features `[N, D]` of sequences `[N, T]`: the network's `output_token` after its last layer,
    `[N, 2 D]` if that is "combined"."""
    token_NPD = tokens(network.tokgen_unit, folded, x_NT)
    unit, output = network.transf_unit, network.output_token
    if not hasattr(unit, "pos_encoder"):  # version 2, whose own layers are used
        return unit(token_NPD, output_token=output)
    first_N1D = unit.cls_token.expand(len(x_NT), 1, -1)
    x_NPD = unit.pos_encoder(torch.cat([first_N1D, token_NPD], dim=1).transpose(0, 1))
    x_NPD = x_NPD.transpose(0, 1)
    layers = list(unit.transformer.layers)
    for attention, feed_forward in layers[:-1] if output == "cls_token" else layers:
        x_NPD = _attention(attention.fn, attention.norm(x_NPD)) + x_NPD
        x_NPD = feed_forward(x_NPD) + x_NPD
    if output != "cls_token":
        mean_ND = x_NPD[:, 1:].mean(1)
        return mean_ND if output == "mean_token" else torch.cat([x_NPD[:, 0], mean_ND], 1)
    last_attention, last_feed_forward = layers[-1]
    x_ND = _class_token_attention(last_attention.fn, last_attention.norm(x_NPD)) + x_NPD[:, 0]
    return last_feed_forward(x_ND) + x_ND


def tokens(unit: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """The same tokens `[N, P, D]` as the library's TokenGeneratorUnit."""
    with _without_autocast(x_NT):
        input_NPI = _token_inputs(unit, folded, x_NT)
        token_NPD = functional.linear(input_NPI, folded.weight_DI, folded.bias_D)
    return unit.linear_encoder.layer_norm(token_NPD)


def _token_inputs(unit: Any, folded: FoldedTokenizer, x_NT: Tensor) -> Tensor:
    """The inputs of each patch's token: means of its samples and changes, and its two scalars."""
    patches = unit.num_patches
    x_NPW = x_NT.unflatten(1, (patches, -1))
    change_NT = functional.pad(x_NT.diff(dim=1), (0, 1))
    parts, series = [], (change_NT, x_NT)
    for series_NT, gram_JJ, norm in zip(series, folded.gram_JJ, unit.layer_norms, strict=True):
        scaled_NT = unit.ts_scaler(series_NT.unsqueeze(1)).squeeze(1)
        parts.append(_patch_means(scaled_NT, gram_JJ, norm.eps, patches))
    scalars = x_NPW.mean(2), x_NPW.std(2)
    for scalar in zip(scalars, folded.moment_3S, unit.scalar_encoders, strict=True):
        parts += _scalars(*scalar)
    return torch.cat(parts, dim=-1)


def _patch_means(x_NT: Tensor, gram_JJ: Tensor, eps: float, patches: int) -> Tensor:
    """The mean over each patch `[N, P, J]` of normalised samples.

    A sample is those under the kernel and 1, divided by LayerNorm's standard deviation.
    """
    taps = len(gram_JJ) - 1
    context_NTK = functional.pad(x_NT, (taps // 2, taps // 2)).unfold(1, taps, 1)
    context_NTJ = functional.pad(context_NTK, (0, 1), value=1.0)
    variance_NT = ((context_NTJ @ gram_JJ) * context_NTJ).sum(-1)
    scale_NP1W = (variance_NT + eps).rsqrt().unflatten(1, (patches, 1, -1))
    sum_NPJ = (scale_NP1W @ context_NTJ.unflatten(1, (patches, -1))).squeeze(2)
    return sum_NPJ / scale_NP1W.shape[-1]


def _scalars(scalar_NP: Tensor, moment_3S: Tensor, encoder: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The scales' weights, each `[N, P, S]`: normalised and times the scalar, normalised, plain.

    Normalised is divided by LayerNorm's standard deviation.
    """
    x_NP1 = scalar_NP.unsqueeze(-1)
    alpha_NPS = (1 / torch.log(x_NP1.abs() / encoder.scales + encoder.epsilon)).abs()
    alpha_NPS = alpha_NPS / alpha_NPS.sum(-1, keepdim=True)
    variance_NPS = x_NP1**2 * moment_3S[0] + x_NP1 * moment_3S[1] + moment_3S[2]
    weight_NPS = alpha_NPS * (variance_NPS + encoder.encoders[0].layer_norm.eps).rsqrt()
    return weight_NPS * x_NP1, weight_NPS, alpha_NPS


def _attention(attention: Any, x_NPD: Tensor) -> Tensor:
    """The library's self-attention, `[N, P, D]`."""
    # Three products instead of one, because their gradients then need not be concatenated.
    q, k, v = (
        functional.linear(x_NPD, weight).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for weight in attention.to_qkv.weight.chunk(3)
    )
    if x_NPD.device.type == "cpu":
        weights = attention.dropout(attention.attend(q @ k.transpose(-1, -2) * attention.scale))
        attended_NhPE = weights @ v
    else:  # one kernel; it uses PyTorch's dropout, which is slow on a CPU
        dropped = attention.dropout.p if attention.training else 0.0
        attended_NhPE = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropped, scale=attention.scale
        )
    return attention.to_out(attended_NhPE.transpose(1, 2).flatten(2))


def _class_token_attention(attention: Any, x_NPD: Tensor) -> Tensor:
    """The library's self-attention of the first token only, `[N, D]`."""
    query_hED, key_hED, value_hED = (
        weight.unflatten(0, (attention.heads, -1)) for weight in attention.to_qkv.weight.chunk(3)
    )
    query_NhE = functional.linear(x_NPD[:, 0], query_hED.flatten(0, 1))
    query_NhE = query_NhE.unflatten(-1, (attention.heads, -1))
    key_query_NhD = torch.einsum("nhe,hed->nhd", query_NhE, key_hED)
    score_NhP = key_query_NhD @ x_NPD.transpose(1, 2) * attention.scale
    weight_NhP = attention.dropout(attention.attend(score_NhP))
    attended_NhE = torch.einsum("nhd,hed->nhe", weight_NhP @ x_NPD, value_hED)
    return attention.to_out(attended_NhE.flatten(1))
