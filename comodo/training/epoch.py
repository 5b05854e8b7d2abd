"""An epoch in progress, which is part of the checkpoint, and when a checkpoint is written.

A run that stops in the middle of an epoch therefore loses nothing. This module does not know
students, methods or the checkpoint's file. Shape letters: S steps of the epoch,
V values of each.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from comodo.core.errors import ComodoError
from comodo.training.distributed import WorkerGroup

ShouldStop = Callable[[], bool]
"""Called between steps: whether the run has to leave its machine. It may also raise an error."""

MAX_SECONDS_UNSAVED = 600.0  # training time that a killed process loses at most
STOP_POLL_STEPS = 16  # of several workers, which must decide together: a poll is communication


class TrainingError(ComodoError, RuntimeError):
    """A trial that cannot continue; its last good checkpoint is kept."""


class Paused(RuntimeError):
    """The run had to stop before its last epoch; everything up to there is in its checkpoint."""


class Epoch:
    """Losses and gradient norms of the steps so far, and the time that they took.

    Epochs are numbered from 1. `seed` is for this worker's dropout in the epoch; `terms` are the
    names of the losses that are summed, if there are several.
    """

    def __init__(
        self, number: int, seed: int, planned_steps: int, device: str, terms: Sequence[str] = ()
    ) -> None:
        self.number, self.steps, self._terms = number, 0, tuple(terms)
        # One tensor for all steps: small ones, allocated between those of a step, would fragment
        # the memory. Losses, gradient norms, then the terms.
        self._values_VS = torch.zeros(2 + len(terms), planned_steps, device=device)
        self._seconds, self._began = 0.0, time.perf_counter()
        torch.manual_seed(seed)

    @property
    def _so_far(self) -> tuple[Tensor, Tensor]:
        """Losses and gradient norms of the steps so far."""
        return self._values_VS[0, : self.steps], self._values_VS[1, : self.steps]

    @property
    def seconds(self) -> float:
        """Time spent on the epoch, in this process and in those before it."""
        return self._seconds + time.perf_counter() - self._began

    def add(self, loss: Tensor, norm: Tensor, terms: Sequence[Tensor] = ()) -> None:
        """Records one step, without waiting for the device."""
        for place, value in enumerate((loss, norm, *terms)):
            self._values_VS[place, self.steps] = value.detach()
        self.steps += 1

    def means(self) -> tuple[float, float]:
        """Mean loss and mean gradient norm."""
        losses, norms = self._so_far
        return float(losses.mean()), float(norms.mean())

    def term_means(self) -> dict[str, float]:
        """Mean of each loss that is summed, before its weight; empty for a single one."""
        means = self._values_VS[2:, : self.steps].mean(dim=1).tolist()
        return dict(zip(self._terms, means, strict=True))

    def check_finite(self, parameters: Sequence[Tensor]) -> None:
        """Raises TrainingError if a loss or gradient so far, or a weight, is infinite or NaN."""
        for name, values in zip(("loss", "gradient"), self._so_far, strict=True):
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
        losses, norms = self._so_far
        return {
            "number": self.number,
            "losses": losses.clone(),
            "norms": norms.clone(),
            "terms": self._values_VS[2:, : self.steps].clone(),
            "seconds": self.seconds,
            "random": workers.collect(_random_state()),
        }

    def load_state_dict(self, state: dict[str, Any], workers: WorkerGroup) -> None:
        """Continues this epoch from a state.

        With another number of workers than before, dropout continues with new random numbers.
        """
        self.steps = len(state["losses"])
        self._values_VS[:2, : self.steps] = torch.stack([state["losses"], state["norms"]])
        if self._terms:
            self._values_VS[2:, : self.steps] = state["terms"]
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


class Checkpoints:
    """Saves a run every `MAX_SECONDS_UNSAVED` and before it stops.

    All workers call `write`, which writes the checkpoint, together. `should_stop` is called after
    every step; with several workers every `STOP_POLL_STEPS` steps.
    """

    def __init__(
        self, write: Callable[[], None], workers: WorkerGroup, should_stop: ShouldStop
    ) -> None:
        self._write, self._workers, self._should_stop = write, workers, should_stop
        self._steps, self._saved_at = 0, time.monotonic()

    def save(self) -> None:
        """Writes the checkpoint; returns, on every worker, once it is written."""
        self._write()
        self._workers.wait()
        self._saved_at = time.monotonic()

    def after_step(self) -> None:
        """Saves if it is time to; if any worker has to stop, saves and raises Paused."""
        self._steps += 1
        if self._workers.size > 1 and self._steps % STOP_POLL_STEPS:
            return
        is_due = time.monotonic() - self._saved_at >= MAX_SECONDS_UNSAVED
        votes = self._workers.collect((self._should_stop(), is_due))
        stop, save = map(any, zip(*votes, strict=True))
        if stop or save:
            self.save()
        if stop:
            raise Paused(f"paused after {self._steps} steps")
