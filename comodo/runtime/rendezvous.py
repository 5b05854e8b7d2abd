"""How a trial's workers find each other when all of them are on this machine: through a file.

Ray Train lets them meet at a port, on which PyTorch then listens on all addresses of the machine;
anyone who reaches it can take part, and what the workers send each other is pickled. The folder of
the file belongs to the user alone. Knows nothing of trials.
"""

import os
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import ray
import ray.train
import torch.distributed as dist
from ray.train.torch import TorchConfig

TorchBackend: Any = TorchConfig().backend_cls


class _FileBackend(TorchBackend):  # type: ignore[misc]
    """Ray's backend for PyTorch, which offers no choice of where the workers meet."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        gpus = worker_group.get_resources_per_worker().get("GPU", 0)
        url, size = f"file://{backend_config.folder}/{uuid4().hex}", len(worker_group)
        arguments = (_join, "nccl" if gpus else "gloo", url, size)
        ray.get([worker_group.execute_single_async(n, *arguments, n) for n in range(size)])


def _join(backend: str, url: str, size: int, rank: int) -> None:
    context = ray.train.get_context()
    os.environ |= {  # which PyTorch's backends may read, as under torchrun
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "NODE_RANK": str(context.get_node_rank()),
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
    }
    dist.init_process_group(backend, url, world_size=size, rank=rank)


@dataclass
class FileRendezvous(TorchConfig):
    """PyTorch's workers meet through a new file in this folder."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[_FileBackend]:
        return _FileBackend
