"""Tiny video encoders with random weights, and their settings and frames."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import (
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEModel,
)

from comodo.models.teachers import Teacher

TINY: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


IMAGE = {key: TINY[key] for key in TINY if key != "num_frames"}


VJEPA2 = {
    **{key: TINY[key] for key in ("patch_size", "hidden_size", "num_hidden_layers")},
    "num_attention_heads": 2,
    "crop_size": 32,
    "frames_per_clip": 4,
    "pred_hidden_size": 16,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
    "num_pooler_layers": 1,
}


TEXT = {key: TINY[key] for key in TINY if key.endswith(("size", "layers", "heads"))}
for key in ("image_size", "patch_size"):
    del TEXT[key]


XCLIP: dict[str, Any] = {
    "text_config": {**TEXT, "vocab_size": 8, "max_position_embeddings": 8, "eos_token_id": 7},
    "vision_config": {
        **TINY,
        "mit_hidden_size": 24,
        "mit_intermediate_size": 32,
        "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 2,
    },
    "projection_dim": 24,
    "prompt_num_attention_heads": 2,
}

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def settings(name: str, weights: object = None, **others: Any) -> Any:
    fields: dict[str, Any] = {"revision": None, "frames": None, "precision": "float32"}
    fields |= {"allow_remote_code": None, "pooling": None} | others
    return SimpleNamespace(name=name, weights=None if weights is None else str(weights), **fields)


def frames(batch: int, teacher: Teacher, seed: int = 0) -> Tensor:
    shape = (batch, teacher.frames, teacher.image_size, teacher.image_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(seed))


def normalised(frames_BFHW3: Tensor, mean: list[float], std: list[float]) -> Tensor:
    pixels = (frames_BFHW3 / 255 - torch.tensor(mean)) / torch.tensor(std)
    return pixels.permute(0, 1, 4, 2, 3)


def save(
    model: Any, folder: Path, processor: str = "preprocessor_config.json", **size: Any
) -> Path:
    model.save_pretrained(folder)
    if processor:
        content = {"image_mean": MEAN, "image_std": STD, **(size or {"size": {"height": 32}})}
        (folder / processor).write_text(json.dumps(content))
    return folder


def timesformer(**config: Any) -> TimesformerModel:
    """Its weights are so large that attention depends on the tokens."""
    torch.manual_seed(0)
    model = TimesformerModel(TimesformerConfig(**TINY, **config)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("weight", "embeddings")) and "norm" not in name:
                weight.normal_(std=0.3)
    return model


def videomae(**config: Any) -> VideoMAEModel:
    torch.manual_seed(0)
    return VideoMAEModel(VideoMAEConfig(**TINY, **config)).eval()
