"""A sweep whose processes are killed, whose trials break, and whose budget ends."""

import json
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

from comodo.cli import app
from tests.e2e.test_sweep import LIMIT, children, comodo, sweep_file

EPOCHS = 12
pytestmark = pytest.mark.slow  # each of these runs several sweeps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A store that has the windows and features, so that sweeps begin with their trials."""
    folder = tmp_path_factory.mktemp("store")
    assert comodo("encode", faulty_file(folder, data), "--store", folder).returncode == 0
    return folder


def faulty_file(folder: Path, data: Path, **changes: Any) -> Path:
    trial = changes.pop("trial", {})
    path = sweep_file(folder, data, **changes)
    text = path.read_text()
    for key, value in {"epochs": EPOCHS, **trial}.items():
        text = re.sub(rf"^  {key}: .*$", f"  {key}: {value}", text, flags=re.MULTILINE)
    path.write_text(text)
    return path


def drive(file: Path, store: Path, log: Path) -> None:
    """`comodo sweep` with its output in a file; ends the process with its exit code."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["comodo", "sweep", str(file), "--store", str(store)]
    app()


class Driver:
    """A sweep in a process of its own, and all processes that it has ever started."""

    def __init__(self, file: Path, store: Path, log: Path) -> None:
        # Forked from a process that has imported everything, which takes most of the time of a
        # sweep that is killed soon.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["comodo.cli", "comodo.report.report", "comodo.runtime.run"])
        self._log = log
        self._log.touch()
        self.process = context.Process(target=drive, args=(file, store, log))
        self.process.start()
        self.family: dict[int, psutil.Process] = {}

    def look(self) -> list[psutil.Process]:
        """The processes of its trials that live."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.family |= {process.pid: process for process in found}
        return [process for process in found if _title(process).startswith("ray::ImplicitFunc")]

    def until(self, condition: Callable[[], object]) -> None:
        """Waits until the condition holds or the driver has ended."""
        began = time.monotonic()
        while self.process.is_alive() and not condition():
            assert time.monotonic() - began < LIMIT, self.text()
            time.sleep(0.05)

    def kill(self) -> float:
        """Kills the driver alone; seconds until nothing is left that computes or writes.

        Ray's two agents, which do neither, go a minute later.
        """
        self.look()
        self.process.kill()
        self.process.join()
        began = time.monotonic()
        while left := [p for p in self.family.values() if _lives(p) and not _is_agent(p)]:
            assert time.monotonic() - began < 60, [_title(process) for process in left]
            time.sleep(0.05)
        return time.monotonic() - began

    def text(self) -> str:
        return self._log.read_text()


def trained_since(store: Path, began: float) -> bool:
    """Whether any trial has written a checkpoint since then."""
    times = []
    for path in store.glob("trials/*/checkpoint.pt"):
        with suppress(FileNotFoundError):  # its trial has just finished
            times.append(path.stat().st_mtime)
    return any(written > began for written in times)


def lost_so_far(running: Driver, times: int) -> bool:
    return running.text().count("its process was lost") == times


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _is_agent(process: psutil.Process) -> bool:
    names = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "dashboard/agent.py", "agent/main.py")
    return any(name in _title(process) for name in names)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[[Path, Path], Driver]]:
    started: list[Driver] = []

    def start(file: Path, store: Path) -> Driver:
        started.append(Driver(file, store, tmp_path / f"log{len(started)}"))
        return started[-1]

    yield start
    for left in started:
        if left.process.is_alive():
            left.kill()


@pytest.mark.chaos
@pytest.mark.parametrize("kills", [2, 20])
@pytest.mark.timeout(3600)
def test_killed_at_random_moments_nothing_is_lost_or_done_twice(
    tmp_path: Path,
    data: Path,
    store: Path,
    driver: Callable[[Path, Path], Driver],
    kills: int,
) -> None:
    seeds = [100 * kills + number for number in range(1 if kills < 10 else 5)]
    space = {"method.queue_size": [8, 16]}
    name = f"kill{kills}"
    # Long enough that the kills find it running, on a fast machine too.
    epochs = 200
    file = faulty_file(
        tmp_path, data, name=name, search={"space": space}, seeds=seeds, trial={"epochs": epochs}
    )
    before = set(store.glob("trials/*/trained.json"))
    moments = random.Random(kills)
    finished: dict[Path, int] = {}  # trained.json and when it was written
    ends: Counter[str] = Counter()
    halves = 0
    for number in range(kills):
        running = driver(file, store)
        if number % 2:  # from the start of the process on
            wait = moments.uniform(1, 20)
        else:  # while a trial trains, or soon after
            running.until(partial(trained_since, store, time.time()))
            wait = moments.uniform(0, 1)
        running.process.join(wait)
        seconds = running.kill()
        text = running.text()
        ends.update(re.findall(r"^(.+): finished", text, re.MULTILINE))
        written = {path: path.stat().st_mtime_ns for path in store.glob("trials/*/trained.json")}
        again = {path for path in finished if written.get(path) != finished[path]}
        assert not again, "a finished trial was lost or trained again"
        finished = {path: at for path, at in written.items() if path not in before}
        halves += len(list(store.glob("trials/*/checkpoint.pt")))
        print(
            f"kill {number + 1} after {wait:.1f} s: {len(finished)} trained, {halves} checkpoints "
            f"met, all processes gone after {seconds:.1f} s",
            flush=True,
        )
    assert halves, "no kill has met a trial in training"
    last = comodo("sweep", file, "--store", store)
    assert last.returncode == 0, last.stdout + last.stderr
    ends.update(re.findall(r"^(.+): finished", last.stdout, re.MULTILINE))
    assert set(ends.values()) <= {1}, ends
    written = {path: path.stat().st_mtime_ns for path in store.glob("trials/*/trained.json")}
    assert all(written[path] == at for path, at in finished.items())
    runs = children(store, name)
    assert len(runs) == 3 * len(seeds)
    assert Counter(run.info.status for run in runs) == {"FINISHED": len(runs)}
    assert len({run.data.tags["comodo.trial"] for run in runs}) == len(runs)
    client = MlflowClient(f"sqlite:///{store}/mlflow/mlflow.db")
    for run in runs:
        assert run.data.params["seed"], "a run without its settings"
        for metric in ("train/loss", "test/acc1"):
            steps = [m.step for m in client.get_metric_history(run.info.run_id, metric)]
            assert len(steps) == len(set(steps)), (run.info.run_name, metric, steps)
        trained = store / "trials" / run.data.tags["comodo.trial"] / "trained.json"
        history = [epoch["epoch"] for epoch in json.loads(trained.read_text())["history"]]
        if run.data.tags["method"] != "none":
            assert history == list(range(1, epochs + 1))
            losses = client.get_metric_history(run.info.run_id, "train/loss")
            assert sorted(m.step for m in losses) == history
    statuses = sweep_runs(store, name)
    assert statuses == ["FINISHED"]


