"""How a trial's workers find each other where all of them are on this machine: by a file.

Ray Train has them meet at a port, on which PyTorch then listens on all addresses of the machine;
whoever reaches it takes part, and what the workers send each other is pickled. The folder of the
file is the user's own. Knows nothing of trials.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import ray
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend


class _ByFile(_TorchBackend):
    """Ray's, but for the place where they meet; it offers no choice of that."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        gpus = worker_group.get_resources_per_worker().get("GPU", 0)
        worker_group.execute(_set_torch_distributed_env_vars)
        place, size = f"file://{backend_config.folder}/{uuid4().hex}", len(worker_group)
        joined = (_join, "nccl" if gpus else "gloo", place, size)
        ray.get([worker_group.execute_single_async(n, *joined, n) for n in range(size)])


def _join(backend: str, place: str, size: int, number: int) -> None:
    dist.init_process_group(backend, place, world_size=size, rank=number)


@dataclass
class FileRendezvous(TorchConfig):
    """Settings of PyTorch's workers that meet by a new file in this folder."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[_ByFile]:
        return _ByFile
