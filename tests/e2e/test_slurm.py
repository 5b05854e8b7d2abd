"""`comodo slurm` on a real SLURM of this machine; see `slurm_cluster`."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

from comodo.tracking.runs import TRIAL
from tests.e2e.test_sweep import comodo, sweep_file
from tests.paths import ROOT
from tests.slurm_cluster import Slurm, missing, slurm_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]
LIMIT = 400  # seconds of a job, on a busy machine
ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with slurm_cluster() as started:
        yield started
        if (kept := os.environ.get("COMODO_SLURM_LOG")) is not None:
            Path(kept, "slurmctld.log").write_text(started.log())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=20, seconds=4.0)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A store that has the windows and features, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("shared disk")
    done = comodo("encode", sweep_file(folder, data), "--store", folder / "store")
    assert done.returncode == 0, done.stdout
    return folder / "store"


def submitted(
    slurm: Slurm, folder: Path, file: Path, store: Path, *options: str, **replaced: str
) -> str:
    """Runs `comodo slurm` in a folder, with some of the script's texts replaced; the job's id."""
    command = [sys.executable, "-m", "comodo", "slurm", str(file), "--store", str(store), *options]
    env = {**slurm.env, "PYTHONPATH": str(ROOT)}
    if replaced:
        command.append("--dry-run")
    done = subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if replaced:
        for text, by in replaced.items():
            assert text in done.stdout
            done.stdout = done.stdout.replace(text, by)
        (folder / "small.sbatch").write_text(done.stdout)
        done = subprocess.run(
            ["sbatch", "small.sbatch"], env=env, cwd=folder, capture_output=True, text=True
        )
    found = re.search(r"Submitted batch job (\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return found[1]


def log_of(folder: Path, job: str) -> str:
    text = "".join(path.read_text() for path in sorted(folder.glob(f"small-{job}*.log")))
    if (kept := os.environ.get("COMODO_SLURM_LOG")) is not None:
        Path(kept, f"{folder.name}-{job}.log").write_text(text)
    return text


def rays(job: str) -> list[str]:
    """What is left of a job's Ray."""
    left = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        left += [line] if f"comodo-{job}/" in line else []
    return left


def finished(text: str) -> list[str]:
    return sorted(re.findall(r"^(.+ seed \d): finished", text, re.MULTILINE))


NAMES = sorted(
    f"{name} seed {seed}"
    for name in ("untrained", "comodo queue_size=8", "comodo queue_size=16")
    for seed in (0, 1)
)
EPOCHS = 250  # of a trial that a time limit of three minutes ends


def test_two_jobs_at_once_each_from_sbatch_to_the_report(
    slurm: Slurm, tmp_path: Path, data: Path
) -> None:
    """Each from the recordings on, with a store, a Ray, and one of the two cores of its own."""
    jobs = {}
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        file = sweep_file(folder, data)
        preamble = folder / "set up.sh"
        preamble.write_text("echo cores $SLURM_CPUS_ON_NODE gpus $CUDA_VISIBLE_DEVICES\n")
        options = ["--gpus", "2", "--cpus", "1", "--time", "30", "--preamble", str(preamble)]
        jobs[folder] = submitted(slurm, folder, file, folder / "store", *options)
    time.sleep(5)
    assert [slurm.state(job) for job in jobs.values()] == ["RUNNING", "RUNNING"]
    gpus = set()
    for folder, job in jobs.items():
        slurm.until(job, ENDED, LIMIT)
        text = log_of(folder, job)
        assert slurm.state(job) == "COMPLETED", text
        assert finished(text) == NAMES
        assert (folder / "store/sweeps/small/report/report.html").exists()
        assert not (folder / "store/mlflow").exists(), "SQLite on what may be a network disk"
        assert not rays(job) and not Path(f"/tmp/comodo-{job}").exists()
        found = re.search(r"cores 1 gpus (\S+)", text)
        assert found is not None, text
        gpus.add(found[1])
    assert gpus == {"0,1", "2,3"}


def test_the_nodes_of_a_job_are_one_cluster(
    slurm: Slurm, tmp_path: Path, data: Path, encoded: Path
) -> None:
    """While another Ray, of another job, runs on the same machine, and is left alone."""
    preamble = tmp_path / "set up.sh"
    preamble.write_text("ray_options=(--node-ip-address=127.0.0.2)\n")
    file = sweep_file(tmp_path, data, seeds=[5, 6])
    options = ["--nodes", "2", "--cpus", "1", "--partition", "pair", "--time", "30"]
    job = submitted(slurm, tmp_path, file, encoded, *options, "--preamble", str(preamble))
    slurm.until(job, ENDED, LIMIT)
    text = log_of(tmp_path, job)
    assert slurm.state(job) == "COMPLETED", text
    assert "up to 2 trials at once" in text
    assert len(finished(text)) == 6
    assert not rays(job) and not Path(f"/tmp/comodo-{job}").exists()


