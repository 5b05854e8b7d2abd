"""How many trials fit on the nodes of a cluster, by their CPUs and GPUs; a plan needs no Ray."""

import os
from collections.abc import Sequence

from comodo.config import ConfigError, Resources

DRIVER_CPUS = 0.01  # of a trial whose workers are processes of their own


def cluster_address() -> str | None:
    """The cluster to attach to, from RAY_ADDRESS; None: Ray is started on this machine."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    return None if address == "local" else address


def trials_that_fit(nodes: Sequence[tuple[float, float]], needed: Resources) -> int:
    """How many trials run at once on nodes with these CPUs and GPUs; 0: none ever will."""
    places = [_places(cpus, gpus, needed) for cpus, gpus in nodes]
    trials = sum(places) // needed.workers
    if needed.workers > 1:  # each trial's driver runs next to its workers, or in place of one
        left = sum(
            _whole((cpus - taken * needed.cpus_per_worker) / DRIVER_CPUS)
            for (cpus, _), taken in zip(nodes, places, strict=True)
        )
        drivers = needed.cpus_per_worker / DRIVER_CPUS
        while trials > left + _whole((sum(places) - trials * needed.workers) * drivers):
            trials -= 1
    return min(trials, needed.max_concurrent_trials or trials)


def _places(cpus: float, gpus: float, needed: Resources) -> int:
    """How many workers fit on one node; a share of a GPU is never split over two."""
    places, share = _whole(cpus / needed.cpus_per_worker), needed.gpus_per_worker
    if not share:
        return places
    return min(places, int(gpus) * _whole(1 / share) if share <= 1 else int(gpus // share))


def _whole(amount: float) -> int:
    """Rounded down, with a tolerance for floating-point errors, as in 1 / 0.1."""
    return int(amount + 1e-9)


def refuse_odd_gpus(needed: Resources) -> None:
    """Raises ConfigError for numbers of GPUs that Ray cannot allocate."""
    gpus = needed.gpus_per_worker
    if gpus > 1 and not gpus.is_integer():
        reason = f"{gpus:g} is neither a share nor a whole number"
        fix = f"choose at most 1, or {int(gpus) + 1}"
        raise ConfigError.at("resources.gpus_per_worker", f"{reason}; {fix}")
