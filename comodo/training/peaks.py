"""The peak memory of a trial, in a process that may have trained others before."""

import torch

from comodo.core.memory import peak_memory, settle


def reset_peaks(device: str) -> None:
    """Forgets what was used before, and gives freed memory back."""
    settle()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peaks(device: str) -> dict[str, int]:
    """Most bytes in use since `reset_peaks`, on `cpu` and, if that is the device, on `cuda`."""
    of_gpu = {"cuda": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
    return {"cpu": peak_memory(), **of_gpu}
