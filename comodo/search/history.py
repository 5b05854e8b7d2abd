"""The epochs of a trial so far, also while it trains and after it was pruned; reading a checkpoint
needs torch."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from comodo.core.store import fetched, find_json, remove, report_damaged, write_json
from comodo.core.tensors import CutOffError, WeightsError, load_tensors
from comodo.search.records import CHECKPOINT_FILE, HISTORY_FILE, TrainedRecord

_HISTORY = TypeAdapter(list[dict[str, int | float]])


def drop_checkpoint(folder: Path) -> None:
    """Keeps only the history of a trial that was pruned: if it runs again, it starts again."""
    write_json(folder / HISTORY_FILE, epoch_history(folder))
    remove(folder / CHECKPOINT_FILE)


def epoch_history(folder: Path) -> list[dict[str, Any]]:
    """The metrics of each epoch, from a trial's trained.json, its checkpoint, or what is left of
    that; none if all are absent or damaged."""
    if (trained := TrainedRecord.find(folder)) is not None:
        return _checked(trained.history, folder / TrainedRecord.FILE)
    checkpoint = fetched(folder, CHECKPOINT_FILE, HISTORY_FILE) / CHECKPOINT_FILE
    try:
        content = load_tensors(checkpoint, mmap=True)
    except FileNotFoundError:
        history = folder / HISTORY_FILE
        return _checked(find_json(history) or [], history)
    except CutOffError:
        report_damaged(checkpoint, "cut off")
        return []
    except WeightsError:
        report_damaged(checkpoint, "not the tensors of a checkpoint")
        return []
    found = content.get("history") if isinstance(content, dict) else None
    return _checked(found, checkpoint)


def _checked(history: Any, path: Path) -> list[dict[str, Any]]:
    """The history that a file has; none if it is not one number for each name, in every epoch."""
    try:
        epochs = _HISTORY.validate_python(history, strict=True)
        if not all(isinstance(epoch["epoch"], int) for epoch in epochs):
            raise ValueError
    except (ValueError, KeyError):
        report_damaged(path, "it has no history of epochs")
        return []
    return epochs
