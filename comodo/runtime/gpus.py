"""Whether a process can use the GPU that Ray reserved for it."""

import os
from functools import cache
from pathlib import Path

from comodo.core.errors import ComodoError

PRETENDED = "COMODO_PRETENDED_GPUS"
"""Set where Ray was given GPUs that do not exist, as in tests: trials then compute on CPUs."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")


class GpuError(ComodoError, RuntimeError):
    """PyTorch cannot use the GPU that Ray reserved for a process."""


@cache
def refuse_unusable_gpu() -> None:
    """Raises GpuError where PyTorch cannot compute on this process's GPU: it would train on the CPU
    while the GPU is reserved and idle."""
    if PRETENDED in os.environ:
        return
    import torch  # here: processes that write features would wait seconds for it

    try:
        torch.ones(1, device="cuda").add_(1).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
        reason = str(error).strip().split("\n")[0]
        driver = DRIVER_FILE.read_text().split("\n")[0] if DRIVER_FILE.exists() else "none found"
        built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
        raise GpuError(
            "gpu.unusable",
            f"PyTorch {torch.__version__} cannot use the GPU that Ray reserved ({reason}). It is "
            f"built for {built_for}; driver: {driver}. Install a newer driver, or a PyTorch built "
            "for this GPU and driver, or set resources.gpus_per_worker: 0 to train on CPUs",
        ) from None
