"""An autograd function for losses that compute their gradient in the forward pass.

This module does not know any particular loss.

Shape letters: B batch, D embedding width, K keys.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class LossWithGradient(torch.autograd.Function):
    """The loss that `compare(student_BD)` returns together with its gradient `[B, D]`.

    Only that gradient is kept for the backward pass, never a `[B, K]` tensor.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, student_BD: Tensor, compare: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> Tensor:
        loss, gradient_BD = compare(student_BD)
        ctx.save_for_backward(gradient_BD)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:
        (gradient_BD,) = ctx.saved_tensors
        return grad_loss * gradient_BD, None
