"""What all teachers share: frozen video encoders that turn the frames of a window into one feature.
Each family is a file of its own, such as `timesformer`: what builds it, the short names of its
weights, PRESETS, and its size in smoke runs, TINY.

The feature is the encoder's output before any classifier or projector. Teachers do not know files,
windows, caches, Ray or training.
"""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.config.teacher import NOT_ENCODERS, TEACHERS
from comodo.config.video_teachers import Pooling
from comodo.models.pooling import pooled
from comodo.models.pretrained import MeanStd


class Teacher(nn.Module):
    """A video encoder, frozen in place: always in eval mode, and its weights need no gradient.

    It takes `frames` per window, square with a side of `image_size` pixels, normalises them with
    `mean_std` and gives features of width `dim`. Precision "bf16" computes under autocast.
    """

    def __init__(
        self,
        encoder: nn.Module,
        settings: TeacherConfig,
        frames: int,
        image_size: int,
        dim: int,
        mean_std: MeanStd,
    ) -> None:
        super().__init__()
        self.frames, self.image_size, self.dim = frames, image_size, dim
        self.precision = settings.precision
        self.encoder = encoder.requires_grad_(False)
        self.mean_311: Tensor
        self.std_311: Tensor
        for name, colours in zip(("mean_311", "std_311"), mean_std, strict=True):
            self.register_buffer(name, torch.tensor(colours).view(3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        return super().train(False)

    @torch.inference_mode()
    def forward(self, frames_BFHW3: Tensor) -> Tensor:
        """Features `[B, dim]`, float32, of RGB frames `[B, frames, image_size, image_size, 3]` with
        values from 0 to 255.

        Raises ValueError for frames of another shape, or that are neither uint8 nor float32.
        """
        shape = (self.frames, self.image_size, self.image_size, 3)
        known = frames_BFHW3.dtype in (torch.uint8, torch.float32)
        if not known or tuple(frames_BFHW3.shape[1:]) != shape:
            raise ValueError(
                "this teacher takes uint8 or float32 frames of shape "
                f"[B, {', '.join(map(str, shape))}], "
                f"not {frames_BFHW3.dtype} {list(frames_BFHW3.shape)}"
            )
        pixels_BF3HW = frames_BFHW3.permute(0, 1, 4, 2, 3).float() / 255
        pixels_BF3HW = (pixels_BF3HW - self.mean_311) / self.std_311
        bf16 = self.precision == "bf16"
        with torch.autocast(pixels_BF3HW.device.type, torch.bfloat16, enabled=bf16):
            return self.feature(pixels_BF3HW).float()

    @abstractmethod
    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        """The encoder's pooled output `[B, dim]` for normalised pixels."""


class TokenTeacher(Teacher):
    """A video transformer, whose feature is the mean of its tokens or the first token."""

    pool: Literal["mean", "first"] = "mean"

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        tokens_BND = self.encoder(pixels_BF3HW).last_hidden_state
        # The mean of up to 1,500 tokens needs float32; autocast leaves them 8 significant bits.
        return tokens_BND.float().mean(dim=1) if self.pool == "mean" else tokens_BND[:, 0]


class ImageTeacher(Teacher):
    """An image encoder, which encodes each frame on its own; the features are averaged."""

    pooling: Pooling | None = None

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        feature_ND = self.image_features(pixels_BF3HW.flatten(0, 1)).float()
        return feature_ND.unflatten(0, pixels_BF3HW.shape[:2]).mean(dim=1)

    def image_features(self, pixels_N3HW: Tensor) -> Tensor:
        return image_feature(self.encoder, pixels_N3HW, self.pooling)


def image_feature(encoder: nn.Module, pixels_N3HW: Tensor, pooling: Pooling | None) -> Tensor:
    """Features `[N, D]` of images: by default the encoder's pooled output, or else the mean of its
    tokens."""
    out = encoder(pixels_N3HW)
    if pooling is not None:
        return pooled(out, pooling)
    if getattr(out, "pooler_output", None) is not None:
        return out.pooler_output.flatten(1)
    return out.last_hidden_state.float().mean(dim=1)


def build_teacher(settings: TeacherConfig) -> Teacher:
    """The teacher with its weights, on the CPU; ValueError if they are not available or do not fit,
    the encoder does not take that number of frames, or the teacher is no encoder."""
    if settings.name in NOT_ENCODERS:
        raise ValueError(f"teacher {settings.name!r} is not an encoder")
    if settings.name not in TEACHERS.built_in:
        return _own(settings)
    teacher: Teacher = TEACHERS.get(settings.name)(settings)
    return teacher


class OwnTeacher(Teacher):
    """A class of another package or of the user's file, which maps pixels from 0 to 1 to one
    feature of each window."""

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        return self.encoder(pixels_BF3HW)


def _own(settings: TeacherConfig) -> Teacher:
    code, own = settings.read_code, settings.own_code
    if code is None:
        raise ValueError("only its settings were recorded, not the code of its file")
    frames = settings.frames or int(code.constants.get("FRAMES", 8))
    size = int(code.constants.get("IMAGE_SIZE", 224))
    try:
        encoder = (TEACHERS.get(settings.name) if own is None else own.run())()
        with torch.inference_mode():
            feature_1D = encoder.eval()(torch.zeros(1, frames, 3, size, size))
    except Exception as error:  # whatever the user's code raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{code.name} of {code.file} cannot be used: {reason}") from error
    if feature_1D.ndim != 2 or len(feature_1D) != 1:
        needed = f"frames [1, {frames}, 3, {size}, {size}] to features [1, D]"
        raise ValueError(f"{code.name} has to map {needed}, but gives {list(feature_1D.shape)}")
    as_they_are: MeanStd = ((0.0,) * 3, (1.0,) * 3)
    return OwnTeacher(encoder, settings, frames, size, feature_1D.shape[1], as_they_are)
