"""What takes minutes: machines that go down again and again, a lost head, a full store, two sweeps
at once, several workers, and two hundred trials."""

import json
import os
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from comodo.core.parts import parts
from comodo.core.store import Store, read_json
from tests.chaos.machines import Driver, machines
from tests.chaos.toy import ledger_of, sweep_of
from tests.e2e.test_faults import trained_since
from tests.e2e.test_sweep import sweep_file
from tests.helpers import make_arrays

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]


def toy(folder: Path, address: str | None, **changes: Any) -> Driver:
    """Drives toy trials; the store is `folder`/store."""
    number = len(list(folder.glob("log*")))
    arguments = ("tests.chaos.toy", str(folder / "store"), json.dumps(changes))
    return Driver(folder / f"log{number}", address, *arguments)


def finished(store: Path) -> dict[str, int]:
    """Keys of the trained trials, and when each was."""
    return {p.parent.name: p.stat().st_mtime_ns for p in store.glob("trials/*/trained.json")}


def test_twenty_machines_go_down_while_trials_train(tmp_path: Path) -> None:
    moments, settings = random.Random(0), {"seeds": list(range(24)), "trial": {"epochs": 6}}
    store = tmp_path / "store"
    with machines(2) as cluster:
        resources = {"cpus_per_worker": 1, "retries": 20}
        driver = toy(tmp_path, cluster.address, **settings, resources=resources)
        for _ in range(20):
            driver.until(partial(trained_since, store, time.time()))
            time.sleep(moments.uniform(0, 3))
            cluster.kill(moments.choice(cluster.nodes))
            cluster.nodes.append(cluster.add())
        told = driver.end()
    ends = Counter(line for line in told.splitlines() if ": finished" in line)
    assert len(ends) == 24
    assert set(ends.values()) == {1}
    print(told.count("its process was lost"), "processes lost")
    for path in store.glob("trials/*/trained.json"):
        assert [epoch["epoch"] for epoch in read_json(path)["history"]] == list(range(1, 7))
    assert len(finished(store)) == 24


def test_the_machines_that_are_left_finish_the_sweep(tmp_path: Path) -> None:
    store, settings = tmp_path / "store", {"seeds": list(range(6)), "trial": {"epochs": 6}}
    with machines(3) as cluster:
        resources = {"cpus_per_worker": 1, "retries": 5}
        driver = toy(tmp_path, cluster.address, **settings, resources=resources)
        driver.until(lambda: all(map(cluster.trials, cluster.nodes)))
        for _ in range(2):
            driver.until(partial(trained_since, store, time.time()))
            cluster.kill(next(node for node in cluster.nodes if cluster.trials(node)))
        assert len(cluster.nodes) == 1
        told = driver.end()
    assert told.count("its process was lost; restarted") >= 2
    assert told.count(": finished") == len(finished(store)) == 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=6.0)


def windows_of(store: Path) -> Counter[str]:
    """How often each window was encoded."""
    (folder,) = store.glob("features/*")
    return Counter(
        window
        for part in parts(folder)
        for window in pq.read_table(part, columns=["window"])["window"].to_pylist()
    )


def encoding(folder: Path, data: Path) -> tuple[str, ...]:
    """A command whose frames, 1.2 MB for each of 120 windows, are more than SMALL."""
    file = sweep_file(folder, data)
    content = yaml.safe_load(file.read_text())
    content["trial"]["teacher"]["frames"] = 8
    content["measures"] = ["probe", "alignment"]  # which reads the features of all splits
    file.write_text(yaml.safe_dump(content))
    return ("comodo", "encode", str(file), "--store", str(folder / "store"))


SMALL = 80 * 2**20  # bytes of a node's memory for objects


def test_frames_that_do_not_fit_into_memory_wait_or_go_to_disk(tmp_path: Path, data: Path) -> None:
    with machines(1, object_store_memory=SMALL) as cluster:
        Driver(tmp_path / "log", cluster.address, *encoding(tmp_path, data)).end()
    found = windows_of(tmp_path / "store")
    assert len(found) == 120
    assert set(found.values()) == {1}


