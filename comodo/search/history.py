"""The epochs of a trial so far, also while it trains; reading a checkpoint needs torch."""

from pathlib import Path
from typing import Any

from comodo.core.store import fetched, report_damaged
from comodo.core.tensors import CutOffError, load_tensors
from comodo.search.records import TrainedRecord


def epoch_history(folder: Path) -> list[dict[str, Any]]:
    """The metrics of each epoch, from a trial's trained.json or else from its checkpoint; none if
    that is absent or cut off."""
    if (trained := TrainedRecord.find(folder)) is not None:
        return trained.history
    checkpoint = fetched(folder, "checkpoint.pt") / "checkpoint.pt"
    try:
        history: list[dict[str, Any]] = load_tensors(checkpoint, mmap=True)["history"]
    except FileNotFoundError:  # no epoch yet
        return []
    except CutOffError:
        report_damaged(checkpoint, "cut off")
        return []
    return history
