"""The settings of what a sweep may use: early stopping, the resources of a trial, limits."""

from typing import Annotated, Literal

from pydantic import Field

from comodo.core.settings import Settings


class EarlyStopping(Settings):
    """ASHA on epochs, judged by the validation accuracy of each epoch. With folds a configuration
    is judged in its first fold and seed alone; the others run, to their end, if it was not
    stopped."""

    name: Literal["asha"]
    """The only kind."""
    grace_epochs: int = Field(3, ge=1)
    """Epochs that every trial runs before it may be stopped."""
    reduction_factor: float = Field(3, gt=1)
    """At each rung, grace_epochs times a power of this, one in this many trials continues."""


class Resources(Settings):
    """What one trial needs, and what happens to it when a machine fails."""

    workers: int = Field(1, ge=1)
    """Processes that train one student together; the batch is divided among them."""
    cpus_per_worker: float = Field(1, gt=0)
    """CPUs of each worker, and threads that it computes with."""
    gpus_per_worker: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """GPUs of each worker: a share of one, such as 0.5, or an integer. `auto`: none if there are
    none; otherwise one, or a half or a quarter of one if the memory that the first trials needed
    leaves room for that."""
    max_concurrent_trials: int | None = Field(None, ge=1)
    """Maximum number of trials at once; by default as many as fit."""
    retries: int = Field(2, ge=0)
    """How often a trial is restarted from its checkpoint after its process was lost."""
    wait_minutes: float = Field(15, ge=0)
    """How long to wait for a growing cluster until one trial fits."""

    @property
    def gpus(self) -> float:
        """`gpus_per_worker` as a number, once `search.capacity.resolved` has chosen it."""
        assert self.gpus_per_worker != "auto"
        return self.gpus_per_worker


class Budget(Settings):
    """At a limit no new trial starts, running ones save a checkpoint, and the report is written;
    with a higher limit the same command continues. A grid of more than `trials` is refused."""

    trials: int | None = Field(None, ge=1)
    """Maximum number of trials (configurations times seeds, times folds); random and tpe need
    it."""
    hours: float | None = Field(None, gt=0)
    """Wall-clock time of one run of the command, from its first trial."""
    gpu_hours: float | None = Field(None, gt=0)
    """GPUs reserved for trials times the hours that these ran, over all runs of the sweep."""
    failures: int = Field(5, ge=1)
    """This many failures of the same kind in a row stop the sweep."""
