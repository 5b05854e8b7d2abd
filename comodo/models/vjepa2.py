"""The teacher family `vjepa2`."""

from comodo.config import TeacherConfig
from comodo.models.pretrained import IMAGENET_MEAN_STD, load_pretrained, mean_std
from comodo.models.teachers import Teacher, TokenTeacher

# Trained with 64 frames: 16 are a quarter of the cost or less.
PRESETS = {"vjepa2-vitl": {"weights": "facebook/vjepa2-vitl-fpc64-256", "frames": 16}}
TINY = {
    "vjepa2": ("VJEPA2", {
        "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "crop_size": 32, "frames_per_clip": 2, "pred_hidden_size": 32,
        "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1,
    })
}  # fmt: skip


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
