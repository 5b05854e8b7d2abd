"""The same sweep file on a running cluster: from one of its machines, and as a job."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_sweep import sweep_file

pytestmark = pytest.mark.slow  # a cluster of two nodes, and two sweeps
RAY = str(Path(sys.executable).parent / "ray")
TOKEN = "0123456789abcdef" * 4  # Ray refuses whoever does not have it
LIMIT = 300  # seconds
# Nodes of one machine share its loopback; `ray start` would start only one of them.
CLUSTER = """
import time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={
    "num_cpus": 1, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": 0})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
print(cluster.address, cluster.head_node.webui_url, flush=True)
time.sleep(10_000)
"""


def home(folder: Path, token: str) -> str:
    """A home with a token where `ray get-auth-token` keeps it."""
    file = folder / "home" / ".ray" / "auth_token"
    file.parent.mkdir(parents=True)
    file.write_text(token)
    return str(folder / "home")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of those who may talk to it, with ADDRESS and DASHBOARD."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        env = {**os.environ, "RAY_AUTH_MODE": "token", "HOME": home(Path(folder), TOKEN)}
        env.pop("RAY_AUTH_TOKEN", None)
        env["RAY_TMPDIR"] = folder
        started = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], env=env, stdout=subprocess.PIPE, text=True
        )
        assert started.stdout is not None
        address, dashboard = started.stdout.readline().split()
        yield {**env, "ADDRESS": address, "DASHBOARD": f"http://{dashboard}"}
        started.terminate()
        started.wait(60)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


def run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_a_machine_of_the_cluster_then_as_a_job(
    tmp_path: Path, data: Path, cluster: dict[str, str]
) -> None:
    store = str(tmp_path / "store")
    comodo = [sys.executable, "-m", "comodo"]
    file = str(sweep_file(tmp_path, data, resources={"max_concurrent_trials": 3}))
    told = run([*comodo, "sweep", file, "--store", store, "--address", cluster["ADDRESS"]], cluster)
    assert "up to 3 trials at once" in told
    assert len(re.findall(r"seed \d: finished", told)) == 6
    job = [RAY, "job", "submit", "--address", cluster["DASHBOARD"], "--"]
    told = run([*job, *comodo, "sweep", file, "--store", store, "--address", "auto"], cluster)
    assert "all 6 trials are done already" in told
    laptop = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    assert "finished" in run([*comodo, "status", "small", "--store", store], laptop)
    assert "report.html" in run([*comodo, "report", "small", "--store", store], laptop)


@pytest.mark.chaos
def test_without_the_token_nobody_gets_in(
    tmp_path: Path, data: Path, cluster: dict[str, str]
) -> None:
    file = str(sweep_file(tmp_path, data))
    command = [sys.executable, "-m", "comodo", "sweep", file, "--store", str(tmp_path / "store")]
    done = subprocess.run(
        [*command, "--address", cluster["ADDRESS"]],
        env={**cluster, "HOME": home(tmp_path, "another" * 9)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode != 0
    assert f"no Ray cluster at {cluster['ADDRESS']} accepts this command" in done.stderr
