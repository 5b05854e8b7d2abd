"""The queue: a FIFO of teacher embeddings, which the comodo loss uses as keys.

It does not know which windows embeddings belong to, how the loss uses them or which worker it is
on. Shape letters: B batch, D embedding width, Q queue length.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from comodo.config import TrialConfig
from comodo.config.methods import queue_key
from comodo.training.epoch import TrainingError

PUBLISHED_SEED = 16349


def published_windows(count: int, size: int) -> Tensor:
    """Places `[Q]` of the windows that fill the published queue, among `count` training windows in
    the order of the data set's lists: the same for every seed, ascending, so that the first of the
    lists is the oldest in the queue."""
    drawn_Q = np.random.RandomState(PUBLISHED_SEED).choice(count, size, replace=False)
    return torch.from_numpy(np.sort(drawn_Q))


def first_windows(trial: TrialConfig, count: int, seed: int) -> Tensor:
    """Places `[Q]` of the windows that fill the queue of a trial that has one, by its
    `queue_windows`, among `count` training windows.

    Raises TrainingError if they leave too few for the first epoch.
    """
    loss = trial.method.queue
    assert loss is not None
    if loss.queue_size > count - 2 * loss.hold_out_queue:
        raise TrainingError(
            "training.queue-too-long",
            f"{queue_key(trial.method)}: {loss.queue_size} leaves too little of {count} "
            "training windows for the first epoch",
        )
    if trial.queue_windows == "published":
        return published_windows(count, loss.queue_size)
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[: loss.queue_size]


class TeacherQueue:
    """Q teacher embeddings of unit length; pushing new ones replaces the oldest.

    The keys of `comodo_loss`, as in COMODO (arXiv 2503.07259). A ring buffer that is always full: a
    push overwrites rows in place, so its cost depends on the batch and not on Q, and the rows of
    `keys_QD` are not in order of age.

    Args:
        embeddings_QD: the first embeddings `[Q, D]`, oldest first, of training windows. They are
            copied and normalised, and set length, device and dtype.

    Attributes:
        keys_QD: the embeddings `[Q, D]`, without gradient.

    Raises:
        ValueError: not two-dimensional, or empty.
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
        """Adds B embeddings, newest last, in place of the B oldest.

        If the batch is longer than the queue, only its last Q are kept. Raises ValueError for
        another width than the queue's.
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

    def state_dict(self) -> dict[str, Any]:
        """A copy of the keys as stored, and the row of the oldest."""
        return {"keys_QD": self.keys_QD.clone(), "oldest": self._oldest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores, bit for bit, a state of the same shape and dtype on this queue's device."""
        saved, own = state["keys_QD"], self.keys_QD
        if saved.shape != own.shape or saved.dtype != own.dtype:
            raise ValueError(
                f"queue state is {tuple(saved.shape)} {saved.dtype}, "
                f"this queue is {tuple(own.shape)} {own.dtype}"
            )
        own.copy_(saved)
        self._oldest = state["oldest"]
