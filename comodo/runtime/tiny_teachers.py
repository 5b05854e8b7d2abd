"""Teachers of smoke runs: real classes of transformers, at tiny sizes and with random weights."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from comodo.config.teacher import TEACHERS
from comodo.core.store import Store, key_of, publish

ENDS = ("<pad>", "<end>", "<unk>", "<bos>", "<eos>", "<mask>")
TEXT_LENGTH = 128  # of tiny models, in tokens, which are bytes
_OF_FAMILY: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    name: TEACHERS.code(name).constants.get("TINY", {}) for name in TEACHERS.built_in
}
STAND_INS = {name: tuple(tiny) for name, tiny in _OF_FAMILY.items() if len(tiny) > 1}
"""Of families with many architectures: the tiny one is that whose name is in the name of the
weights, or else the last; with `pooling: joint` of those with a text side."""
TINY_TEACHERS = {name: of for tiny in _OF_FAMILY.values() for name, of in tiny.items()}
"""Classes of transformers, without `Config` and `Model`, and their tiny sizes: of each family TINY
in its file."""


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
