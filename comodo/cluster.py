"""Connecting to Ray, and what the cluster can hold."""

import logging
import os
from dataclasses import dataclass

import ray
import ray.data


class ClusterError(RuntimeError):
    """The cluster cannot hold what is asked of it."""


def connect() -> None:
    """Starts Ray on this machine, or attaches to the cluster named by RAY_ADDRESS."""
    if ray.is_initialized():
        return
    # Ray's native code writes warnings of its own workings between the lines of a progress bar.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the package shows its own
    for name in ("ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs of the whole cluster, and the most that one node has."""

    cpus: float
    gpus: float
    node_cpus: float
    node_gpus: float


def capacity() -> Capacity:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [float(node.get("CPU", 0)) for node in nodes]
    gpus = [float(node.get("GPU", 0)) for node in nodes]
    return Capacity(sum(cpus), sum(gpus), max(cpus), max(gpus))


def concurrent_trials(cpus: float, gpus: float, limit: int | None) -> int:
    """How many trials run at once.

    Raises:
        ClusterError: no node could ever hold a trial, so that it would wait for ever.
    """
    has = capacity()
    if cpus > has.node_cpus or gpus > has.node_gpus:
        raise ClusterError(
            f"resources: a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, but the largest node "
            f"has {has.node_cpus:g} and {has.node_gpus:g}; lower cpus_per_trial or gpus_per_trial"
        )
    fits = int(has.cpus // cpus)
    if gpus:
        fits = min(fits, int(has.gpus // gpus))
    return max(1, min(fits, limit or fits))
