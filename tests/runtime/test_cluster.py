"""How many trials fit, and what never will."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from comodo.config import ConfigError, Resources, read_sweep_file
from comodo.core.store import Store
from comodo.runtime.cluster import (
    Capacity,
    ClusterError,
    await_room,
    concurrent_trials,
    connect,
    end_idle_actors,
    refuse_silent_cluster,
    refuse_sqlite,
)
from comodo.runtime.run import run_sweep
from comodo.search.capacity import trials_that_fit
from tests.chaos.machines import Driver
from tests.errors import raises
from tests.ports import listening
from tests.tracking_server import free_port


@pytest.mark.parametrize(
    ("nodes", "asked", "trials"),
    [
        ([(64, 0), (4, 1)], {"cpus_per_worker": 8, "gpus_per_worker": 1}, 0),
        ([(64, 0), (4, 1)], {"cpus_per_worker": 4, "gpus_per_worker": 1}, 1),
        ([(3, 0), (3, 0), (1, 0)], {"workers": 3, "cpus_per_worker": 2}, 0),
        ([(3, 0), (3, 0), (1, 0)], {"workers": 2, "cpus_per_worker": 2}, 1),
        ([(16, 1)], {"gpus_per_worker": 0.1}, 10),
        ([(16, 2)], {"gpus_per_worker": 0.6}, 2),
        ([(16, 3), (16, 3)], {"gpus_per_worker": 2}, 2),
        ([(2, 0)], {"workers": 2, "cpus_per_worker": 1}, 0),  # nothing is left for the driver
        ([(2, 0), (0.5, 0)], {"workers": 2, "cpus_per_worker": 1}, 1),
        ([(4, 0)], {"workers": 2, "cpus_per_worker": 1}, 1),
        ([(1, 0)] * 10, {"workers": 30, "cpus_per_worker": 0.333}, 0),  # only crumbs are left
        ([(9, 0)], {"max_concurrent_trials": 4}, 4),
        ([], {}, 0),
    ],
)
def test_a_worker_never_spans_nodes(
    nodes: list[tuple[float, float]], asked: dict[str, Any], trials: int
) -> None:
    assert trials_that_fit(nodes, Resources(**asked)) == trials


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("asked", "trials"),
    [
        ({}, 1),  # auto: there is a GPU
        ({"gpus_per_worker": 0}, 2),
        ({"gpus_per_worker": 0, "cpus_per_worker": 0.5, "max_concurrent_trials": 3}, 3),
        ({"cpus_per_worker": 0.5, "gpus_per_worker": 0.5}, 2),
        ({"cpus_per_worker": 0.25, "gpus_per_worker": 0.25}, 4),  # small students share the GPU
        ({"cpus_per_worker": 2, "gpus_per_worker": 1}, 1),
        ({"gpus_per_worker": 0, "workers": 2, "cpus_per_worker": 0.5}, 1),
        ({"gpus_per_worker": 0, "workers": 2, "cpus_per_worker": 0.4}, 2),
    ],
)
def test_concurrency_follows_the_cluster(asked: dict[str, Any], trials: int) -> None:
    assert (Capacity().cpus, Capacity().gpus) == (2, 1)  # as conftest starts it
    assert concurrent_trials(Resources(**asked)) == trials


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "asked",
    [
        {"cpus_per_worker": 3},
        {"gpus_per_worker": 2},
        {"workers": 3},
        {"workers": 2, "cpus_per_worker": 1},  # nothing is left for the driver
    ],
)
def test_what_can_never_fit_is_refused(asked: dict[str, Any]) -> None:
    with raises(ClusterError, "cluster.too-small", "cpus_per_worker"):
        concurrent_trials(Resources(**asked))


@pytest.mark.usefixtures("ray_cluster")
def test_parts_of_several_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere")  # which might grow; this will never fit
    with raises(ConfigError, "resources.gpus_per_worker", "1.5"):
        await_room(Resources(gpus_per_worker=1.5))


@pytest.mark.usefixtures("ray_cluster")
def test_what_ray_data_leaves_is_ended_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.data
    from ray.util import list_named_actors

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for _ in range(2):
        rows = ray.data.range(10).map_batches(lambda batch: batch, num_cpus=0.5).take_all()
        assert len(rows) == 10
        assert list_named_actors(all_namespaces=True)
        end_idle_actors()
        assert list_named_actors(all_namespaces=True) == []


class Other:
    """An actor of somebody else's."""


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_shared_cluster_runs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.util import list_named_actors

    actor_class: Any = ray.remote(num_cpus=0)(Other)
    other = actor_class.options(name="another's", namespace="another").remote()
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere")
    end_idle_actors()
    assert {"name": "another's", "namespace": "another"} in list_named_actors(all_namespaces=True)
    ray.kill(other)


