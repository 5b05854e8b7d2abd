"""The teacher family `videomae`."""

from typing import Any

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.models.pretrained import IMAGENET_MEAN_STD, load_pretrained, mean_std
from comodo.models.teachers import Teacher, TokenTeacher

PRESETS = {"videomae-base-k400": {"weights": "MCG-NJU/videomae-base-finetuned-kinetics"}}
TINY = {
    "videomae": ("VideoMAE", {
        "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "intermediate_size": 32, "num_frames": 2,
    })
}  # fmt: skip


class VideoMAETeacher(TokenTeacher):
    """VideoMAE. In bf16 its weights are bf16 too, which is a fifth faster and equally accurate.

    Its position embeddings become a buffer, because they would stay on the CPU.
    """

    encoder: Any

    def __init__(self, encoder: Any, settings: TeacherConfig, *shape: Any) -> None:
        embeddings = encoder.embeddings
        position_1ND = embeddings.__dict__.pop("position_embeddings")
        embeddings.register_buffer("position_embeddings", position_1ND, persistent=False)
        patches = embeddings.patch_embeddings
        patches.projection = PatchProduct(patches.projection)
        super().__init__(encoder, settings, *shape)
        if self.precision == "bf16":
            self.encoder.bfloat16()

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        with torch.autocast(pixels_BF3HW.device.type, enabled=False):
            return super().feature(pixels_BF3HW.to(self.encoder.dtype))


class PatchProduct(nn.Module):
    """A convolution whose stride equals its kernel size, as one matrix product: cuDNN's takes
    several times as long, and in bf16 it does not use tensor cores."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.patch = convolution.kernel_size
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1))
        self.bias = convolution.bias

    def forward(self, video_BCFHW: Tensor) -> Tensor:
        """`[B, D, F', H', W']`: the embedding of each patch."""
        video = video_BCFHW
        for axis, size in zip((2, 4, 6), self.patch, strict=True):
            video = video.unflatten(axis, (-1, size))
        patches = video.permute(0, 2, 4, 6, 1, 3, 5, 7)  # position first, then content
        return nn.functional.linear(patches.flatten(4), self.weight, self.bias).movedim(-1, 1)


def videomae(settings: TeacherConfig) -> Teacher:
    from transformers import VideoMAEModel

    encoder = load_pretrained(VideoMAEModel, settings, attention="sdpa")
    config, colours = encoder.config, mean_std(settings) or IMAGENET_MEAN_STD
    frames, size = config.num_frames, config.image_size
    if settings.frames not in (None, frames):
        # Its position embeddings are one fixed table over space and time, unlike TimeSformer's.
        raise ValueError(f"{settings.weights} takes {frames} frames, not {settings.frames}")
    teacher = VideoMAETeacher(encoder, settings, frames, size, config.hidden_size, colours)
    teacher.pool = "mean" if config.use_mean_pooling else "first"
    return teacher
