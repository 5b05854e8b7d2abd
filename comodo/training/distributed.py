"""Data-parallel training that gives the same student as a single worker.

Each worker runs the student on its part of the batch. The features are then gathered, and every
worker computes head, loss and queue on the whole batch, so batch normalisation and queue are those
of a single worker. This module does not know Ray or the methods. Shape letters: B batch, b this
worker's part of it, D feature width.
"""

from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


class WorkerGroup:
    """The workers of a run, and this process's rank; a single one without torch.distributed."""

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized()
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)

    def share(self, index_B: Tensor) -> Tensor:
        """This worker's part of a batch; the sizes of the parts differ by at most one."""
        return index_B.tensor_split(self.size)[self.rank]

    def gather(self, own_bD: Tensor, batch: int) -> Tensor:
        """The rows of all workers `[batch, D]`, in the batch's order.

        Only this worker's rows pass a gradient on. All workers compute the same loss, so the sum
        of their gradients is the gradient of a single worker with the whole batch.
        """
        if self.size == 1:
            return own_bD
        sizes = [len(part) for part in torch.arange(batch).tensor_split(self.size)]
        padded = own_bD.new_zeros(max(sizes), own_bD.shape[1])
        padded[: len(own_bD)] = own_bD.detach()
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        parts = [part[:size] for part, size in zip(received, sizes, strict=True)]
        parts[self.rank] = own_bD
        return torch.cat(parts)

    def sum_gradients(self, module: nn.Module) -> None:
        """Sums, in place, the gradients of a module whose input was divided among the workers."""
        if self.size == 1:
            return
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # this worker's part was empty
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        grads = flat.split([parameter.numel() for parameter in parameters])
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.view_as(parameter)

    def collect(self, own: Value) -> list[Value]:
        """The values of all workers, by rank; all of them must call it."""
        if self.size == 1:
            return [own]
        values: list[Value | None] = [None] * self.size
        dist.all_gather_object(values, own)
        return cast(list[Value], values)

    def wait(self) -> None:
        """A barrier: returns when all workers have called it."""
        if self.size > 1:
            dist.barrier()
