"""The epochs of a trial so far, also while it trains and after it was pruned; reading a checkpoint
needs torch."""

from pathlib import Path
from typing import Any

from comodo.core.store import fetched, find_json, remove, report_damaged, write_json
from comodo.core.tensors import CutOffError, load_tensors
from comodo.search.records import CHECKPOINT_FILE, HISTORY_FILE, TrainedRecord


def drop_checkpoint(folder: Path) -> None:
    """Keeps only the history of a trial that was pruned: if it runs again, it starts again."""
    write_json(folder / HISTORY_FILE, epoch_history(folder))
    remove(folder / CHECKPOINT_FILE)


def epoch_history(folder: Path) -> list[dict[str, Any]]:
    """The metrics of each epoch, from a trial's trained.json, its checkpoint, or what is left of
    that; none if all are absent or damaged."""
    if (trained := TrainedRecord.find(folder)) is not None:
        return trained.history
    checkpoint = fetched(folder, CHECKPOINT_FILE, HISTORY_FILE) / CHECKPOINT_FILE
    try:
        history: list[dict[str, Any]] = load_tensors(checkpoint, mmap=True)["history"]
    except FileNotFoundError:
        history = find_json(folder / HISTORY_FILE) or []
    except CutOffError:
        report_damaged(checkpoint, "cut off")
        return []
    return history
