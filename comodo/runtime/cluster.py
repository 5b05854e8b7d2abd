"""Connects to Ray, and says how many trials the cluster has room for.

Does not know sweeps or trials, only the resources that a trial requests.
"""

import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import psutil
import ray
import ray.data
from ray.autoscaler.sdk import request_resources
from ray.util import list_named_actors

from comodo.config import Resources
from comodo.core.console import Terminated, console, is_verbose
from comodo.core.errors import ComodoError
from comodo.core.machine import usable_cpus, usable_memory
from comodo.core.paths import create_private
from comodo.runtime.ray_folder import create_ray_folder
from comodo.runtime.ray_private import answers, listening_on_loopback, newest_cluster
from comodo.search.capacity import (
    DRIVER_CPUS,
    cluster_address,
    refuse_odd_gpus,
    resolved,
    trials_that_fit,
)

IDLE_WORKERS = "RAY_idle_worker_killing_time_threshold_ms"  # Ray's setting
REPORT_WAIT_SECONDS = 60.0  # seconds between two progress lines while waiting
HEAD_POLL_SECONDS = 2.0  # seconds between two checks whether the head is gone
OBJECT_STORE_SHARE = 0.3  # of memory, as Ray takes by default
ANSWER_SECONDS = 10.0  # seconds in which a cluster has to answer when a command starts
IDLE_WORKER_SECONDS = 30  # for which Ray keeps processes that tasks ran in
MAX_MISSED_POLLS = 2  # checks without an answer after which the head is reported as gone


class ClusterError(ComodoError, RuntimeError):
    """The cluster is too small for what was requested, or cannot be reached."""


def connect(dashboard: bool = False) -> None:
    """Starts Ray on this machine, or attaches to the cluster named by RAY_ADDRESS.

    Trials of several workers need the dashboard: a stopped trial frees its workers through it.
    Ray's native code would write log lines into the progress bar; RAY_BACKEND_LOG_LEVEL=info shows
    them. Raises ClusterError if Ray does not start or the cluster cannot be reached, the latter
    within half a minute, and FolderError if there is no place for Ray's files.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # After Ray's second, the last features would wait for a new process that imports everything.
    os.environ.setdefault(IDLE_WORKERS, str(1000 * IDLE_WORKER_SECONDS))
    address, folder = cluster_address(), None
    if address is None:
        folder = str(create_ray_folder())
        console.print("starting Ray on this machine")
    else:
        console.print(f"connecting to the Ray cluster at {address}", markup=False)
        refuse_silent_cluster(address)
    try:
        if address is None:
            _keep_token_private()
        loopback = nullcontext() if address is not None else _listening_here_only()
        # Without the silence it would log that its log level was set.
        with _same_sigterm(), loopback, _native_silence():
            ray.init(
                # Without an address Ray would attach to any cluster that was ever started here.
                address=address or "local",
                include_dashboard=dashboard if address is None else None,
                # A cluster's nodes have been started with what they have.
                num_cpus=usable_cpus() if address is None else None,
                object_store_memory=_object_store_bytes() if address is None else None,
                _temp_dir=folder,
                log_to_driver=is_verbose(),
                logging_level=logging.INFO if is_verbose() else logging.ERROR,
            )
    except Exception as error:  # on a busy machine Ray raises a plain Exception after a timeout
        if address is None:
            raise ClusterError(
                "cluster.not-started", f"Ray could not be started ({error}); run it again"
            ) from error
        raise ClusterError(
            "cluster.no-access",
            f"no Ray cluster at {address} accepts this command ({error}); start it, or give "
            "--address another; if it runs, it has another token (docs/cluster.md)",
        ) from error
    if address is not None and not address.startswith("ray://"):
        head = ray.get_runtime_context().gcs_address
        threading.Thread(target=_watch_head, args=(head,), name="head", daemon=True).start()
    ray.data.DataContext.get_current().enable_progress_bars = False  # the package shows its own
    for name in () if is_verbose() else ("ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # trials that fail are shown once


@contextmanager
def ended_afterwards() -> Iterator[None]:
    """Ends a Ray that was started in the block, for programs that go on without it."""
    was_running = ray.is_initialized()
    try:
        yield
    finally:
        if not was_running and ray.is_initialized():
            ray.shutdown()


def _object_store_bytes() -> int | None:
    """For the objects of a Ray on this machine, where memory is limited: Ray would take a share of
    all memory. None: Ray's own choice."""
    limit = usable_memory()
    return int(OBJECT_STORE_SHARE * limit) if limit < psutil.virtual_memory().total else None


