"""The first-in, first-out queue of teacher embeddings that the comodo loss compares with.

It keeps and replaces embeddings, nothing else: it does not know which windows they belong to, how
the loss uses them or on which worker it lives.

Shape letters: B batch, D embedding width, Q queue length.
"""

from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional


class QueueState(TypedDict):
    """What `TeacherQueue.state_dict` returns: the keys as stored and where the oldest lies."""

    keys_QD: Tensor
    oldest: int


class TeacherQueue:
    """A full queue of Q unit-length embeddings; each push replaces the oldest ones.

    It is a ring: a push overwrites rows in place, so its cost depends on the batch, not on Q. The
    rows of `keys_QD` are therefore rotated in time; the loss does not mind, and `ordered` puts
    them straight. Device and dtype are those of the embeddings it starts with.

    Args:
        embeddings_QD: the first embeddings, oldest first, Q >= 1; copied and normalised.

    Raises:
        ValueError: not a matrix, or empty.

    Example:
        >>> queue = TeacherQueue(torch.eye(3))
        >>> queue.push(torch.tensor([[0.0, 2.0, 0.0]]))
        >>> queue.ordered()[-1]
        tensor([0., 1., 0.])
    """

    def __init__(self, embeddings_QD: Tensor) -> None:
        if embeddings_QD.ndim != 2 or 0 in embeddings_QD.shape:
            raise ValueError(
                f"a queue starts from embeddings [Q, D], Q >= 1; got {tuple(embeddings_QD.shape)}"
            )
        self.keys_QD = functional.normalize(embeddings_QD.detach(), dim=1)
        self._oldest = 0

    def __len__(self) -> int:
        return len(self.keys_QD)

    @torch.no_grad()
    def push(self, teacher_BD: Tensor) -> None:
        """Add B embeddings, the newest last, and drop the B oldest.

        Of a batch longer than the queue only the newest Q are kept.

        Raises:
            ValueError: embeddings of another width.
        """
        if teacher_BD.ndim != 2 or teacher_BD.shape[1] != self.keys_QD.shape[1]:
            raise ValueError(
                f"cannot push {tuple(teacher_BD.shape)}, expected [B, {self.keys_QD.shape[1]}]"
            )
        newest = functional.normalize(teacher_BD[-len(self) :].to(self.keys_QD), dim=1)
        until_end = min(len(newest), len(self) - self._oldest)
        wrapped = len(newest) - until_end
        self.keys_QD[self._oldest : self._oldest + until_end] = newest[:until_end]
        self.keys_QD[:wrapped] = newest[until_end:]
        self._oldest = (self._oldest + len(newest)) % len(self)

    def ordered(self) -> Tensor:
        """A copy of the keys [Q, D], oldest first."""
        return self.keys_QD.roll(-self._oldest, dims=0)

    def state_dict(self) -> QueueState:
        """A copy of everything that `load_state_dict` needs to restore the queue bit for bit."""
        return {"keys_QD": self.keys_QD.clone(), "oldest": self._oldest}

    def load_state_dict(self, state: QueueState) -> None:
        """Take over a state, keeping this queue's device.

        Raises:
            ValueError: a state of another shape or dtype.
        """
        saved, own = state["keys_QD"], self.keys_QD
        if saved.shape != own.shape or saved.dtype != own.dtype:
            raise ValueError(
                f"queue state is {tuple(saved.shape)} {saved.dtype}, "
                f"this queue is {tuple(own.shape)} {own.dtype}"
            )
        own.copy_(saved)
        self._oldest = state["oldest"]
