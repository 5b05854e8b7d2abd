"""A network's training pass as a CUDA graph: what it launches is recorded once and then replayed.

A step of a small student is a thousand kernels of microseconds each, and a GPU is done with one
before a processor has launched the next. Replayed, they compute what they would have computed, with
the random numbers that they would have drawn; only the matrix library may choose others while it is
recorded. Knows GPUs, and nothing of students or training.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn


def cuda_graphed(network: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that gives `network(x)` of any `x` of this shape, and its gradients.

    Called under the autocast, without cache, in which it is to compute. The network must launch the
    same kernels at every call and never wait for the GPU, and its parameters may change in place
    only. What it keeps for the backward pass stays allocated for as long as the function lives.
    """
    # Gradients are summed in the stream that recorded; the training's waits for it, as it should.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    with torch.random.fork_rng([x.device]):  # recording runs the network a few times
        # Another module, so that the network's own forward pass stays as it is for other shapes.
        replay = torch.cuda.make_graphed_callables(
            nn.Sequential(network), (torch.zeros_like(x),), allow_unused_input=True
        )
    return cast(Callable[[Tensor], Tensor], replay)
