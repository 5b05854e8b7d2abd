"""An epoch in progress: how far it has come, and all that it must know to go on from there.

Part of the checkpoint, so that a run that ends in mid-epoch loses nothing. Knows neither the
student nor the methods.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from comodo.parallel import Workers


class TrainingError(RuntimeError):
    """A trial that cannot go on; the last good checkpoint is kept."""


class Epoch:
    """Losses and gradient norms of an epoch's steps so far, and where its random numbers stand."""

    def __init__(self, number: int, seed: int) -> None:
        """`number` counts from one; `seed` is that of the epoch's dropout on this worker."""
        self.number = number
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._seconds, self._began = 0.0, time.perf_counter()
        torch.manual_seed(seed)

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return len(self._losses)

    @property
    def seconds(self) -> float:
        """Time spent on it, in this process and in those before."""
        return self._seconds + time.perf_counter() - self._began

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Counts one step. Nothing waits for the device here."""
        self._losses.append(loss.detach())
        self._norms.append(norm)

    def means(self) -> tuple[float, float]:
        """Mean loss and mean gradient norm."""
        return float(torch.stack(self._losses).mean()), float(torch.stack(self._norms).mean())

    def refuse_infinite(self, parameters: Sequence[Tensor]) -> None:
        """Raises TrainingError when a loss, a gradient or a weight became infinite or NaN."""
        for what, values in (("loss", self._losses), ("gradient", self._norms)):
            bad = [i for i, value in enumerate(values) if not math.isfinite(float(value))]
            if bad:
                raise TrainingError(
                    f"the {what} became {float(values[bad[0]])} in epoch {self.number}, step "
                    f"{bad[0] + 1}; lower learning_rate or raise the temperatures"
                )
        if not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise TrainingError(
                f"the weights became infinite in epoch {self.number}; lower learning_rate"
            )

    def state_dict(self, workers: Workers) -> dict[str, Any]:
        """Every worker must ask for it: each has random numbers of its own."""
        return {
            "number": self.number,
            "losses": torch.stack(self._losses),
            "norms": torch.stack(self._norms),
            "seconds": self.seconds,
            "random": workers.collect(_random_state()),
        }

    @classmethod
    def restored(cls, state: dict[str, Any], seed: int, workers: Workers) -> Self:
        """Goes on from a state; among another number of workers with new random numbers."""
        epoch = cls(state["number"], seed)
        epoch._losses, epoch._norms = list(state["losses"]), list(state["norms"])
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
