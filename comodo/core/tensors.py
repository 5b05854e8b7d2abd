"""Reads files that `torch.save` wrote, as tensors and plain values, never as code."""

import zipfile
from pathlib import Path
from typing import Any

from comodo.core.errors import ComodoError


class WeightsError(ComodoError, ValueError):
    """A file that has no tensors, or other objects, which could run code."""


class CutOffError(WeightsError):
    """A file whose end is missing, as after a loss of power."""


def load_tensors(path: Path, device: str = "cpu", mmap: bool = False) -> Any:
    """The file's content, on a device; `mmap` leaves tensors in the file until they are used.
    Raises FileNotFoundError, CutOffError, or WeightsError for a file that has other objects."""
    import torch  # takes seconds, which a report without checkpoints need not wait for

    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises whatever the parts of a damaged file raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = (
            f"{path}: cannot be read as tensors ({reason}); remove it, and it is created again"
        )
        kind = CutOffError if _is_cut_off(path) else WeightsError
        raise kind("weights.not-tensors", message) from None


def _is_cut_off(path: Path) -> bool:
    """Whether a file has only the beginning of what `torch.save` writes, or nothing but zeros."""
    with path.open("rb") as file:
        begin = file.read(4)
    return not any(begin) or (begin.startswith(b"PK") and not zipfile.is_zipfile(path))
