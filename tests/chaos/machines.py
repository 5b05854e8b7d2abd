"""Several Ray nodes on this machine, and what is done to them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.paths import ROOT

LIMIT = 420.0  # seconds; nothing here may wait for ever


class Machines:
    """A head without CPUs, and nodes beside it. This process is no driver of the cluster."""

    def __init__(self, nodes: int, dashboard: bool = False, **node: Any) -> None:
        from ray.cluster_utils import Cluster

        head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": dashboard}
        if dashboard:
            head |= {"dashboard_host": "127.0.0.1", "dashboard_port": 0}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self._node = {"num_cpus": 1, **node}
        self.nodes = [self.add() for _ in range(nodes)]

    def add(self) -> Any:
        return self.cluster.add_node(**self._node)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def trials(self, node: Any | None = None) -> list[psutil.Process]:
        """The processes of trials, of one node or of all."""
        return self._processes("ray::ImplicitFunc", node)

    def workers(self, node: Any) -> list[psutil.Process]:
        """The workers on a node, of trials that have several."""
        return self._processes("ray::RayTrainWorker", node)

    def _processes(self, title: str, node: Any | None) -> list[psutil.Process]:
        found = []
        for one in [node] if node is not None else self.cluster.list_all_nodes():
            for process in psutil.Process(_raylet(one)).children(recursive=True):
                try:
                    if " ".join(process.cmdline()).startswith(title):
                        found.append(process)
                except psutil.Error:
                    continue
        return found

    def kill(self, node: Any) -> None:
        """As a machine that goes down: all its processes at once."""
        family = psutil.Process(_raylet(node)).children(recursive=True)
        self.cluster.remove_node(node, allow_graceful=False)
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if node in self.nodes:
            self.nodes.remove(node)

    def kill_head(self) -> None:
        """Its server alone, so that a driver beside it is as one on another machine."""
        head: Any = self.cluster.head_node
        head.all_processes["gcs_server"][0].process.kill()

    def drain(self, node: Any, seconds: int) -> None:
        """The notice that a spot machine is given."""
        command = [str(Path(sys.executable).parent / "ray"), "drain-node", "--address"]
        command += [self.address, "--node-id", node.node_id, "--reason"]
        command += ["DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        command += ["--deadline-remaining-seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def used(self) -> dict[str, float]:
        """CPUs and GPUs that are taken."""
        state = self.cluster.global_state
        has, free = state.cluster_resources(), state.available_resources()
        used = {kind: has.get(kind, 0) - free.get(kind, 0) for kind in ("CPU", "GPU")}
        return {kind: round(amount, 4) for kind, amount in used.items() if amount > 1e-6}

    def places(self) -> int:
        """Placement groups that are not removed."""
        table = self.cluster.global_state.placement_group_table()
        return sum(group["state"] != "REMOVED" for group in table.values())


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@contextmanager
def machines(nodes: int, **settings: Any) -> Iterator[Machines]:
    """A cluster with files of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        before = os.environ.get("RAY_TMPDIR")
        os.environ["RAY_TMPDIR"] = folder
        cluster = None
        try:
            cluster = Machines(nodes, **settings)
            yield cluster
        finally:
            for driver in _drivers:  # of a test that failed
                driver.kill()
            _drivers.clear()
            if cluster is not None:
                cluster.cluster.shutdown()
            os.environ.pop("RAY_TMPDIR")
            if before is not None:
                os.environ["RAY_TMPDIR"] = before


_drivers: list["Driver"] = []


class Driver:
    """A command that drives a sweep, its output in a file; none outlives its cluster."""

    def __init__(self, log: Path, address: str | None, *command: str) -> None:
        self.log = log
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        if address is not None:
            env["RAY_ADDRESS"] = address
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=ROOT,
            )
        _drivers.append(self)

    def text(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], object], seconds: float = LIMIT) -> None:
        """Waits until it holds; the driver must live until then."""
        began = time.monotonic()
        while not condition():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() - began < seconds, self.text()
            time.sleep(0.1)

    def end(self, code: int = 0) -> str:
        """Waits for its end; its output."""
        assert self.process.wait(LIMIT) == code, self.text()
        return self.text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
