"""The teacher family `image`: any image encoder of transformers, averaged over the frames."""

import torch

from comodo.config import TeacherConfig
from comodo.models.pooling import image_side
from comodo.models.pretrained import image_size, load_pretrained, mean_std
from comodo.models.teachers import ImageTeacher, Teacher, image_feature

PRESETS = {
    "dinov2-base": {"weights": "facebook/dinov2-base"},
    "clip-vit-base": {"weights": "openai/clip-vit-base-patch16"},
    "siglip-base": {"weights": "google/siglip-base-patch16-224"},
    "siglip2-base": {"weights": "google/siglip2-base-patch16-224"},
    "siglip2-base-naflex": {"weights": "google/siglip2-base-patch16-naflex"},
}
TINY = {
    "siglip": ("Siglip", {
        "text_config": {
            "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 128, "eos_token_id": 257,
        },
        "vision_config": {
            "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "intermediate_size": 32,
        },
    }),
    "clip": ("CLIP", {
        "text_config": {
            "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 128, "eos_token_id": 257,
        },
        "vision_config": {
            "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "intermediate_size": 32,
        },
        "projection_dim": 32,
    }),
    "dinov2": ("Dinov2", {
        "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "mlp_ratio": 1,
    }),
}  # fmt: skip


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
