"""Reading what `torch.save` wrote: tensors and plain values, and never code."""

from pathlib import Path
from typing import Any

import torch

from comodo.core.errors import ComodoError


class WeightsError(ComodoError, ValueError):
    """A file that holds no tensors, or asks to run code."""


def load_tensors(path: Path, device: str = "cpu", mmap: bool = False) -> Any:
    """What the file holds, on a device; `mmap` leaves tensors in the file until they are used.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: it is damaged, or is a pickle of more than tensors.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise
    except Exception as error:  # of a damaged file torch raises whatever its parts raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path}: cannot be read as tensors alone, and nothing else is read from it "
            f"({reason}); remove it, and it is made again"
        ) from None