def refuse_silent_cluster(address: str) -> None:
    """Raises ClusterError if no Ray answers at a cluster's address, whatever else listens there:
    Ray would wait minutes without a message. Addresses that Ray refuses at once are left to it."""
    with suppress(ConnectionError):  # there is no cluster on this machine
        address = newest_cluster() if address == "auto" else address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit() and not answers(f"{host}:{port}", ANSWER_SECONDS):
        raise ClusterError(
            "cluster.no-answer",
            f"nobody answers at {address}, the Ray cluster in RAY_ADDRESS or --address (no Ray in "
            f"{ANSWER_SECONDS:g} s); start it, give --address another, or unset RAY_ADDRESS to run "
            "on this machine alone",
        )


def end_idle_actors() -> None:
    """Ends the actors that Ray Data keeps for later data sets, in a Ray that was started here: each
    uses a hundredth of a core while trials run. Later data sets start them again."""
    if cluster_address() is None:
        for actor in list_named_actors(all_namespaces=True):
            ray.kill(ray.get_actor(**actor))


def _keep_token_private() -> None:
    """Creates the token that a Ray on this machine asks for, unless the user has one: Ray would
    create it where all users of the machine can read it."""
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if os.environ.get("RAY_AUTH_MODE", "token").lower() == "token" and not given:
        create_private(Path.home() / ".ray" / "auth_token", secrets.token_hex(32))


