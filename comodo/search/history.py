"""The epochs of a trial so far, also while it trains; reading a checkpoint needs torch."""

from typing import Any

from comodo.core.store import fetched
from comodo.core.tensors import load_tensors
from comodo.search.trial_folder import TrialFolder


def epoch_history(folder: TrialFolder) -> list[dict[str, Any]]:
    """The metrics of each epoch, from trained.json or else from the checkpoint."""
    if folder.trained is not None:
        return folder.trained.history
    checkpoint = fetched(folder.path, "checkpoint.pt") / "checkpoint.pt"
    try:
        history: list[dict[str, Any]] = load_tensors(checkpoint, mmap=True)["history"]
    except FileNotFoundError:  # no epoch yet
        return []
    return history
