"""PyTorch for modules that also hold settings: it is imported when it is first used, as a sweep
file is read in a fraction of the time that importing PyTorch takes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]

if TYPE_CHECKING:
    import torch
else:

    class _Torch:
        def __getattr__(self, name: str) -> Any:
            return getattr(import_module("torch"), name)

    torch = _Torch()
