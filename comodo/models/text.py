"""Embeddings of texts in the space that a teacher's `joint` features are in."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from comodo.config import TeacherConfig
from comodo.models.pretrained import load_pretrained

PADDED = ("siglip", "siglip2", "videoprism")
"""Architectures whose texts were padded to the longest in training."""
WITHOUT_MASK = ("siglip", "siglip2")
"""Architectures that saw the padding, which followed the text, as text in training."""
LEAST_TOKENS = 16
"""Of a tokenizer with a vocabulary: transformers makes one without where its files are missing."""


@torch.inference_mode()
def text_embeddings(settings: TeacherConfig, texts: list[str]) -> Tensor:
    """Embeddings `[K, D]` of unit length, float32. Raises ValueError for weights without a side for
    text, or a text that is longer than they take."""
    from transformers import AutoModel, AutoTokenizer

    model = load_pretrained(AutoModel, settings, attention=None)
    kind = model.config.model_type
    if not hasattr(model, "get_text_features"):
        raise ValueError(f"weights {settings.weights!r}: {kind} gives no embeddings of texts")
    allowed = settings.allow_remote_code == settings.weights
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            settings.weights, revision=settings.revision or "main", trust_remote_code=allowed
        )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"weights {settings.weights!r} have no tokenizer: {reason}") from error
    text = model.config.text_config
    if not LEAST_TOKENS <= len(tokenizer) <= text.vocab_size:
        raise ValueError(
            f"weights {settings.weights!r} have no tokenizer that fits: it has {len(tokenizer)} "
            f"tokens, the model {text.vocab_size}"
        )
    longest = text.max_position_embeddings
    for one in texts:
        if (count := len(tokenizer(one)["input_ids"])) > longest:
            raise ValueError(f"the text {one!r} has {count} tokens; {kind} takes {longest}")
    padding = "max_length" if kind in PADDED else "longest"
    tokens = tokenizer(
        texts, return_tensors="pt", padding=padding, max_length=longest, padding_side="right"
    )
    names = ["input_ids"] if kind in WITHOUT_MASK else ["input_ids", "attention_mask"]
    out = model.get_text_features(**{name: tokens[name] for name in names})
    return functional.normalize(out.pooler_output.flatten(1).float(), dim=1)