@contextmanager
def _listening_here_only() -> Iterator[None]:
    """A Ray that is started in this block, and its trials' workers, listen on 127.0.0.1: on all
    addresses of the machine, anyone who reaches their ports could run code."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # for the processes that it starts
    addresses = {name: {a.address for a in found} for name, found in psutil.net_if_addrs().items()}
    loopback = next((name for name, found in addresses.items() if "127.0.0.1" in found), "lo")
    for library in ("GLOO", "NCCL"):  # by which a trial's workers talk to each other
        os.environ[f"{library}_SOCKET_IFNAME"] = loopback
    with listening_on_loopback():
        yield


def _watch_head(address: str) -> None:
    """Reports a lost head: Ray waits a minute for it, then ends this process without a message."""
    host, _, port = address.rpartition(":")
    missed = 0
    while ray.is_initialized():
        time.sleep(HEAD_POLL_SECONDS)
        try:
            socket.create_connection((host, int(port)), timeout=HEAD_POLL_SECONDS).close()
            missed = 0
        except OSError as error:
            missed += 1
            if missed == MAX_MISSED_POLLS:
                console.print(
                    f"the cluster's head at {address} does not answer ({error}); unless it is "
                    "back within a minute this command ends. Start the cluster and run the same "
                    "command again: it continues from the store",
                    style="red",
                    markup=False,
                )


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """SIGTERM keeps its handler. Ray replaces it twice, in Python and in native code, which ends
    the process with a dump of its stack."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # by Ray's first handler, while Ray starts
        raise Terminated from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_silence() -> Iterator[None]:
    """Discards what the process writes to its error stream; exceptions are unaffected."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class Capacity:
    """CPUs, GPUs and bytes of memory of the cluster's nodes that are alive now, used or not."""

    def __init__(self) -> None:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.nodes = [(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in alive]
        self.memory = [float(node.get("memory", math.inf)) for node in alive]
        self.cpus = sum(cpus for cpus, _ in self.nodes)
        self.gpus = sum(gpus for _, gpus in self.nodes)

    def __str__(self) -> str:
        kinds = dict.fromkeys(sorted(self.nodes, reverse=True))
        nodes = ", ".join(f"{cpus:g} and {gpus:g}" for cpus, gpus in kinds)
        return f"{self.cpus:g} and {self.gpus:g}, on nodes of {nodes}"


def machines(requested: Resources) -> set[str]:
    """The names of the cluster's machines, with one to come if these are too small for a trial."""
    names = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    grows = cluster_address() is not None
    if grows and not trials_that_fit(Capacity().nodes, requested):
        names.add("one to come")
    return names


def refuse_sqlite(machines: set[str], tracking_uri: str) -> None:
    """Raises ClusterError if several machines would share MLflow's SQLite file, which breaks on a
    network disk."""
    if len(machines) > 1 and tracking_uri.startswith("sqlite"):
        raise ClusterError(
            "cluster.sqlite",
            f"{len(machines)} machines take part, and a SQLite file of their records breaks "
            "on a shared disk; start a server, `mlflow server --backend-store-uri "
            "postgresql+psycopg2://USER:PASSWORD@HOST/mlflow --artifacts-destination FOLDER` "
            "(docs/cluster.md), and set MLFLOW_TRACKING_URI to its address, or give --no-mlflow: "
            "comodo ui then makes the records from the store",
        )


def concurrent_trials(requested: Resources) -> int:
    """How many trials run at once. Raises ClusterError if the cluster has no room for one, which
    would wait forever, and ConfigError if no cluster could have."""
    refuse_odd_gpus(requested)
    has = Capacity()
    requested = resolved(requested, has.gpus)
    fits = trials_that_fit(has.nodes, requested)
    if not fits:
        workers, cpus = requested.workers, requested.cpus_per_worker
        driver = f" and {DRIVER_CPUS} CPUs for its driver" if workers > 1 else ""
        raise ClusterError(
            "cluster.too-small",
            f"resources: a trial needs {workers} workers of {cpus:g} CPUs and "
            f"{requested.gpus:g} GPUs{driver}; the cluster has {has}; lower workers, "
            "cpus_per_worker or gpus_per_worker",
        )
    return fits


def await_room(requested: Resources) -> int:
    """Like `concurrent_trials`, but waits for a cluster that may still be growing.

    A cluster that this command attached to may grow, a Ray that it started does not. The autoscaler
    is asked for what is missing. Raises ClusterError if the cluster has not grown enough within
    `wait_minutes`, or never will.
    """
    grows = cluster_address() is not None
    resources = worker_resources(resolved(requested, Capacity().gpus))
    node = {name: amount for name, amount in resources.items() if amount}
    began, reported = time.monotonic(), -math.inf
    while True:
        waited = time.monotonic() - began
        try:
            fits = concurrent_trials(requested)
        except ClusterError as error:
            if not grows:
                raise
            if waited >= 60 * requested.wait_minutes:
                raise ClusterError(
                    error.code, f"{error}; waited {requested.wait_minutes:g} min for it to grow"
                ) from None
        else:
            if reported >= 0:
                request_resources(bundles=[])  # from now on the trials request their own
            return fits
        if waited - reported >= REPORT_WAIT_SECONDS:
            reported = waited
            count = "a node" if requested.workers == 1 else f"{requested.workers} places"
            console.print(
                f"waiting for {count} with {' and '.join(f'{n:g} {k}s' for k, n in node.items())}; "
                f"the cluster has {Capacity()}; {waited / 60:.0f} of up to "
                f"{requested.wait_minutes:g} min"
            )
            request_resources(bundles=[node] * requested.workers)
        time.sleep(1)


def trial_resources(requested: Resources) -> dict[str, float]:
    """What Ray Tune reserves for a trial's own process."""
    if requested.workers > 1:  # its workers request their own
        return {"CPU": DRIVER_CPUS}
    return worker_resources(requested)


def worker_resources(requested: Resources) -> dict[str, float]:
    """What Ray reserves for each worker of a trial."""
    return {"CPU": requested.cpus_per_worker, "GPU": requested.gpus}
