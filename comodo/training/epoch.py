"""An epoch in progress: the losses of its steps so far, and what is needed to continue it.

It is part of the checkpoint, so a run that stops in the middle of an epoch loses nothing. This
module does not know students, methods or the checkpoint's file.

Shape letters: S steps of the epoch.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from comodo.core.errors import ComodoError
from comodo.training.distributed import WorkerGroup


class TrainingError(ComodoError, RuntimeError):
    """A trial that cannot continue; its last good checkpoint is kept."""


class Epoch:
    """Losses and gradient norms of the steps so far, and the time that they took.

    Epochs are numbered from 1. `seed` is for this worker's dropout in the epoch.
    """

    def __init__(self, number: int, seed: int, planned_steps: int, device: str) -> None:
        self.number, self.steps = number, 0
        # One tensor for all steps: small ones, allocated between those of a step, would fragment
        # the memory.
        self._loss_and_norm_2S = torch.zeros(2, planned_steps, device=device)
        self._seconds, self._began = 0.0, time.perf_counter()
        torch.manual_seed(seed)

    @property
    def _losses(self) -> Tensor:
        return self._loss_and_norm_2S[0, : self.steps]

    @property
    def _norms(self) -> Tensor:
        return self._loss_and_norm_2S[1, : self.steps]

    @property
    def seconds(self) -> float:
        """Time spent on the epoch, in this process and in those before it."""
        return self._seconds + time.perf_counter() - self._began

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Records one step, without waiting for the device."""
        self._loss_and_norm_2S[0, self.steps] = loss.detach()
        self._loss_and_norm_2S[1, self.steps] = norm
        self.steps += 1

    def means(self) -> tuple[float, float]:
        """Mean loss and mean gradient norm."""
        return float(self._losses.mean()), float(self._norms.mean())

    def check_finite(self, parameters: Sequence[Tensor]) -> None:
        """Checks all steps so far, and the weights as they are now.

        Raises TrainingError if a loss, gradient or weight is infinite or NaN.
        """
        for name, values in (("loss", self._losses), ("gradient", self._norms)):
            if len(bad := (~values.isfinite()).nonzero()):
                first = int(bad[0])
                raise TrainingError(
                    f"training.{name}-not-finite",
                    f"the {name} became {float(values[first])} in epoch {self.number}, step "
                    f"{first + 1}; lower learning_rate or raise the temperatures",
                )
        if not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise TrainingError(
                "training.weights-not-finite",
                f"the weights became infinite in epoch {self.number}; lower learning_rate",
            )

    def state_dict(self, workers: WorkerGroup) -> dict[str, Any]:
        """What `load_state_dict` needs; called by all workers together, for their random states."""
        return {
            "number": self.number,
            "losses": self._losses.clone(),
            "norms": self._norms.clone(),
            "seconds": self.seconds,
            "random": workers.collect(_random_state()),
        }

    def load_state_dict(self, state: dict[str, Any], workers: WorkerGroup) -> None:
        """Continues this epoch from a state.

        With another number of workers than before, dropout continues with new random numbers.
        """
        self.steps = len(state["losses"])
        self._loss_and_norm_2S[:, : self.steps] = torch.stack([state["losses"], state["norms"]])
        self._seconds = state["seconds"]
        if len(state["random"]) == workers.size:
            _set_random_state(state["random"][workers.rank])


def _random_state() -> dict[str, Tensor]:
    """The state of the generators that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
