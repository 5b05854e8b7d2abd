"""Records in a real MLflow on a real PostgreSQL: many drivers at once, outages, passwords."""

import multiprocessing
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from mlflow.tracking import MlflowClient

from comodo.core.store import Store, write_json
from comodo.search.trial import Trial, TrialResult
from comodo.tracking.tracker import Tracker
from tests.e2e.test_sweep import COMMAND, LIMIT, comodo, sweep_file
from tests.helpers import trained_record, trial_config
from tests.tracking_server import PASSWORD, MlflowServer, postgresql, running

DRIVERS, EPOCHS = 16, 20
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture
def server(database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    found = MlflowServer(database, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.uri)
    with running(found):
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


def runs_of(experiment: str) -> tuple[MlflowClient, Any, list[Any]]:
    """The server's client, the sweep's run and those of its trials; each must be there once."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    (parent,) = [run for run in runs if "comodo.sweep" in run.data.tags]
    trials = [run for run in runs if "comodo.trial" in run.data.tags]
    assert len(trials) == len({run.data.tags["comodo.trial"] for run in trials})
    for tag in ("comodo.configuration", "comodo.tested_on"):
        others = [run.data.tags[tag] for run in runs if tag in run.data.tags]
        assert len(others) == len(set(others))
    assert {run.data.tags["comodo.sweep_run"] for run in trials} == {parent.info.run_id}
    return client, parent, trials


def assert_complete(experiment: str, trials: int, epochs: int) -> None:
    """All runs are FINISHED with each epoch once, parameters, measures and files."""
    client, parent, runs = runs_of(experiment)
    assert parent.info.status == "FINISHED"
    assert [run.info.status for run in runs] == ["FINISHED"] * trials
    for run in runs:
        trained = run.data.params["method.name"] != "none"
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [m.step for m in history] == (list(range(1, epochs + 1)) if trained else [])
        assert "method" in run.data.tags and "student.name" in run.data.params
        assert len(client.get_metric_history(run.info.run_id, "val/acc1")) == 1
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"result.json", "student"}


def drive(number: int, root: Path, began: Any) -> None:
    """What one driver records of one sweep of two trials."""
    store = Store(root / str(number))
    write_json(root / str(number) / "t/student/student.json", {})
    began.wait()
    tracker = Tracker(store, f"sweep-{number}", {"name": f"sweep-{number}"})
    tracker.begin("asked", "described", str, {})
    history = [{"epoch": e, "train/loss": 1 / e, "val/quick": 0.1} for e in range(1, EPOCHS + 1)]
    trials = [Trial(trial_config(), seed, "w", "f") for seed in (0, 1)]
    for trial in trials:
        tracker.start(trial, f"seed {trial.seed}")
    for epoch in history:
        for trial in trials:
            tracker.epoch(trial, epoch)
    for trial in trials:
        result = TrialResult(trained_record(trial, history=history), {"val/acc1": 0.5})
        tracker.finish(trial, f"seed {trial.seed}", result, root / str(number) / "t")
    tracker.close()


def test_sixteen_drivers_at_once_lose_nothing(server: MlflowServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.e2e.test_tracking_server"])
    began = context.Barrier(DRIVERS)
    drivers = [
        context.Process(target=drive, args=(number, tmp_path, began)) for number in range(DRIVERS)
    ]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(LIMIT)
    assert [driver.exitcode for driver in drivers] == [0] * DRIVERS
    for number in range(DRIVERS):
        assert_complete(f"sweep-{number}", trials=2, epochs=EPOCHS)


def test_a_sweep_is_recorded_with_its_report(
    server: MlflowServer, tmp_path: Path, data: Path
) -> None:
    file, store = sweep_file(tmp_path, data, name="recorded"), tmp_path / "store"
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_complete("recorded", trials=6, epochs=2)
    assert not (store / "mlflow").exists()
    client, parent, runs = runs_of("recorded")
    assert "report/report.html" in {
        file.path for file in client.list_artifacts(parent.info.run_id, "report")
    }
    page = (store / "sweeps/recorded/report/report.md").read_text()
    assert all(f"{server.uri}/#/experiments/" in page and r.info.run_id in page for r in runs)


@pytest.mark.chaos
def test_down_from_the_start_then_run_again(
    database: str,
    folder: Path,
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = MlflowServer(database, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    file, store = sweep_file(tmp_path, data, name="down"), tmp_path / "store"
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": finished") == 6
    assert done.stdout.count("training goes on; what is missing is recorded when") == 1
    assert "records could not be made; the same command, run again, makes them" in done.stdout
    with running(server):
        again = comodo("sweep", file, "--store", store)
        assert "all 6 trials are done already" in again.stdout, again.stdout + again.stderr
        assert_complete("down", trials=6, epochs=2)


@pytest.mark.chaos
@pytest.mark.timeout(2400)
def test_a_server_that_is_away_while_trials_run(
    server: MlflowServer, tmp_path: Path, data: Path
) -> None:
    """What was trained meanwhile is recorded by the same run of the command."""
    epochs, search = 200, {"space": {"method.queue_size": [8, 16, 24]}}
    file = sweep_file(tmp_path, data, name="away", search=search, seeds=[0, 1, 2, 3, 4, 5])
    content = yaml.safe_load(file.read_text())
    content["trial"]["epochs"] = epochs
    content["early_stopping"] = {"name": "asha", "grace_epochs": 20, "reduction_factor": 2}
    file.write_text(yaml.safe_dump(content))
    store, log = tmp_path / "store", tmp_path / "log"
    with log.open("w") as out:
        sweep = subprocess.Popen(
            [*COMMAND, "sweep", str(file), "--store", str(store)], stdout=out, stderr=out
        )
        _until(lambda: ended(log) >= 2, sweep, log)
        server.stop()
        before, stopped = ended(log), time.monotonic()
        _until(lambda: ended(log) >= before + 2, sweep, log)  # trials go on
        # A minute, unless so many of the 24 trials have ended that the sweep might end before.
        _until(lambda: time.monotonic() > stopped + 60 or ended(log) >= 12, sweep, log)
        server.start()
        assert sweep.wait(timeout=5 * LIMIT) == 0, log.read_text()
    text = log.read_text()
    assert "MLflow is back, recording continues" in text and "could not be made" not in text
    client, parent, runs = runs_of("away")
    assert parent.info.status == "FINISHED"
    for status, word in {"FINISHED": ": finished", "KILLED": ": pruned"}.items():
        assert sum(run.info.status == status for run in runs) == text.count(word)
    for run in runs:
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]
        reached = epochs
        if run.data.params["method.name"] == "none":
            reached = 0
        elif run.info.status == "KILLED":
            reached = int(run.data.tags["comodo.reason"].split()[-1])
        assert steps == list(range(1, reached + 1))


def ended(log: Path) -> int:
    return len(re.findall(": (finished|pruned)", log.read_text()))


def _until(condition: Callable[[], object], process: "subprocess.Popen[bytes]", log: Path) -> None:
    began = time.monotonic()
    while not condition():
        assert process.poll() is None and time.monotonic() - began < LIMIT, log.read_text()
        time.sleep(0.2)


@pytest.mark.chaos
def test_with_passwords_as_documented(
    database: str,
    folder: Path,
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth needs pip install mlflow[auth]")
    options = ["--app-name", "basic-auth", "--allowed-hosts", "localhost:*,127.0.0.1:*"]
    server = MlflowServer(
        database,
        folder,
        *options,
        MLFLOW_FLASK_SERVER_SECRET_KEY="a-long-random-text",
        MLFLOW_AUTH_ADMIN_PASSWORD="canary-of-the-admin",
    )
    file, store = sweep_file(tmp_path, data, name="locked"), tmp_path / "store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    canaries = ["canary-of-the-admin", "canary-that-is-wrong", PASSWORD]
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"):
        canaries.append(f"canary-of-{name}")
        monkeypatch.setenv(name, canaries[-1])
    # Of somebody who starts the server, too, where the sweep is started.
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database)
    with running(server):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-that-is-wrong")
        wrong = comodo("sweep", file, "--store", store)
        assert wrong.returncode == 0, wrong.stdout + wrong.stderr
        told = [line for line in wrong.stdout.splitlines() if "refuses" in line]
        assert len(told) == 2, wrong.stdout  # of the records, and of the report's links
        assert all("MLFLOW_TRACKING_PASSWORD" in line for line in told)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-of-the-admin")
        right = comodo("sweep", file, "--store", store)
        assert right.returncode == 0 and "MLflow" not in right.stdout, right.stdout + right.stderr
        assert_complete("locked", trials=6, epochs=2)
    records = content(database)
    assert "locked" in records
    paths = [path for place in (store, folder) for path in place.rglob("*") if path.is_file()]
    for canary in canaries:
        assert not [path for path in paths if canary.encode() in path.read_bytes()]
        assert canary not in wrong.stdout + wrong.stderr + right.stdout + right.stderr
        assert canary not in records


def content(database: str) -> str:
    """All that stands in it."""
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        asked = [sqlalchemy.text(f'SELECT * FROM "{table}"') for table in tables]
        found = "\n".join(str(row) for each in asked for row in connection.execute(each))
    engine.dispose()
    return found
