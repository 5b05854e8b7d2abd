"""What this machine has of a model on the Hugging Face hub. Knows no model."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"  # which every model has


def known_commit(model: str, revision: str | None) -> str | None:
    """The commit that a branch or tag (None: `main`) meant when it was last downloaded to this
    machine; None for a folder, or if nothing of it was."""
    if Path(model).exists():
        return None
    found = _downloaded(model, revision)
    return None if found is None else found.parent.name


def known_config(model: str, revision: str | None) -> dict[str, Any]:
    """The configuration of a folder of weights, or of a model that was downloaded to this machine;
    empty without one."""
    found = Path(model) / CONFIG_FILE if Path(model).exists() else _downloaded(model, revision)
    if found is None or not found.is_file():
        return {}
    content: dict[str, Any] = json.loads(found.read_text())
    return content


def _downloaded(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError):  # no hub id
        found = try_to_load_from_cache(model, CONFIG_FILE, revision=revision)
        return Path(found) if isinstance(found, str) else None
    return None


def resolved_commit(model: str, revision: str | None) -> str | None:
    """As `known_commit`, after asking the hub where nothing was downloaded."""
    from huggingface_hub import hf_hub_download

    if (commit := known_commit(model, revision)) is None and not Path(model).exists():
        with suppress(OSError, ValueError):  # loading it gives the reason
            hf_hub_download(model, CONFIG_FILE, revision=revision)
            commit = known_commit(model, revision)
    return commit
