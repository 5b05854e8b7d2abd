"""Teachers of smoke runs: real classes of transformers, at tiny sizes and with random weights."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from comodo.core.store import Store, key_of, publish

_VIT = {
    "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip
_IMAGE_VIT = {**_VIT, "image_size": 32, "intermediate_size": 32}
_VIDEO_VIT = {**_IMAGE_VIT, "num_frames": 2}
ENDS = ("<pad>", "<end>", "<unk>", "<bos>", "<eos>", "<mask>")
TEXT_LENGTH = 128  # of tiny models, in tokens, which are bytes
_TEXT = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": TEXT_LENGTH, "eos_token_id": 257,
}  # fmt: skip
STAND_INS = {
    "image": ("siglip", "clip", "dinov2"),
    "video": ("videoprism", "xclip", "vivit"),
}
"""Of families with many architectures: the tiny one is that whose name is in the name of the
weights, or else the last; with `pooling: joint` of those with a text side."""
TINY_TEACHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "timesformer": ("Timesformer", _VIDEO_VIT),
    "videomae": ("VideoMAE", _VIDEO_VIT),
    "vjepa2": ("VJEPA2", {
        **_VIT, "crop_size": 32, "frames_per_clip": 2, "pred_hidden_size": 32,
        "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1,
    }),
    "vivit": ("Vivit", {
        **{key: n for key, n in _VIDEO_VIT.items() if key != "patch_size"},
        "tubelet_size": (2, 16, 16),
    }),
    "videoprism": ("VideoPrismVision", {
        "image_size": 32, "num_frames": 2, "tubelet_size": (1, 16, 16), "hidden_size": 32,
        "num_attention_heads": 2, "intermediate_size": 32, "num_spatial_layers": 1,
        "num_temporal_layers": 1,
    }),
    "xclip": ("XCLIP", {
        "text_config": _TEXT, "projection_dim": 32, "prompt_num_attention_heads": 2,
        "vision_config": {
            **_VIDEO_VIT, "mit_hidden_size": 32, "mit_intermediate_size": 32,
            "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
        },
    }),
    "siglip": ("Siglip", {"text_config": _TEXT, "vision_config": _IMAGE_VIT}),
    "clip": ("CLIP", {
        "text_config": _TEXT, "vision_config": _IMAGE_VIT, "projection_dim": 32,
    }),
    "dinov2": ("Dinov2", {**_VIT, "image_size": 32, "mlp_ratio": 1}),
}  # fmt: skip
"""Classes of transformers, without `Config` and `Model`, and their tiny sizes."""


def has_text(name: str) -> bool:
    """Whether texts can be embedded too."""
    return "text_config" in TINY_TEACHERS[name][1]


def tiny_teacher(family: str, store: Store) -> Path:
    """Folder of a tiny transformer with random weights, created once."""
    classes, size = TINY_TEACHERS[family]
    folder = store.folder("smoke", f"{family}-{key_of([classes, size])[:8]}")
    if not folder.exists():
        import torch
        import transformers

        config = getattr(transformers, f"{classes}Config")(**size)
        transformers.utils.logging.disable_progress_bar()
        folder.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = getattr(transformers, f"{classes}Model")(config)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary, family)
            model.save_pretrained(made)
            colours = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
            (made / "preprocessor_config.json").write_text(json.dumps(colours))
            if "text_config" in size:
                save_tokenizer(made)
            publish(made, folder, "preprocessor_config.json")
            with suppress(OSError):  # another process was faster
                made.rename(folder)
    return folder


def save_tokenizer(folder: Path) -> Any:
    """A tokenizer whose tokens are bytes, in a folder of weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: number for number, token in enumerate([*alphabet, *ENDS])}
    tokenizer = Tokenizer(models.BPE(tokens, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", tokens["<end>"])]
    )
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>"
    )
    whole.save_pretrained(folder)
    return whole