def test_machines_go_down_while_videos_are_encoded(tmp_path: Path, data: Path) -> None:
    """With little memory for objects, too. The command goes on by itself."""
    moments, store = random.Random(1), tmp_path / "store"
    with machines(2, object_store_memory=SMALL) as cluster:
        driver = Driver(tmp_path / "log", cluster.address, *encoding(tmp_path, data))
        driver.until(lambda: list(store.glob("features/*/part-*")))
        for _ in range(2):
            time.sleep(moments.uniform(0, 5))
            assert driver.process.poll() is None, "it has ended before its machine was lost"
            cluster.kill(moments.choice(cluster.nodes))
            cluster.nodes.append(cluster.add())
        told = driver.end()
    assert "mine: 120 features by efficientnet-lite0" in told
    found = windows_of(store)
    assert len(found) == 120
    assert set(found.values()) == {1}


def test_a_lost_head_is_said_and_the_same_command_goes_on(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seeds": [0], "trial": {"epochs": 40}}
    store = tmp_path / "store"
    with machines(1) as cluster:
        driver = toy(tmp_path, cluster.address, **settings)
        driver.until(lambda: list(store.glob("trials/*/checkpoint.pt")))
        cluster.kill_head()
        began = time.monotonic()
        assert driver.process.wait(120) != 0
        print(f"the driver ended after {time.monotonic() - began:.0f} s")
        assert "the cluster's head at" in driver.text()
        assert "run the same command again" in driver.text()
        for _ in range(100):  # nothing of it trains on
            if not any(map(cluster.trials, cluster.nodes)):
                break
            time.sleep(0.1)
        assert not any(map(cluster.trials, cluster.nodes))
    (half,) = [read_half(path) for path in store.glob("trials/*/checkpoint.pt")]
    with machines(1) as cluster:
        told = toy(tmp_path, cluster.address, **settings).end()
    assert "seed 0: finished" in told
    assert half > 0


def read_half(path: Path) -> int:
    import torch

    return int(torch.load(path, weights_only=True)["epoch"])


def test_two_sweeps_that_share_a_trial_train_it_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_arrays(store, windows=300)
    # So long that the driver which starts later finds it in training.
    settings: dict[str, Any] = {"seeds": [0], "trial": {"epochs": 100}}
    with machines(2) as cluster:
        drivers = [toy(tmp_path, cluster.address, name=n, **settings) for n in ("one", "other")]
        told = [driver.end() for driver in drivers]
    assert [text.count(": finished") for text in told] == [1, 1]
    assert sum(": waits, it is trained by process" in text for text in told) == 1
    (trained,) = store.root.glob("trials/*/trained.json")
    assert len(read_json(trained)["history"]) == 100
    assert not list(store.root.glob("**/lease.json"))


def test_both_workers_of_a_stopped_trial_are_free_at_once(tmp_path: Path) -> None:
    """On CPUs: Ray Train would have workers of a GPU that is none speak through it."""
    resources = {"workers": 2, "cpus_per_worker": 1}
    with machines(2, dashboard=True, num_cpus=3) as cluster:
        driver = toy(
            tmp_path,
            cluster.address,
            seeds=[0, 1],
            trial={"epochs": 2000},
            windows=100,
            stop_seed=0,
            resources={**resources, "max_concurrent_trials": 2},
        )
        driver.until(lambda: cluster.used() == {"CPU": 4.02})
        driver.until(lambda: "seed 0: pruned" in driver.text())
        began = time.monotonic()
        driver.until(lambda: cluster.used() == {"CPU": 2.01} and cluster.places() == 2)
        seconds = time.monotonic() - began
        print(f"free after {seconds:.1f} s")
        assert seconds < 5
        driver.kill()


def test_a_notice_to_one_worker_is_heeded_by_both(tmp_path: Path) -> None:
    """Each on a machine of its own; the one that is told takes the other with it to the third."""
    store, settings = tmp_path / "store", {"seeds": [0], "trial": {"epochs": 6}}
    with machines(3, dashboard=True, num_cpus=3) as cluster:
        resources = {"workers": 2, "cpus_per_worker": 2}
        driver = toy(tmp_path, cluster.address, **settings, resources=resources)
        driver.until(lambda: list(store.glob("trials/*/checkpoint.pt")))
        node = next(n for n in cluster.nodes if cluster.workers(n) and not cluster.trials(n))
        cluster.drain(node, 120)
        driver.until(lambda: "its machine is being taken away" in driver.text())
        (path,) = store.glob("trials/*/checkpoint.pt")
        assert read_half(path) < 6
        cluster.kill(node)
        told = driver.end()
    assert "seed 0: finished" in told
    (trained,) = store.glob("trials/*/trained.json")
    assert [epoch["epoch"] for epoch in read_json(trained)["history"]] == list(range(1, 7))
    assert read_json(trained)["workers"] == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "store"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


def remount(folder: Path, how: str) -> bool:
    """Fails while a file is open for writing."""
    command = ["mount", "-o", f"remount,{how}", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("fault", ["No space left on device", "Read-only file system"])
def test_a_store_that_takes_nothing_stops_the_sweep_and_mended_it_goes_on(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    settings: dict[str, Any] = {"seeds": [0, 1, 2, 3], "trial": {"epochs": 3}, "windows": 100}
    full = fault.startswith("No space")
    if not full:  # nor is a database of the store open then
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with machines(1) as cluster:
        driver = toy(tmp_path, cluster.address, **settings)
        driver.until(lambda: driver.text().count(": finished") == 1)
        if full:
            fill(small_disk)
        else:
            driver.until(partial(remount, small_disk, "ro"))
        told = driver.end(1)
        assert fault in told
        assert re.search("seed .: failed, StoreError: .* cannot be written", told)
        if full:
            (small_disk / "filler").unlink()
        else:
            assert remount(small_disk, "rw")
        for path in small_disk.rglob("*.json"):  # nothing of ours is half-written
            if "mlflow" not in path.parts:
                json.loads(path.read_text())
        told = toy(tmp_path, cluster.address, **settings).end()
        for path in small_disk.rglob("*.json"):  # and MLflow's copies are made anew
            json.loads(path.read_text())
    assert "4 done" in told


def test_two_hundred_trials_with_kills_leave_the_driver_as_small(tmp_path: Path) -> None:
    moments, store = random.Random(2), tmp_path / "store"
    settings = {"seeds": list(range(200)), "trial": {"epochs": 2}, "windows": 60}
    with machines(2) as cluster:
        resources = {"cpus_per_worker": 1, "retries": 5}
        driver = toy(tmp_path, cluster.address, **settings, resources=resources)
        kills, after = 0, 0
        while (after := after + moments.randint(4, 12)) < 195:
            driver.until(lambda after=after: len(finished(store)) >= after)  # type: ignore[misc]
            if running := cluster.trials():
                with suppress(psutil.NoSuchProcess):
                    moments.choice(running).kill()
                    kills += 1
        told = driver.end()
    assert kills > 10
    assert told.count(": finished") == 200
    sweep = sweep_of({"seeds": settings["seeds"], "trial": {"epochs": 2}})
    assert len(ledger_of(Store(store), sweep).over()) == len(finished(store)) == 200
    memory = [read_json(store / "memory.json")[count - 1] // 2**20 for count in (50, 100, 150, 200)]
    print(f"{kills} kills; driver's memory after 50, 100, 150, 200 trials: {memory} MiB")
    # Plain Tune keeps 5 MiB here without kills and 6 with 37. Each killed process leaves up to 0.3
    # more in this driver, which is not explained; trials that are not killed leave nothing.
    assert memory[3] - memory[0] < 10 + 0.3 * kills
