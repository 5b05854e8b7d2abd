"""How the features of teachers are pooled, by the architecture of their weights, which is the
`model_type` of their config.json. Loads no torch."""

from typing import Literal

Pooling = Literal["mean", "cls", "pooled", "joint"]
"""`mean` of all tokens; `cls`, the first token; `pooled`, the model's own pooled output; `joint`,
its embedding in the space that it shares with text."""

POOLINGS: dict[str, tuple[Pooling, ...]] = {
    "timesformer": ("mean", "cls"),
    "videomae": ("mean",),
    "vjepa2": ("mean",),
    "vivit": ("cls", "mean", "pooled"),
    "videoprism_vision_model": ("mean",),
    "videoprism": ("joint", "mean"),
    "xclip": ("joint", "mean"),
    "pe_video_encoder": ("pooled", "mean"),
    "pe_video": ("joint", "mean"),
}
"""Of each architecture that is known to be a video encoder, the poolings that it has; the first is
the default. ViViT classifies by its first token; VideoMAE and V-JEPA 2 have none."""