def test_a_time_limit_queues_the_job_again_until_the_sweep_is_finished(
    slurm: Slurm, tmp_path: Path, data: Path, encoded: Path
) -> None:
    """With a limit of three minutes, half of which it takes to start on a busy machine."""
    text = sweep_file(tmp_path, data).read_text()
    file = tmp_path / "sweep.yaml"
    file.write_text(re.sub(r"epochs: \d+", f"epochs: {EPOCHS}", text))
    replaced = {"--time=0:05:00": "--time=3", "B:USR1@120": "B:USR1@30"}
    before = set(encoded.glob("trials/*"))
    job = submitted(slurm, tmp_path, file, encoded, "--cpus", "2", "--time", "0:05:00", **replaced)
    slurm.until(job, ENDED, 3 * LIMIT)
    text = log_of(tmp_path, job)
    assert slurm.state(job) == "COMPLETED", text
    shown = slurm.run("scontrol", "show", "job", job)
    restarts = int(re.findall(r"Restarts=(\d+)", shown)[0])
    assert restarts >= 1 and text.count("is queued again") == restarts
    assert finished(text) == NAMES, "a trial was lost, or computed twice"
    trained = [path / "trained.json" for path in set(encoded.glob("trials/*")) - before]
    histories = [json.loads(path.read_text())["history"] for path in trained]
    histories = [history for history in histories if history]  # of those that are trained
    assert len(histories) == 4
    for history in histories:
        assert [epoch["epoch"] for epoch in history] == list(range(1, EPOCHS + 1))
    assert not list(encoded.glob("trials/*/checkpoint.pt"))
    assert not rays(job) and not Path(f"/tmp/comodo-{job}").exists()


def test_a_killed_job_is_continued_by_the_same_command(
    slurm: Slurm, tmp_path: Path, data: Path, encoded: Path
) -> None:
    text = sweep_file(tmp_path, data).read_text()
    file = tmp_path / "sweep.yaml"
    file.write_text(re.sub(r"epochs: \d+", "epochs: 300", text))
    before = set(encoded.glob("trials/*"))
    job = submitted(slurm, tmp_path, file, encoded, "--time", "30")
    began = time.monotonic()
    while not any(path.parent not in before for path in encoded.glob("trials/*/checkpoint.pt")):
        assert time.monotonic() - began < LIMIT, log_of(tmp_path, job)
        time.sleep(0.2)
    slurm.run("scancel", "--signal=KILL", "--full", job)
    slurm.until(job, ENDED, LIMIT)
    first = log_of(tmp_path, job)
    again = submitted(slurm, tmp_path, file, encoded, "--time", "30")
    slurm.until(again, ENDED, LIMIT)
    second = log_of(tmp_path, again)
    assert slurm.state(again) == "COMPLETED", second
    assert not set(finished(first)) & set(finished(second))
    assert set(finished(first) + finished(second)) <= set(NAMES)
    assert "6 trials" in comodo("status", "small", "--store", encoded).stdout


def test_an_array_of_two_shares_the_trials_and_the_comparison_is_made_later(
    slurm: Slurm, tmp_path: Path, data: Path, encoded: Path
) -> None:
    changes: dict[str, Any] = {"seeds": [2, 3, 4], "name": "small"}
    file = sweep_file(tmp_path, data, **changes)
    options = ["--array", "2", "--cpus", "1", "--time", "30"]
    job = submitted(slurm, tmp_path, file, encoded, *options)
    slurm.until(job, ENDED, LIMIT)
    logs = [path.read_text() for path in sorted(tmp_path.glob(f"small-{job}_*.log"))]
    log_of(tmp_path, job)
    assert set(slurm.state(job).split()) == {"COMPLETED"}, logs
    assert len(logs) == 2 and all(map(finished, logs)), "one has run all trials"
    ran = [name for text in logs for name in finished(text)]
    assert len(ran) == len(set(ran)) == 9
    assert sum("report.html" in text for text in logs) >= 1
    from comodo.core.store import Store
    from comodo.report.recording import record_from_store

    record_from_store(Store(encoded))
    client = MlflowClient(f"sqlite:///{encoded}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    trials = [run for run in runs if TRIAL in run.data.tags]
    assert len(trials) == 9 and {run.info.status for run in trials} == {"FINISHED"}
