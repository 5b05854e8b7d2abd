"""A sweep whose store is a bucket: on one machine, killed, and on nodes that share nothing else."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest
import torch

from comodo.core.store import read_json
from tests.e2e.test_faults import faulty_file
from tests.e2e.test_sweep import COMMAND, sweep_file
from tests.object_store import BUCKET, object_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # each of these runs sweeps
LIMIT = 600  # seconds; of a busy machine
# As in test_cluster.py, but that each node has a cache of its own.
CLUSTER = """
import sys, time
from ray.cluster_utils import Cluster
nodes = [{"num_cpus": cpus, "env_vars": {"COMODO_CACHE": f"{sys.argv[1]}/node{cpus}"}}
         for cpus in (1, 2)]
cluster = Cluster(initialize_head=True, head_node_args={**nodes[0], "include_dashboard": False})
cluster.add_node(**nodes[1])
cluster.wait_for_nodes()
print(cluster.address, flush=True)
time.sleep(10_000)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as env:
        yield env


@pytest.fixture
def env(server: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Of a machine that has never seen the bucket."""
    own = {"COMODO_CACHE": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return {**os.environ, **server, **own}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


def comodo(env: dict[str, str], *arguments: str | Path) -> str:
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cache_of(env: dict[str, str]) -> Path:
    """The folder that mirrors the one bucket."""
    (found,) = Path(env["COMODO_CACHE"]).iterdir()
    return found


def bucket(env: dict[str, str]) -> Any:
    return fsspec.filesystem(
        "s3", key="k", secret="s", endpoint_url=env["AWS_ENDPOINT_URL"], use_listings_cache=False
    )


def files(folder: Path, name: str) -> dict[str, bytes]:
    return {path.parts[-3]: path.read_bytes() for path in folder.glob(f"trials/*/student/{name}")}


def students(env: dict[str, str], prefix: str) -> dict[str, bytes]:
    """Weights by the trial's key, as the bucket has them."""
    found = bucket(env).find(f"{BUCKET}/{prefix}/trials")
    return {name.split("/")[-3]: bucket(env).cat_file(name) for name in found
            if name.endswith("model.safetensors")}  # fmt: skip


def test_one_machine_and_then_another_that_has_the_bucket_alone(
    tmp_path: Path, data: Path, env: dict[str, str]
) -> None:
    file, store = sweep_file(tmp_path, data), f"s3://{BUCKET}/one"
    comodo(env, "sweep", file, "--store", tmp_path / "folder")
    first = comodo(env, "sweep", file, "--store", store)
    assert len(re.findall(r"seed \d: finished", first)) == 6
    assert first.count("records stay on this machine") == 1
    table = first[first.index("┏") : first.index("report:")]
    of_folder = files(tmp_path / "folder", "model.safetensors")
    assert students(env, "one") == of_folder and len(of_folder) == 6

    shutil.rmtree(env["COMODO_CACHE"])
    report = comodo(env, "report", "small", "--store", store)
    assert table in report
    page = re.search(r"report:\s+(\S+)", report)
    assert page is not None and Path(page[1]).is_relative_to(cache_of(env))
    assert "6 of 6 trials finished" in (Path(page[1]).parent / "report.md").read_text()
    assert not files(cache_of(env), "model.safetensors")
    assert not list(cache_of(env).glob("**/part-*"))

    shutil.rmtree(env["COMODO_CACHE"])
    env["COMODO_STORE"] = store
    status = comodo(env, "status", "small")
    assert "small: 6 of 6 trials done, finished" in status
    assert Path(re.findall(r"report: (\S+)", status)[0]).exists()
    plan = " ".join(comodo(env, "plan", file).split())
    assert "6 trials: 6 done, 0 half done, 0 to do" in plan
    assert "to write: MLflow's copies of students" in plan  # whose records went with the cache
    inspected = comodo(env, "inspect", "mine", "--offsets", "0")
    assert "20" in inspected and not list(cache_of(env).glob("**/part-*"))
    again = comodo(env, "sweep", file)
    assert "all 6 trials are done already" in again and table in again


@pytest.mark.chaos
def test_killed_and_gone_on_with_from_the_bucket(
    tmp_path: Path, data: Path, env: dict[str, str]
) -> None:
    changes: dict[str, Any] = {"search": {}, "seeds": [0], "trial": {"epochs": 60}}
    file, store = faulty_file(tmp_path, data, **changes), f"s3://{BUCKET}/killed"
    comodo(env, "sweep", file, "--store", tmp_path / "folder")
    comodo(env, "encode", file, "--store", store)
    command = [*COMMAND, "sweep", str(file), "--store", store]
    driver = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    checkpoint, state = "", dict[str, Any]()
    began = time.monotonic()
    while state.get("epoch", 0) < 3:
        assert driver.poll() is None and time.monotonic() - began < LIMIT
        for checkpoint in bucket(env).glob(f"{BUCKET}/killed/trials/*/checkpoint.pt"):
            with suppress(FileNotFoundError), bucket(env).open(checkpoint) as content:
                state = torch.load(content, map_location="cpu", weights_only=True)
        time.sleep(0.1)
    family = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    psutil.wait_procs(family, timeout=90)
    with bucket(env).open(checkpoint) as content:
        state = torch.load(content, map_location="cpu", weights_only=True)
    shutil.rmtree(env["COMODO_CACHE"])
    told = comodo(env, "sweep", file, "--store", store)
    assert "seed 0: finished" in told
    key = checkpoint.split("/")[-2]
    trained = read_json(cache_of(env) / "trials" / key / "trained.json")
    # Of the epochs before, the speeds that were measured then.
    assert 3 <= len(state["history"]) < 60
    assert trained["history"][: len(state["history"])] == state["history"]
    assert len(trained["history"]) == 60
    assert students(env, "killed") == files(tmp_path / "folder", "model.safetensors")
    assert not bucket(env).glob(f"{BUCKET}/killed/trials/*/checkpoint.pt")


@pytest.fixture
def cluster(env: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of two nodes, each with a cache of its own."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        started = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(tmp_path)],
            env={**env, "RAY_TMPDIR": folder},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert started.stdout is not None
        yield started.stdout.readline().strip()
        started.terminate()
        started.wait(60)


def test_nodes_that_share_nothing_but_the_bucket(
    tmp_path: Path, env: dict[str, str], cluster: str
) -> None:
    made = {"kind": "simulated", "subjects": 3, "seconds": 6, "labelled": 1, "videos": "shrink"}
    sets = {"mine": {**made, "window_seconds": 1.0, "imu_rate": 32.0}}
    resources = {"max_concurrent_trials": 3}
    file = sweep_file(tmp_path, tmp_path, datasets=sets, seeds=[0], resources=resources)
    store = f"s3://{BUCKET}/cluster"
    told = comodo(env, "sweep", file, "--store", store, "--address", cluster)
    assert "mine: 36 of 36 recordings" in told
    assert len(re.findall(r"seed 0: finished", told)) == 3
    assert "no feature for" not in told
    made_by = {}
    for node in ("node1", "node2"):
        (cache,) = (tmp_path / node).iterdir()
        made_by[node] = set(files(cache, "model.safetensors"))
        assert list(cache.glob("arrays/*/*.safetensors"))
    assert made_by["node1"] and made_by["node2"] and not made_by["node1"] & made_by["node2"]
    assert len(students(env, "cluster")) == 3
    laptop = {**env, "COMODO_CACHE": str(tmp_path / "laptop")}
    assert "3 of 3 trials done, finished" in comodo(laptop, "status", "small", "--store", store)
    report = comodo(laptop, "report", "small", "--store", store)
    assert report[report.index("┏") : report.index("report:")] in told
