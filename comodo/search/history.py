"""The epochs that a trial has come to, read from its folder."""

from pathlib import Path
from typing import Any

from comodo.core.store import fetched, read_json


def epochs_in(folder: Path) -> list[dict[str, Any]]:
    """The metrics of the epochs that the trial of this folder has come to."""
    if (folder / "trained.json").exists():  # and not measured yet
        kept = read_json(folder / "trained.json")
    else:
        kept = _checkpoint(fetched(folder, "checkpoint.pt") / "checkpoint.pt")
    history: list[dict[str, Any]] = kept.get("history", [])
    return history


def _checkpoint(path: Path) -> dict[str, Any]:
    from comodo.core.tensors import load_tensors

    try:
        # Mapped: the weights are not read.
        kept: dict[str, Any] = load_tensors(path, mmap=True)
    except FileNotFoundError:  # no epoch yet
        return {}
    return kept
