"""An epoch in progress: how far it has come, and all that it must know to go on from there.

Part of the checkpoint, so that a run that ends in mid-epoch loses nothing. Knows neither the
student nor the methods.
"""

import time
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from comodo.core.errors import ComodoError
from comodo.training.distributed import WorkerGroup


class TrainingError(ComodoError, RuntimeError):
    """A trial that cannot go on; the last good checkpoint is kept."""


class Epoch:
    """Losses and gradient norms of an epoch's steps so far, and where its random numbers stand."""

    def __init__(self, number: int, seed: int, planned: int, device: str) -> None:
        """`number` counts from one; `seed` is that of the epoch's dropout on this worker, `planned`
        how many steps it has."""
        self.number, self.steps = number, 0
        # One tensor for all: a small one of each step, among the step's own, holds on to memory.
        self._all_2S = torch.zeros(2, planned, device=device)
        self._seconds, self._began = 0.0, time.perf_counter()
        torch.manual_seed(seed)

    @property
    def _losses(self) -> Tensor:
        return self._all_2S[0, : self.steps]

    @property
    def _norms(self) -> Tensor:
        return self._all_2S[1, : self.steps]

    @property
    def seconds(self) -> float:
        """Time spent on it, in this process and in those before."""
        return self._seconds + time.perf_counter() - self._began

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Counts one step. Nothing waits for the device here."""
        self._all_2S[0, self.steps] = loss.detach()
        self._all_2S[1, self.steps] = norm
        self.steps += 1

    def means(self) -> tuple[float, float]:
        """Mean loss and mean gradient norm."""
        return float(self._losses.mean()), float(self._norms.mean())

    def refuse_infinite(self, parameters: Sequence[Tensor]) -> None:
        """Raises TrainingError when a loss, a gradient or a weight became infinite or NaN."""
        for what, values in (("loss", self._losses), ("gradient", self._norms)):
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                first = int(bad[0])
                raise TrainingError(
                    f"the {what} became {float(values[first])} in epoch {self.number}, step "
                    f"{first + 1}; lower learning_rate or raise the temperatures"
                )
        if not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise TrainingError(
                f"the weights became infinite in epoch {self.number}; lower learning_rate"
            )

    def state_dict(self, workers: WorkerGroup) -> dict[str, Any]:
        """Every worker must ask for it: each has random numbers of its own."""
        return {
            "number": self.number,
            "losses": self._losses.clone(),
            "norms": self._norms.clone(),
            "seconds": self.seconds,
            "random": workers.collect(_random_state()),
        }

    @classmethod
    def restored(
        cls, state: dict[str, Any], seed: int, planned: int, device: str, workers: WorkerGroup
    ) -> Self:
        """Goes on from a state; among another number of workers with new random numbers."""
        epoch = cls(state["number"], seed, planned, device)
        epoch.steps = len(state["losses"])
        epoch._all_2S[:, : epoch.steps] = torch.stack([state["losses"], state["norms"]])
        epoch._seconds = state["seconds"]
        if len(state["random"]) == workers.size:
            _set_random_state(state["random"][workers.rank])
        return epoch


def _random_state() -> dict[str, Tensor]:
    """Of the generators that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
