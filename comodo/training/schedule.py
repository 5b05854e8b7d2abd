"""The steps and learning rates of a trial, without torch, as `comodo plan` shows them beforehand.

This module does not know which windows a step trains on.
"""

import math
from dataclasses import dataclass

from comodo.config import TrialConfig


def learning_rate(step: int, steps: int, warmup: float, peak: float, cosine: bool = False) -> float:
    """Linear warm-up from 0 to `peak` over the first `warmup` (a fraction) of the steps, then
    linear decay to 0, or that of half a `cosine`."""
    warmup_steps = int(warmup * steps)
    if step < warmup_steps:
        return peak * step / warmup_steps
    left = max(0.0, (steps - step) / max(1, steps - warmup_steps))
    return peak * (0.5 - 0.5 * math.cos(math.pi * left) if cosine else left)


def steps_in(windows: int, batch_size: int) -> int:
    """Steps of an epoch over `windows` windows.

    A last batch of one window is dropped: batch normalisation has no variance there.
    """
    return math.ceil(windows / batch_size) - (windows % batch_size == 1)


@dataclass(frozen=True)
class Schedule:
    """The steps of one trial."""

    first_epoch_steps: int  # fewer than later if the windows that fill the queue are held out
    later_epoch_steps: int
    real: int  # of all epochs together
    planned: int  # that the learning rate is spread over; may be more with `schedule: published`
    warmup_steps: int  # planned steps in which the learning rate rises
    peak: float  # the highest learning rate of any real step
    windows: int  # of all epochs together

    def steps_of(self, epoch: int) -> int:
        """Steps of an epoch, counted from 0."""
        return self.later_epoch_steps if epoch else self.first_epoch_steps

    def steps_before(self, epoch: int) -> int:
        """Steps of all epochs before this one."""
        return self.first_epoch_steps + self.later_epoch_steps * (epoch - 1) if epoch else 0


def schedule_of(trial: TrialConfig, windows: int) -> Schedule:
    """The schedule of a trial with `windows` training windows."""
    comodo = trial.method.queue
    queue, held_out = (comodo.queue_size, comodo.hold_out_queue) if comodo else (0, False)
    first_windows = windows - queue if held_out else windows
    first, later = steps_in(first_windows, trial.batch_size), steps_in(windows, trial.batch_size)
    real = planned = first + later * (trial.epochs - 1)
    if trial.schedule == "published":
        # After the first epoch COMODO's code counts each embedding in the queue as another batch,
        # so the learning rate peaks late, or training ends before it does.
        planned = first + (trial.epochs - 1) * (first + queue)
    warmup_steps = int(trial.warmup * planned)
    peak_step = min(warmup_steps, real - 1)
    cosine = trial.schedule == "cosine"
    peak = learning_rate(peak_step, planned, trial.warmup, trial.learning_rate, cosine)
    all_windows = first_windows + windows * (trial.epochs - 1)
    return Schedule(first, later, real, planned, warmup_steps, peak, all_windows)
