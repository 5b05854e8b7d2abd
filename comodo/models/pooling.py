"""What of an encoder's output is a feature, and the encoders whose output has another form than
most. Knows neither weights nor frames.

Shape letters: B windows, F frames, N images, H and W their height and width, T tokens, D width.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from comodo.config.video_teachers import Pooling


def pooled(out: Any, pooling: Pooling) -> Tensor:
    """The feature `[B, D]` of an encoder's output. Raises ValueError if it has none of that kind.

    `joint` is the pooled output of a side that `image_side` or `video_side` has made.
    """
    if isinstance(out, Tensor):
        tokens, pooler = (out, None) if out.ndim == 3 else (None, out)
    else:
        tokens = getattr(out, "last_hidden_state", None)
        pooler = getattr(out, "pooler_output", None)
    if pooling in ("pooled", "joint"):
        if pooler is None:
            raise ValueError("no pooled output; choose another pooling, such as mean")
        return pooler.flatten(1)
    if tokens is None or tokens.ndim != 3:
        shape = None if tokens is None else list(tokens.shape)
        raise ValueError(f"no tokens [B, T, D], but {shape}; choose pooling: pooled")
    # The mean of thousands of tokens needs float32.
    return tokens.float().mean(dim=1) if pooling == "mean" else tokens[:, 0]


class XClipVideo(nn.Module):
    """X-CLIP's vision side: tokens of all frames, and the video's embedding."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels_BF3HW: Tensor) -> SimpleNamespace:
        out = self.model.get_video_features(pixels_BF3HW)
        tokens_BTD = out.last_hidden_state.unflatten(0, pixels_BF3HW.shape[:2]).flatten(1, 2)
        return SimpleNamespace(last_hidden_state=tokens_BTD, pooler_output=out.pooler_output)


class PeVideo(nn.Module):
    """The video side of a PE-Video model with text: a token for each frame, and the embedding."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.head = model.video_encoder, model.video_head

    def forward(self, pixels_BF3HW: Tensor) -> SimpleNamespace:
        out = self.encoder(pixels_BF3HW)
        embedding_BD = self.head(out.pooler_output)
        return SimpleNamespace(last_hidden_state=out.last_hidden_state, pooler_output=embedding_BD)


def video_side(model: Any) -> nn.Module:
    """The part of a model that sees videos."""
    kind = model.config.model_type
    if kind == "xclip":
        model.text_model = None
        return XClipVideo(model)
    if kind == "pe_video":
        return PeVideo(model)
    side: nn.Module = model.video_model if kind == "videoprism" else model
    return side


class PatchSequence(nn.Module):
    """SigLIP 2's vision side of any resolution ("naflex"), which takes images as sequences of
    patches with the shape of their grid. These frames are square, so all have the same grid."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder, self.patch = encoder, int(encoder.config.patch_size)

    def forward(self, pixels_N3HW: Tensor) -> Any:
        grid = pixels_N3HW.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))
        count, rows, columns = len(grid), grid.shape[2], grid.shape[4]
        patch_NTP = grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shapes_N2 = torch.tensor([[rows, columns]], device=pixels_N3HW.device).expand(count, 2)
        mask_NT = torch.ones(patch_NTP.shape[:2], dtype=torch.long, device=pixels_N3HW.device)
        return self.encoder(patch_NTP, mask_NT, shapes_N2)


class Projected(nn.Module):
    """A vision side whose pooled output is projected into the space shared with text, and has unit
    length, as the mean over frames is that of directions (CLIP4Clip, arXiv 2104.08860)."""

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, pixels_N3HW: Tensor) -> SimpleNamespace:
        embedding_ND = self.projection(self.encoder(pixels_N3HW).pooler_output).float()
        embedding_ND = nn.functional.normalize(embedding_ND, dim=1)
        return SimpleNamespace(last_hidden_state=None, pooler_output=embedding_ND)


def image_side(model: Any, joint: bool) -> nn.Module:
    """The part of a model that sees images; `joint`: with its projection into the space that it
    shares with text, of which SigLIP has none. Raises ValueError for a model without text."""
    encoder = getattr(model, "vision_model", model)  # without the text encoder of models like CLIP
    if encoder.config.model_type == "siglip2_vision_model":
        encoder = PatchSequence(encoder)
    if joint:
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise ValueError(
                "pooling: joint needs a model of images and text, such as CLIP or SigLIP"
            )
        encoder = Projected(encoder, getattr(model, "visual_projection", nn.Identity()))
    side: nn.Module = encoder
    return side
