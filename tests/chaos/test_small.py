"""The quick half: on one small cluster, a killed process, a notice, and what a stop gives back."""

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from comodo.core.store import Store, read_json
from comodo.models.students import load_student
from comodo.runtime.worker import run_trial
from comodo.search.status import read_status
from comodo.search.trial import Trial
from tests.chaos.machines import Driver, Machines, machines
from tests.chaos.toy import WINDOWS, ledger_of, sweep_of
from tests.helpers import make_arrays, weights_equal

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2, num_gpus=1) as cluster:
        yield cluster


def toy(folder: Path, cluster: Machines, **changes: Any) -> Driver:
    arguments = ("tests.chaos.toy", str(folder / "store"), json.dumps(changes))
    return Driver(folder / "log", cluster.address, *arguments)


def trained_from(store: Store, trial: Trial) -> float:
    """When its checkpoint was last written; 0 without one."""
    path = store.folder("trials", trial.key) / "checkpoint.pt"
    return path.stat().st_mtime if path.exists() else 0.0


@pytest.mark.slow
def test_killed_in_mid_epoch_then_told_to_leave_it_ends_as_undisturbed(
    tmp_path: Path, cluster: Machines
) -> None:
    settings: dict[str, Any] = {"seeds": [0], "trial": {"epochs": 12}}
    (trial,) = ledger_of(Store(tmp_path / "plan"), sweep_of(dict(settings))).planned()
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    resources = {"cpus_per_worker": 1, "retries": 1}
    driver = toy(tmp_path, cluster, **settings, resources=resources)
    driver.until(lambda: trained_from(store, trial))
    (process,) = cluster.trials()
    process.kill()
    driver.until(lambda: "its process was lost; restarted" in driver.text())
    killed = trained_from(store, trial)
    driver.until(lambda: trained_from(store, trial) > killed)
    (node,) = [node for node in cluster.nodes if cluster.trials(node)]
    cluster.drain(node, 60)
    driver.until(lambda: "its machine is being taken away" in driver.text())
    checkpoint = torch.load(store.folder("trials", trial.key) / "checkpoint.pt")
    assert "running" in checkpoint, "left between epochs only"
    assert 0 < len(checkpoint["running"]["losses"]) <= WINDOWS // 7
    cluster.kill(node)
    assert "seed 0: finished" in driver.end()
    cluster.nodes.append(cluster.add())
    make_arrays(other, windows=WINDOWS)
    torch.set_num_threads(1)
    run_trial(trial, other, lambda metrics: None)
    students = [load_student(s.folder("trials", trial.key) / "student") for s in (store, other)]
    assert weights_equal(*students)
    history = read_json(store.folder("trials", trial.key) / "trained.json")["history"]
    assert [epoch["epoch"] for epoch in history] == list(range(1, 13))


@pytest.mark.slow
def test_a_process_that_is_lost_between_two_trials_costs_neither(
    tmp_path: Path, cluster: Machines
) -> None:
    settings = {"seeds": list(range(6)), "trial": {"epochs": 1}, "windows": 60, "lose": [1, 3]}
    resources = {"cpus_per_worker": 1, "gpus_per_worker": 0}  # else rounds of two trials at first
    told = toy(tmp_path, cluster, **settings, resources=resources).end()
    assert told.count("its process was lost; restarted") == 2
    assert "6 done" in told


@pytest.mark.slow
def test_a_stopped_trial_gives_back_what_it_had(tmp_path: Path, cluster: Machines) -> None:
    resources = {"cpus_per_worker": 1, "gpus_per_worker": 0.5}
    settings = {"seeds": [0, 1], "trial": {"epochs": 60}, "stop_seed": 0}
    driver = toy(tmp_path, cluster, **settings, resources=resources)
    driver.until(lambda: cluster.used() == {"CPU": 2, "GPU": 1})
    driver.until(lambda: re.search("seed 0: pruned", driver.text()))
    began = time.monotonic()
    driver.until(lambda: cluster.used() == {"CPU": 1, "GPU": 0.5} and cluster.places() == 1)
    assert time.monotonic() - began < 5
    driver.process.kill()
    driver.process.wait()
    began = time.monotonic()
    while cluster.used() or cluster.places():
        assert time.monotonic() - began < 5, (cluster.used(), cluster.places())
        time.sleep(0.1)


@pytest.mark.slow
def test_a_second_driver_says_who_the_first_is_and_touches_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    lease = store / "sweeps/demo/lease.json"
    command = ("comodo", "sweep", "sweeps/demo.yaml", "--store", str(store))
    first = Driver(tmp_path / "first", None, *command)
    first.until(lease.exists)
    first.process.send_signal(signal.SIGSTOP)  # so that whatever changes is the second's doing
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    for options in ((), ("--shared",)):  # the first one does not share
        told = Driver(tmp_path / "second", None, *command, *options).end(1)
        assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
        *_, line = told.splitlines()
        assert line.startswith(f"the sweep 'demo' is being run by process {first.process.pid} on ")
        assert line.endswith("or end that process and run the same command again")
    first.process.send_signal(signal.SIGCONT)
    first.until(lambda: lease.stat().st_mtime_ns > before[lease])  # it goes on
    first.kill()


@pytest.mark.slow  # two minutes; Ctrl-C is tested in tests/e2e/test_sweep.py
def test_sigterm_stops_a_sweep_in_order(tmp_path: Path, cluster: Machines) -> None:
    driver = toy(tmp_path, cluster, seeds=[0], trial={"epochs": 60})
    driver.until(lambda: list((tmp_path / "store").glob("trials/*/checkpoint.pt")))
    driver.process.terminate()
    assert "the same command continues" in driver.end(143)
    assert read_status("toy", Store(tmp_path / "store")).state == "stopped: interrupted"


@pytest.mark.slow
def test_so_it_does_when_ray_s_processes_are_sent_it_too(tmp_path: Path) -> None:
    """As by `timeout`, and by SLURM at a time limit."""
    store, changes = tmp_path / "store", {"seeds": [0], "trial": {"epochs": 60}}
    driver = Driver(tmp_path / "log", None, "tests.chaos.toy", str(store), json.dumps(changes))
    driver.until(lambda: list(store.glob("trials/*/checkpoint.pt")))
    began, process = time.monotonic(), psutil.Process(driver.process.pid)
    for one in [process, *process.children(recursive=True)]:
        one.terminate()
    assert "the same command continues" in driver.end(143)
    assert time.monotonic() - began < 30
    assert read_status("toy", Store(store)).state == "stopped: interrupted"
