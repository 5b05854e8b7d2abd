"""The teacher family `video`: any video encoder of transformers.

The default pooling of each architecture is in `config.video_teachers`. A window goes through the
encoder once when it is built, so that weights that do not take its frames are refused before
anything is encoded.
"""

from typing import Any

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.config.video_teachers import POOLINGS, Pooling
from comodo.models.pooling import pooled, video_side
from comodo.models.pretrained import (
    MeanStd,
    config_of,
    image_size,
    load_pretrained,
    mean_std,
    processor_of,
)
from comodo.models.teachers import Teacher
from comodo.models.timesformer import timesformer
from comodo.models.videomae import videomae
from comodo.models.vjepa2 import vjepa2

PRESETS = {
    "vivit-base-k400": {"weights": "google/vivit-b-16x2-kinetics400"},
    "videoprism-base": {"weights": "google/videoprism-base-f16r288"},
    "xclip-base": {"weights": "microsoft/xclip-base-patch32"},
}
TINY = {
    "videoprism": ("VideoPrismVision", {
        "image_size": 32, "num_frames": 2, "tubelet_size": (1, 16, 16), "hidden_size": 32,
        "num_attention_heads": 2, "intermediate_size": 32, "num_spatial_layers": 1,
        "num_temporal_layers": 1,
    }),
    "xclip": ("XCLIP", {
        "text_config": {
            "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 128, "eos_token_id": 257,
        },
        "projection_dim": 32, "prompt_num_attention_heads": 2,
        "vision_config": {
            "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "intermediate_size": 32, "num_frames": 2, "mit_hidden_size": 32,
            "mit_intermediate_size": 32, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
        },
    }),
    "vivit": ("Vivit", {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
        "intermediate_size": 32, "num_frames": 2, "tubelet_size": (2, 16, 16),
    }),
}  # fmt: skip
AS_THEY_ARE: MeanStd = ((0.0,) * 3, (1.0,) * 3)
FAMILIES = {"timesformer": timesformer, "videomae": videomae, "vjepa2": vjepa2}
"""Architectures that have a family of their own, whose mean of tokens is the same feature."""


class VideoTeacher(Teacher):
    """An encoder of `[B, F, 3, H, W]` whose output has tokens `[B, N, D]`, a pooled output, or
    both; an encoder of other code may also give either of them alone, as a tensor."""

    pooling: Pooling

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        return pooled(self.encoder(pixels_BF3HW), self.pooling)


def video(settings: TeacherConfig) -> Teacher:
    """A teacher of any architecture. Raises ValueError, as `build_teacher`."""
    config = config_of(settings)
    kind = str(config.get("model_type"))
    pooling = _pooling(settings, kind)
    if kind in FAMILIES:
        of_family: Any = FAMILIES[kind](settings)
        of_family.pool = "mean" if pooling == "mean" else "first"
        return of_family
    _refuse_unknown(settings, kind, config)
    from transformers import AutoModel

    model = load_pretrained(AutoModel, settings, attention=None)
    vision = _vision(model.config)
    encoder = video_side(model)
    frames, size = _frames(settings, kind, vision), image_size(settings, vision)
    colours = AS_THEY_ARE if kind.startswith("videoprism") else mean_std(settings)
    if colours is None:
        raise ValueError(
            f"weights {settings.weights!r} lack a processor's configuration with image_mean and "
            "image_std; video encoders differ too much in them to guess"
        )
    dim = _checked_width(encoder, pooling, settings, (1, frames, 3, size, size))
    teacher = VideoTeacher(encoder, settings, frames, size, dim, colours)
    teacher.pooling = pooling
    return teacher


def _pooling(settings: TeacherConfig, kind: str) -> Pooling:
    known = POOLINGS.get(kind)
    if settings.pooling is None and known is None:
        raise ValueError(
            f"weights {settings.weights!r} are of the architecture {kind!r}, whose pooling is not "
            "known: set trial.teacher.pooling to mean, cls or pooled"
        )
    if settings.pooling is None:
        assert known is not None
        return known[0]
    if known is not None and settings.pooling not in known:
        raise ValueError(f"pooling: {kind} has no {settings.pooling}; choose {' or '.join(known)}")
    return settings.pooling


def _refuse_unknown(settings: TeacherConfig, kind: str, config: dict[str, Any]) -> None:
    """Raises ValueError for a model that the installed transformers does not have."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    if "auto_map" not in config and kind not in MODEL_MAPPING_NAMES:
        raise ValueError(
            f"weights {settings.weights!r} are of the architecture {kind!r}, which AutoModel of "
            "the installed transformers does not have; choose others, or a newer transformers"
        )


def _vision(config: Any) -> Any:
    """The part of a model's configuration that is of its video side."""
    parts = (getattr(config, name, None) for name in ("vision_config", "video_config"))
    return next(filter(None, parts), config)


def _frames(settings: TeacherConfig, kind: str, vision: Any) -> int:
    """Frames of a window: as the weights were trained with, unless the settings say otherwise."""
    fixed = getattr(vision, "num_frames", None)
    frames = settings.frames or fixed or processor_of(settings).get("num_frames")
    if frames is None:
        raise ValueError(
            f"weights {settings.weights!r} do not say how many frames they take: set "
            "trial.teacher.frames"
        )
    if kind in POOLINGS and fixed not in (None, frames):
        # Its position embeddings are a table over time.
        raise ValueError(f"{settings.weights} takes {fixed} frames, not {frames}")
    return int(frames)


def _checked_width(
    encoder: nn.Module, pooling: Pooling, settings: TeacherConfig, shape: tuple[int, ...]
) -> int:
    """The width of the feature. Raises ValueError for an encoder that does not map pixels of this
    shape to one feature of each window, or gives another one each time."""
    what = f"{shape[1]} frames of {shape[3]} pixels"
    pixels = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)
    try:
        with torch.inference_mode():
            first_1D, second_1D = (pooled(encoder(pixels), pooling) for _ in range(2))
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"weights {settings.weights!r} are not a video encoder for {what}: {error}"
        ) from error
    if first_1D.ndim != 2 or len(first_1D) != 1:
        got = list(first_1D.shape)
        raise ValueError(f"weights {settings.weights!r} give {got} for {what}, not one feature")
    if not torch.allclose(first_1D, second_1D, atol=1e-4):
        raise ValueError(
            f"weights {settings.weights!r} give another feature for the same frames each time, "
            "like encoders that mask at random; choose another encoder"
        )
    return int(first_1D.shape[1])
