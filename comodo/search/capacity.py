"""How many trials fit on the nodes of a cluster, by their CPUs and GPUs; a plan needs no Ray."""

import os
from collections.abc import Iterable, Sequence

from comodo.config import ConfigError, NoneMethod, Resources, Sweep, TrialConfig

DRIVER_CPUS = 0.01  # of a trial whose workers are processes of their own
# Of a process on a GPU, beyond the tensors that PyTorch counts: CUDA's context, free blocks.
GPU_CONTEXT_BYTES, GPU_SPARE = 1 << 30, 1.25


def cluster_address() -> str | None:
    """The cluster to attach to, from RAY_ADDRESS; None: Ray is started on this machine."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    return None if address == "local" else address


def trials_that_fit(nodes: Sequence[tuple[float, float]], needed: Resources) -> int:
    """How many trials run at once on nodes with these CPUs and GPUs; 0: none ever will."""
    needed = resolved(needed, sum(gpus for _, gpus in nodes))
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


def resolved(requested: Resources, gpus: float, share: float = 1.0) -> Resources:
    """The resources with a number in place of `auto`, where there are so many GPUs: none without
    any, else `share` of one; the workers of one trial have one each."""
    if requested.gpus_per_worker != "auto":
        return requested
    each = 0.0 if gpus < 1 else share if requested.workers == 1 else 1.0
    return requested.model_copy(update={"gpus_per_worker": each})


def gpu_share(sweep: Sweep, measured: Iterable[tuple[TrialConfig, int, int]]) -> float | None:
    """How much of a GPU each trial of a sweep needs: 1/4, 1/2 or 1.

    `measured`: of trials that were trained, the settings, the peak of their tensors and the memory
    of their GPU in bytes. None while a student of the sweep is not among them at its batch size and
    precision.
    """

    def kind(config: TrialConfig) -> tuple[str, int, str]:
        return config.student.model_dump_json(), config.batch_size, config.precision

    used = dict[tuple[str, int, str], float]()
    for config, peak, total in measured:
        share = (GPU_SPARE * peak + GPU_CONTEXT_BYTES) / total
        used[kind(config)] = max(share, used.get(kind(config), 0.0))
    configs = map(sweep.with_values, sweep.points())
    trained = {kind(c) for c in configs if not isinstance(c.method, NoneMethod)}
    if not trained <= used.keys():
        return None
    most = max((used[one] for one in trained), default=0.0)
    return next((share for share in (0.25, 0.5) if most <= share), 1.0)


def _places(cpus: float, gpus: float, needed: Resources) -> int:
    """How many workers fit on one node; a share of a GPU is never split over two."""
    places, share = _whole(cpus / needed.cpus_per_worker), needed.gpus
    if not share:
        return places
    return min(places, int(gpus) * _whole(1 / share) if share <= 1 else int(gpus // share))


def _whole(amount: float) -> int:
    """Rounded down, with a tolerance for floating-point errors, as in 1 / 0.1."""
    return int(amount + 1e-9)


def refuse_odd_gpus(needed: Resources) -> None:
    """Raises ConfigError for numbers of GPUs that Ray cannot allocate."""
    gpus = needed.gpus_per_worker
    if gpus != "auto" and gpus > 1 and not gpus.is_integer():
        reason = f"{gpus:g} is neither a share nor a whole number"
        fix = f"choose at most 1, or {int(gpus) + 1}"
        raise ConfigError.at("resources.gpus_per_worker", f"{reason}; {fix}")