GROWING = """
import os, sys, threading
import ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
os.environ["RAY_ADDRESS"] = cluster.address
from comodo.runtime.cluster import ClusterError, await_room, connect
from comodo.config import Resources
connect()
ray._private.utils.set_sigterm_handler = lambda handler: None  # not from another thread
if sys.argv[1] == "grows":
    threading.Timer(3, lambda: cluster.add_node(num_cpus=4, num_gpus=1)).start()
try:
    asked = Resources(cpus_per_worker=2, gpus_per_worker=0.5, wait_minutes=float(sys.argv[2]))
    print(await_room(asked), "trials fit")
except ClusterError as error:
    print("refused:", error)
sys.stdout.flush()
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize(
    ("grows", "minutes", "says"),
    [("grows", 1, "2 trials fit"), ("stays", 0.03, "waited 0.03 min for it to grow")],
)
def test_a_cluster_that_is_still_growing_is_waited_for(
    grows: str, minutes: float, says: str
) -> None:
    command = [sys.executable, "-c", GROWING, grows, str(minutes)]
    # Where the cluster's address is written: nothing else on this machine may attach to it.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "RAY_TMPDIR": folder},
        )
    assert says in done.stdout, done.stdout + done.stderr
    assert "waiting for a node with 2 CPUs and 0.5 GPUs; the cluster has 1 and 0" in done.stdout


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_of_this_machine_alone_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    began = time.monotonic()
    with raises(ClusterError, "cluster.too-small", "workers"):
        await_room(Resources(gpus_per_worker=2))
    assert time.monotonic() - began < 5


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, whatever other tests have started in this one."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("comodo.runtime.cluster.ANSWER_SECONDS", 0.1)


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("address", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_that_does_not_answer_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    address = address.format(free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    with raises(ClusterError, "cluster.no-answer", address, "RAY_ADDRESS"):
        connect()


@pytest.mark.usefixtures("unconnected")
def test_a_cluster_of_this_machine_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is still in Ray's folder."""
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(address)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", list)  # of other tests
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with raises(ClusterError, "cluster.no-answer", address):
        connect()


def test_a_cluster_that_answers_is_not_refused() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        refuse_silent_cluster(f"127.0.0.1:{port}")
        refuse_silent_cluster(f"ray://localhost:{port}")
    finally:
        server.stop(None)
    refuse_silent_cluster("head")  # which Ray refuses at once


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_of_another_program_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """One that never says a word, and one that speaks another protocol."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        over = threading.Event()

        def serve() -> None:
            other.settimeout(0.1)
            held = []  # open connections
            while not over.is_set():
                with suppress(TimeoutError):
                    held.append(other.accept()[0])
                    held[-1].sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("RAY_ADDRESS", address)
        began = time.monotonic()
        try:
            with raises(ClusterError, "cluster.no-answer", address, "RAY_ADDRESS"):
                connect()
        finally:
            over.set()
            thread.join()
        assert time.monotonic() - began < 30


def test_several_machines_need_a_server_for_the_records() -> None:
    refuse_sqlite({"laptop"}, "sqlite:////store/mlflow.db")
    refuse_sqlite({"head", "gpu1"}, "http://mlflow:5000")
    with raises(ClusterError, "cluster.sqlite", "mlflow server --backend-store-uri"):
        refuse_sqlite({"head", "gpu1"}, "sqlite:////store/mlflow.db")


@pytest.mark.usefixtures("ray_cluster")
def test_records_in_a_file_are_refused_before_a_machine_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine that holds no trial, as the head of cluster.yaml: another one is to come."""

    def started(asked: Resources) -> int:
        raise AssertionError("a machine was asked for")

    monkeypatch.setattr("comodo.runtime.run.await_room", started)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep = read_sweep_file(Path("sweeps/demo.yaml"))
    with pytest.raises(AssertionError, match="asked for"):  # enough room here
        run_sweep(sweep, Store(tmp_path / "room"), "comodo sweep")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    large = sweep.model_copy(update={"resources": Resources(gpus_per_worker=8)})
    with raises(ClusterError, "cluster.sqlite", "2 machines"):
        run_sweep(large, Store(tmp_path / "store"), "comodo sweep")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    with pytest.raises(AssertionError, match="asked for"):
        run_sweep(large, Store(tmp_path / "store"), "comodo sweep")


LISTENERS = """
from pathlib import Path
import psutil
from comodo.runtime.cluster import connect
from tests.ports import listening
connect(dashboard=True)
import ray
ray.get(ray.remote(lambda: 1).remote())
for address, who in listening(psutil.Process()):
    print("listens", address, who.split()[0])
token = Path.home() / ".ray/auth_token"
print("token", oct(token.stat().st_mode), len(token.read_text()))
ray.shutdown()
"""


@pytest.mark.slow
def test_ray_listens_on_this_machine_only(tmp_path: Path) -> None:
    """All of its processes, the dashboard's too; and nobody else can read its token."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_A")}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LISTENERS], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    addresses = [line.split()[1] for line in done.stdout.splitlines() if "listens" in line]
    assert len(addresses) >= 5  # GCS, raylet, dashboard and agents
    assert set(addresses) == {"127.0.0.1"}, done.stdout
    assert "token 0o100600 64\n" in done.stdout


@pytest.mark.slow
def test_a_trial_s_workers_listen_on_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's ports too, which are open while they train."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    resources = {"workers": 2, "cpus_per_worker": 0.9}
    changes = {"seeds": [0], "trial": {"epochs": 2000}, "windows": 100, "resources": resources}
    store = tmp_path / "store"
    driver = Driver(tmp_path / "log", None, "tests.chaos.toy", str(store), json.dumps(changes))
    try:
        driver.until(lambda: list(store.glob("trials/*/checkpoint.pt")))
        found = listening(psutil.Process(driver.process.pid))
    finally:
        driver.kill()
    of_workers = [who for _, who in found if who.startswith("ray::RayTrainWorker")]
    assert len(of_workers) >= 4, found  # of each Ray's port and gloo's
    assert [who for address, who in found if address != "127.0.0.1"] == []
