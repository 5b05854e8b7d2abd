"""Steps and learning rate of a trial: how many windows it trains on, in how many steps, at which
rate. Pure arithmetic, so that a plan can show it without torch.
"""

import math
from dataclasses import dataclass

from comodo.config import ComodoMethod, TrialConfig


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Linear from 0 to `peak` over the first `warmup` share of the steps, then linearly to 0."""
    rising = int(warmup * steps)
    if step < rising:
        return peak * step / rising
    return peak * max(0.0, (steps - step) / max(1, steps - rising))


def steps_in(windows: int, batch_size: int) -> int:
    """Steps of an epoch. A last batch of a single window is left out: batch normalisation has no
    variance there."""
    return math.ceil(windows / batch_size) - (windows % batch_size == 1)


def published_steps(first: int, epochs: int, queue_size: int) -> int:
    """Steps that the published code plans its schedule for: after an epoch of `first` batches it
    counts the queue's samples as batches too, so the rate peaks late or never."""
    return first + (epochs - 1) * (first + queue_size)


@dataclass(frozen=True)
class Schedule:
    """The steps of one trial."""

    first: int
    """Of the first epoch, which the windows that fill the queue may sit out."""
    later: int
    """Of each later epoch."""
    real: int
    planned: int
    """What the learning rate is spread over; as published, not the real ones."""
    rising: int
    """Planned steps in which the rate rises."""
    peak: float
    """Highest learning rate that a real step has."""
    seen: int
    """Windows of all epochs together."""


def schedule_of(trial: TrialConfig, windows: int) -> Schedule:
    """The schedule of a trial that trains on so many windows."""
    queue = trial.method.queue_size if isinstance(trial.method, ComodoMethod) else 0
    held_out = isinstance(trial.method, ComodoMethod) and trial.method.hold_out_queue
    fresh = windows - queue if held_out else windows
    first, later = steps_in(fresh, trial.batch_size), steps_in(windows, trial.batch_size)
    real = planned = first + later * (trial.epochs - 1)
    if trial.schedule == "published":
        planned = published_steps(first, trial.epochs, queue)
    rising = int(trial.warmup * planned)
    highest = min(rising, real - 1)
    peak = learning_rate(highest, planned, trial.warmup, trial.learning_rate)
    return Schedule(first, later, real, planned, rising, peak, fresh + windows * (trial.epochs - 1))
