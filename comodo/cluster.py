"""Connecting to Ray, and what the cluster can hold."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
import ray.data


class ClusterError(RuntimeError):
    """The cluster cannot hold what is asked of it."""


def connect() -> None:
    """Starts Ray on this machine, or attaches to the cluster named by RAY_ADDRESS.

    Ray's native code writes remarks on its own workings between the lines of a progress bar;
    RAY_BACKEND_LOG_LEVEL=info brings them back.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with _native_silence():  # or it would write which level it has been set to
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the package shows its own
    for name in ("ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def _native_silence() -> Iterator[None]:
    """Sends what the process writes to its error stream nowhere; exceptions are unaffected."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
