"""The file of the embeddings of classes' texts in a teacher's space. Knows no teacher.

Shape letters: K classes, D width of the space shared with text.
"""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from comodo.core.store import atomic, key_of


def prompts_file(folder: Path, template: str) -> Path:
    """Where the texts of a template are, next to the packed features of teacher and data set."""
    return folder / f"prompts-{key_of(template)}.safetensors"


def save_prompts(path: Path, prompts: list[str], text_KD: Tensor) -> None:
    with atomic(path) as temporary:
        save_file({"text": text_KD.contiguous()}, temporary, {"prompts": json.dumps(prompts)})


def load_prompts(path: Path) -> tuple[list[str], Tensor]:
    """The text of each class, and `text_KD`. Raises FileNotFoundError."""
    with safe_open(path, "pt") as content:
        prompts: list[str] = json.loads(content.metadata()["prompts"])
        return prompts, content.get_tensor("text")