def sweep_runs(store: Path, experiment: str) -> list[str]:
    client = MlflowClient(f"sqlite:///{store}/mlflow/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    return [run.info.status for run in runs if "comodo.sweep" in run.data.tags]


@pytest.mark.chaos
def test_a_lost_process_is_retried_then_failed(
    tmp_path: Path, data: Path, store: Path, driver: Callable[[Path, Path], Driver]
) -> None:
    file = faulty_file(
        tmp_path,
        data,
        name="lost",
        search={},
        seeds=[31, 32],
        trial={"epochs": 300},
        resources={"retries": 1, "max_concurrent_trials": 1},
    )
    running = driver(file, store)
    for lost in (1, 2):  # both times in the first trial that trains
        running.until(partial(trained_since, store, time.time()))
        (process,) = running.look()
        process.send_signal(signal.SIGKILL)
        running.until(partial(lost_so_far, running, lost))
    running.process.join(LIMIT)
    text = running.text()
    assert running.process.exitcode == 1, text
    assert "seed 31: its process was lost; restarted from its checkpoint" in text
    assert "seed 31: failed, its process was lost 2 times, killed or crashed" in text
    assert "seed 32: finished" in text
    (log,) = store.glob("trials/*/failed.txt")
    assert "ActorDiedError" in log.read_text() or "died unexpectedly" in log.read_text()
    again = comodo("sweep", file, "--store", store)
    assert "seed 31: finished" in again.stdout, again.stdout
    assert not log.exists()


def test_failures_in_a_row_stop_the_sweep(tmp_path: Path, data: Path, store: Path) -> None:
    file = faulty_file(
        tmp_path,
        data,
        name="hopeless",
        search={"space": {"learning_rate": [1e30, 2e30, 3e30, 4e30, 5e30]}},
        seeds=[0],
        budget={"failures": 2},
        resources={"max_concurrent_trials": 1},
    )
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count(": failed, TrainingError: the ") == 2
    assert "stopped: 2 trials in a row failed in the same way (TrainingError" in done.stdout
    assert (store / "sweeps/hopeless/report/report.md").exists()
    logs = [path.read_text() for path in store.glob("trials/*/failed.txt")]
    logs = [log for log in logs if "TrainingError" in log]
    assert len(logs) == 2
    assert all("Traceback" in log and "train_epoch" in log for log in logs)


def test_at_a_limit_trials_are_half_done_and_the_report_is_made(
    tmp_path: Path, data: Path, store: Path
) -> None:
    settings: dict[str, Any] = {
        "name": "short",
        "search": {"space": {"method.queue_size": [8, 16]}},
        "seeds": [41, 42],
        "references": [],
    }
    long = {"epochs": 80}
    file = faulty_file(tmp_path, data, budget={"hours": 5 / 3600}, trial=long, **settings)
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": half done, stopped after epoch" in done.stdout
    assert "stopped: budget.hours: 0.00138889 is reached; with a higher limit" in done.stdout
    report = (store / "sweeps/short/report/report.md").read_text()
    assert "| half done |" in report
    heartbeat = json.loads((store / "sweeps/short/progress.json").read_text())
    assert heartbeat["state"].startswith("stopped: budget.hours")
    assert heartbeat["running"] == []
    assert (heartbeat["done"], heartbeat["planned"]) == (0, 4)
    assert heartbeat["budget"]["hours"][1] == pytest.approx(5 / 3600)
    killed = [run for run in children(store, "short") if run.info.status == "KILLED"]
    assert killed
    assert all("budget.hours" in run.data.tags["comodo.reason"] for run in killed)
    halves = {path.parent.name for path in store.glob("trials/*/checkpoint.pt")}
    assert {run.data.tags["comodo.trial"] for run in killed} <= halves
    file = faulty_file(tmp_path, data, trial=long, **settings)
    again = comodo("sweep", file, "--store", store)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [run.info.status for run in children(store, "short")] == ["FINISHED"] * 4
