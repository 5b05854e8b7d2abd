"""The main job as a user runs it: one file, one command, on recordings made for the test."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner, Result

from comodo.cli import app
from comodo.runtime.cluster import ended_afterwards
from tests.helpers import TINY_MANTIS

COMMAND = [sys.executable, "-m", "comodo"]
LIMIT = 300  # seconds; nothing here may wait for ever


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, new_records: Callable[[Path], None]) -> Path:
    """One store for the module: the windows and features are made once."""
    folder = tmp_path_factory.mktemp("store")
    new_records(folder / "mlflow/mlflow.db")
    return folder


def sweep_file(folder: Path, data: Path, **changes: Any) -> Path:
    head = {"hidden_dim": 16, "output_dim": 8}
    content = {
        "name": "small",
        "datasets": {
            "mine": {
                "kind": "folder",
                "path": str(data),
                "window_seconds": 1.0,
                "imu_rate": 32.0,
            }
        },
        "trial": {
            "dataset": "mine",
            "teacher": {"name": "efficientnet-lite0", "frames": 1},
            "student": TINY_MANTIS,
            "method": {"name": "comodo", "queue_size": 8, "head": head},
            "epochs": 2,
            "batch_size": 8,
        },
        "search": {"space": {"method.queue_size": [8, 16]}},
        "seeds": [0, 1],
        "references": ["none"],
        **changes,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def comodo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def here(*arguments: str | Path) -> Result:
    """A command that trains nothing, in this process: to import PyTorch, Ray and MLflow in another
    one takes longer than most commands."""
    with ended_afterwards():
        return CliRunner().invoke(app, [*map(str, arguments)])


def children(store: Path, experiment: str) -> list[Any]:
    client = MlflowClient(f"sqlite:///{store}/mlflow/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    return [run for run in runs if "comodo.trial" in run.data.tags]


def test_a_plan_starts_nothing(tmp_path: Path, data: Path) -> None:
    store = tmp_path / "store"
    before = comodo("plan", sweep_file(tmp_path, data), "--store", store)
    assert before.returncode == 0, before.stdout + before.stderr
    shown = " ".join(before.stdout.split())
    assert "small: grid, 6 trials: 0 done" in shown
    assert "configurations 2, each with 2 seeds references 2 trials" in shown
    assert "20 of 20" in before.stdout
    assert "--measure makes a short run" in shown
    assert not store.exists()
    assert "no such store" in here("status", "--store", store).stderr


def test_one_command_then_again_for_free(tmp_path: Path, data: Path, store: Path) -> None:
    file = sweep_file(tmp_path, data)
    first = comodo("sweep", file, "--store", store)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "mine: 20 of 20 recordings" in first.stdout
    for name in ("untrained", "comodo queue_size=8", "comodo queue_size=16"):
        for seed in (0, 1):
            assert f"{name} seed {seed}: finished" in first.stdout
    assert "comodo ui" in first.stdout
    report = re.search(r"report:\s+(\S+)", first.stdout)
    assert report is not None
    assert (Path(report[1]).parent / "accuracy.png").stat().st_size > 1000
    results = list(store.glob("trials/*/trained.json"))
    assert len(results) == 6
    stamps = {path: path.stat().st_mtime_ns for path in store.glob("trials/**/*.json")}

    again = here("sweep", file, "--store", store)
    assert "all 6 trials are done already" in again.stdout, again.output
    table = first.stdout[first.stdout.index("┏") : first.stdout.index("report:")]
    assert table in again.stdout
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    runs = children(store, "small")
    assert [run.info.status for run in runs] == ["FINISHED"] * 6
    assert all("val/acc1" in run.data.metrics for run in runs)


def test_the_report_is_made_from_the_store_alone(store: Path) -> None:
    folder = store / "sweeps/small/report"
    (folder / "report.html").unlink()
    done = here("report", "small", "--store", store)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert f"report:  {folder}/report.html" in done.stdout
    page = (folder / "report.md").read_text()
    assert "6 of 6 trials finished" in page
    assert len(re.findall(r"\| \[run\]\(http://127.0.0.1:5000/#/experiments/", page)) == 6
    client = MlflowClient(f"sqlite:///{store}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`comodo.sweep` = 'small'")
    attached = {file.path for file in client.list_artifacts(runs[0].info.run_id, "report")}
    assert {f"report/{path.name}" for path in folder.iterdir()} <= attached
    unknown = here("report", "smal", "--store", store)
    assert unknown.exit_code == 1
    assert "no sweep 'smal'" in unknown.stderr and "did you mean 'small'?" in unknown.stderr


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_plan_and_status_afterwards(tmp_path: Path, data: Path, store: Path) -> None:
    file, kept = sweep_file(tmp_path, data), files(store)
    after = here("plan", file, "--store", store)
    assert "6 trials: 6 done, 0 half done, 0 to do" in after.stdout, after.stdout + after.stderr
    assert "to write: nothing" in after.stdout
    assert "prepared" in after.stdout
    assert "encoded" in after.stdout
    probe = next((store / "trials").rglob("measures/*/probe-*.json"))
    aside = probe.rename(tmp_path / probe.name)
    again = " ".join(here("plan", file, "--store", store).stdout.split())
    aside.rename(probe)
    assert "5 done, 0 half done, 1 to measure only, 0 to do" in again
    wider = sweep_file(tmp_path, data, search={"space": {"method.queue_size": [8, 16, 24]}})
    more = " ".join(here("plan", wider, "--store", store).stdout.split())
    assert "8 trials: 6 done, 0 half done, 2 to do" in more
    assert "windows/s, the median of 8 epochs in this store: mantis from scratch" in more
    assert kept == files(store)

    status = here("status", "small", "--store", store)
    assert "small: 6 of 6 trials done" in status.stdout, status.stdout + status.stderr
    assert "best so far: " in status.stdout
    assert "small" in here("status", "--store", store).stdout
    unknown = here("status", "smal", "--store", store)
    assert unknown.exit_code == 1
    assert "no sweep 'smal'" in unknown.stderr
    assert "did you mean 'small'?" in unknown.stderr


@pytest.mark.slow
def test_another_sweep_reuses_the_same_trials(tmp_path: Path, data: Path, store: Path) -> None:
    search = {"space": {"method.queue_size": [16, 8]}}
    file = sweep_file(tmp_path, data, name="other", search=search, seeds=[1])
    done = comodo("sweep", file, "--store", store)
    assert "all 3 trials are done already" in done.stdout, done.stdout + done.stderr
    assert len(children(store, "other")) == 3


@pytest.mark.slow
def test_a_failing_trial_leaves_the_others_alone(tmp_path: Path, data: Path, store: Path) -> None:
    space = {"learning_rate": [1e-3, 1e30]}  # the second drives the weights to infinity
    file = sweep_file(
        tmp_path,
        data,
        name="failing",
        search={"space": space},
        seeds=[0],
        early_stopping={"name": "asha"},
    )
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 1
    assert "learning_rate=0.001 seed 0: finished" in done.stdout, done.stdout + done.stderr
    assert re.search(r"learning_rate=1e\+30 seed 0: failed, TrainingError: the loss", done.stdout)
    assert "1 trials failed" in done.stderr
    states = sorted(run.info.status for run in children(store, "failing"))
    assert states == ["FAILED", "FINISHED", "FINISHED"]


@pytest.mark.slow
def test_tpe_with_early_stopping(tmp_path: Path, data: Path, store: Path) -> None:
    file = sweep_file(
        tmp_path,
        data,
        name="tpe",
        search={
            "sampler": "tpe",
            "space": {
                "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
                "method": ["infonce", {"name": "l2"}],
            },
        },
        budget={"trials": 5},
        seeds=[0],
        early_stopping={"name": "asha", "grace_epochs": 1, "reduction_factor": 2},
    )
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = json.loads((store / "sweeps/tpe/asked.json").read_text())
    assert len(asked) == 5
    ended = done.stdout.count(": finished") + done.stdout.count(": pruned")
    assert ended == 5  # the untrained student was done by the first test
    assert {run.info.status for run in children(store, "tpe")} <= {"FINISHED", "KILLED"}


def test_without_labels_nothing_is_trained(
    tmp_path: Path, data: Path, store: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=20, seconds=1.0)
    lines = manifest.read_text().replace("walking", "").replace("running", "")
    manifest.write_text(lines)
    file = sweep_file(tmp_path, manifest, search={})
    done = here("sweep", file, "--store", store)
    assert done.exit_code == 2
    assert "datasets.mine: no labelled training windows" in done.stderr


@pytest.mark.slow
def test_interrupted_and_run_again(tmp_path: Path, data: Path, store: Path) -> None:
    space = {"method.queue_size": [8, 16, 32]}
    file = sweep_file(tmp_path, data, name="interrupted", search={"space": space}, seeds=[7, 8])
    command = [*COMMAND, "sweep", str(file), "--store", str(store)]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        began = time.monotonic()
        while log.read_text().count(": finished") < 2 and time.monotonic() - began < LIMIT:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LIMIT) == 143, log.read_text()
    assert "the same command continues" in log.read_text()
    assert "stopped: interrupted" in comodo("status", "interrupted", "--store", store).stdout
    assert (store / "sweeps/interrupted/report/report.html").exists()
    finished = set(re.findall(r"(.+): finished", log.read_text()))
    assert 2 <= len(finished) < 8
    again = comodo("sweep", file, "--store", store)
    assert again.returncode == 0, again.stdout + again.stderr
    rest = set(re.findall(r"(.+): finished", again.stdout))
    assert not rest & finished
    assert len(rest | finished) == 8
    assert [run.info.status for run in children(store, "interrupted")] == ["FINISHED"] * 8


@pytest.mark.slow
def test_two_workers_train_one_student(tmp_path: Path, data: Path, store: Path) -> None:
    file = sweep_file(
        tmp_path,
        data,
        name="workers",
        search={"space": {"learning_rate": [1e-3, 2e-3]}},
        seeds=[21],
        resources={"workers": 2, "cpus_per_worker": 0.9},
    )
    done = comodo("sweep", file, "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("seed 21: finished") == 3
    assert [run.info.status for run in children(store, "workers")] == ["FINISHED"] * 3


@pytest.mark.slow
def test_prepared_with_small_copies_then_inspected(tmp_path: Path, data: Path) -> None:
    file, store = sweep_file(tmp_path, data), tmp_path / "store"
    done = comodo("prepare", file, "--store", store, "--videos", "shrink")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"datasets.mine.videos: shrink in {file}" in done.stdout
    assert len(list((store / "videos").glob("*.mp4"))) == 20
    done = comodo("inspect", "mine", "--store", store, "--offsets", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"report: {store}/quality/mine/quality.md" in done.stdout
    done = comodo("inspect", "main", "--store", store)
    assert done.returncode == 1
    assert "did you mean 'mine'?" in done.stderr


def test_mistakes_exit_with_two_and_one_clear_line(tmp_path: Path, data: Path) -> None:
    file = sweep_file(tmp_path, data, seedz=[1])
    done = comodo("sweep", file)
    assert done.returncode == 2
    assert done.stdout.startswith(f"checking {file}") and done.stdout.count("\n") == 1
    assert done.stderr == f"{file}:18: seedz: unknown key; did you mean 'seeds'?\n"
