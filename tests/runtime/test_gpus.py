"""GPUs that Ray reserves and PyTorch cannot use."""

import pytest
import torch

from comodo.runtime.gpus import PRETENDED, GpuError, refuse_unusable_gpu
from tests.errors import raises


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_pytorch_cannot_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_unusable_gpu.cache_clear()
    monkeypatch.delenv(PRETENDED)
    built_for = str(torch.version.cuda) if torch.version.cuda else "CPUs alone"
    with raises(GpuError, "gpu.unusable", torch.__version__, built_for, "gpus_per_worker: 0"):
        refuse_unusable_gpu()
