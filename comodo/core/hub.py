"""The commit of a model on the Hugging Face hub that this machine has. Knows no model."""

from contextlib import suppress
from pathlib import Path

CONFIG_FILE = "config.json"  # which every model has


def known_commit(model: str, revision: str | None) -> str | None:
    """The commit that a branch or tag (None: `main`) meant when it was last downloaded to this
    machine; None for a folder, or if nothing of it was."""
    from huggingface_hub import try_to_load_from_cache

    if Path(model).exists():
        return None
    with suppress(ValueError):  # no hub id
        found = try_to_load_from_cache(model, CONFIG_FILE, revision=revision)
        return Path(found).parent.name if isinstance(found, str) else None
    return None


def resolved_commit(model: str, revision: str | None) -> str | None:
    """As `known_commit`, after asking the hub where nothing was downloaded."""
    from huggingface_hub import hf_hub_download

    if (commit := known_commit(model, revision)) is None and not Path(model).exists():
        with suppress(OSError, ValueError):  # loading it gives the reason
            hf_hub_download(model, CONFIG_FILE, revision=revision)
            commit = known_commit(model, revision)
    return commit
