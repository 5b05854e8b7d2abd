"""The teacher family `timesformer`."""

from comodo.config import TeacherConfig
from comodo.models.pretrained import MeanStd, load_pretrained, mean_std
from comodo.models.teachers import Teacher, TokenTeacher

PRESETS = {"timesformer-base-k400": {"weights": "facebook/timesformer-base-finetuned-k400"}}
TINY = {
    "timesformer": ("Timesformer", {
        "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "intermediate_size": 32, "num_frames": 2,
    })
}  # fmt: skip
# For weights without a preprocessor_config.json.
TIMESFORMER_MEAN_STD: MeanStd = ((0.45,) * 3, (0.225,) * 3)


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
