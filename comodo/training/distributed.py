"""Several workers that train one student as if they were one.

A step's batch is divided: every worker runs the student on its share, all features are gathered,
and head, loss and queue are computed on the whole batch everywhere, so that batch normalisation and
queue are those of a single worker. Knows torch.distributed, nothing of Ray or of the methods.
"""

from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


class WorkerGroup:
    """This process's place among the workers; one worker without torch.distributed."""

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized()
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)

    def share(self, index_B: Tensor) -> Tensor:
        """This worker's part of a batch's indices; the parts differ by one at most."""
        return index_B.tensor_split(self.size)[self.rank]

    def gather(self, mine_bD: Tensor, batch: int) -> Tensor:
        """All workers' rows `[batch, D]` in the batch's order; gradients reach only this worker's.

        Every worker differentiates the same loss by its own rows, so the sum of the workers'
        gradients of the student is the gradient of one worker with the whole batch.
        """
        if self.size == 1:
            return mine_bD
        sizes = [len(part) for part in torch.arange(batch).tensor_split(self.size)]
        padded = mine_bD.new_zeros(max(sizes), mine_bD.shape[1])
        padded[: len(mine_bD)] = mine_bD.detach()
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        parts = [part[:size] for part, size in zip(received, sizes, strict=True)]
        parts[self.rank] = mine_bD
        return torch.cat(parts)

    def sum_gradients(self, module: nn.Module) -> None:
        """Adds the workers' gradients of a module whose input was divided, in one exchange."""
        if self.size == 1:
            return
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # this worker's share was empty
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        at = 0
        for parameter in parameters:
            grad = flat[at : at + parameter.numel()]
            parameter.grad = grad.view_as(parameter)
            at += parameter.numel()

    def collect(self, mine: Value) -> list[Value]:
        """Every worker's value, in the order of their ranks; all must ask."""
        if self.size == 1:
            return [mine]
        found: list[Value | None] = [None] * self.size
        dist.all_gather_object(found, mine)
        return cast(list[Value], found)

    def wait(self) -> None:
        """Returns when every worker has come here."""
        if self.size > 1:
            dist.barrier()
