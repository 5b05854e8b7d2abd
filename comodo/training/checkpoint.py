"""When a run is saved, and when it stops before its end.

This module does not know what a checkpoint contains or how a run is trained.
"""

import time
from collections.abc import Callable

from comodo.training.distributed import WorkerGroup

ShouldStop = Callable[[], bool]
"""Called between steps: whether the run has to leave its machine. It may also raise an error."""

MAX_SECONDS_UNSAVED = 600.0  # training time that a killed process loses at most
STOP_POLL_STEPS = 16  # of several workers, which must decide together: a poll is communication


class Paused(RuntimeError):
    """The run had to stop before its last epoch; everything up to there is in its checkpoint."""


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
