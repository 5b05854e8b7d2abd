"""The script for SLURM, without a SLURM; `e2e/test_slurm.py` runs it on a real one."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from comodo.cli import app
from comodo.runtime.slurm import SlurmError, SlurmJob, seconds_of, submit
from tests.config.test_load import sweep_file
from tests.errors import raises

SWEEP = ["comodo", "sweep", "/shared disk/it's a sweep.yaml", "--set", "seeds=[0, 1]"]
JOBS = {
    "least": SlurmJob("demo", SWEEP),
    "large": SlurmJob("demo", SWEEP, "1-0", gpus="a100:4", cpus=32),
    "array": SlurmJob("demo", SWEEP, "8:00:00", partition="gpu", array=4),
    "nodes": SlurmJob("demo", SWEEP, nodes=4, gpus="4", cpus=32),
    "all": SlurmJob(
        "demo",
        SWEEP,
        preamble=Path("/shared disk/set up.sh"),
        options=("--account=lab", "--qos=long"),
    ),
}


def options(script: str) -> list[str]:
    return re.findall(r"^#SBATCH (.+)$", script, re.MULTILINE)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())
def test_bash_can_read_it(job: SlurmJob) -> None:
    script = job.script()
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert script.startswith("#!/bin/bash\n")
    head = script[: script.index("\n\n")].splitlines()
    assert all(line.startswith("#") for line in head), "SLURM reads options up to the first command"
    assert {"--requeue", "--open-mode=append", "--signal=B:USR1@120"} <= set(options(script))


def test_options_are_those_asked_for_and_no_others() -> None:
    names = {option.partition("=")[0] for option in options(JOBS["least"].script())}
    assert not names & {"--time", "--gres", "--cpus-per-task", "--partition", "--array"}
    of_large = options(JOBS["large"].script())
    assert {"--nodes=1", "--gres=gpu:a100:4", "--cpus-per-task=32", "--time=1-0"} <= set(of_large)
    of_array = options(JOBS["array"].script())
    assert {"--array=1-4", "--partition=gpu", "--output=demo-%A_%a.log"} <= set(of_array)
    assert {"--account=lab", "--qos=long"} <= set(options(JOBS["all"].script()))


def test_several_nodes_are_a_cluster_and_one_is_none() -> None:
    scripts = {name: job.script() for name, job in JOBS.items()}
    assert {name for name, text in scripts.items() if "ray start" in text} == {"nodes"}
    assert "--nodes=4" in options(scripts["nodes"])
    assert not any("ray stop" in text for text in scripts.values()), "it would end other jobs' Ray"


def test_an_array_shares() -> None:
    scripts = {name: job.script() for name, job in JOBS.items()}
    assert {name for name, text in scripts.items() if "--shared" in text} == {"array"}


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("5:30", 330), ("8:00:00", 28800), ("2-0", 172800), ("1-2:30", 95400)],
)
def test_times_are_those_of_slurm(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds


def test_what_cannot_be_run_is_refused() -> None:
    with raises(SlurmError, "slurm.bad-time"):
        seconds_of("8h")
    with raises(SlurmError, "slurm.short-time"):
        SlurmJob("demo", SWEEP, "4").script()
    with raises(SlurmError, "slurm.array-of-clusters"):
        SlurmJob("demo", SWEEP, nodes=2, array=2).script()


def test_without_slurm_the_script_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with raises(SlurmError, "slurm.missing"):
        submit(tmp_path / "demo.sbatch")


def test_the_command_writes_what_a_dry_run_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Ray, which takes seconds to import."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a folder"
    folder.mkdir()
    file = sweep_file(folder)
    arguments = ["slurm", str(file), "--time", "8:00:00", "--store", "a store", "--smoke"]
    done = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert not list(tmp_path.glob("*.sbatch"))
    line = next(line for line in done.output.splitlines() if " comodo sweep " in line)
    words = shlex.split(line.partition(" $records")[0])
    assert words[1:] == [
        *("comodo", "sweep", str(file.resolve()), "--store", str(tmp_path / "a store"), "--smoke")
    ]  # fmt: skip
    code = "import sys, comodo.cli.slurm, comodo.runtime.slurm; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_budget_that_an_array_cannot_keep_is_refused(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, budget={"gpu_hours": 4})
    done = CliRunner().invoke(app, ["slurm", str(file), "--array", "2", "--dry-run"])
    assert done.exit_code == 2 and "budget.gpu_hours" in done.output


COMODO = """#!/bin/bash
trap 'echo stopped; exit 143' TERM
echo "$@" "$MLFLOW_TRACKING_URI"
touch started
for _ in {1..300}; do sleep 0.1; done
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" > requeued
"""


@pytest.mark.parametrize(
    ("number", "requeued"),
    [(signal.SIGUSR1, "scontrol requeue 7_2\n"), (signal.SIGTERM, None)],
)
def test_only_the_time_limit_queues_it_again(
    tmp_path: Path, number: int, requeued: str | None
) -> None:
    """The script runs; in place of comodo and of scontrol are programs that note what they get."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"comodo": COMODO, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    preamble = tmp_path / "set up.sh"
    preamble.write_text(f"export PATH={shlex.quote(str(programs))}:$PATH\n")
    script = tmp_path / "demo.sbatch"
    script.write_text(SlurmJob("demo", SWEEP, preamble=preamble, array=3).script())
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    env = {**os.environ, **job, "RAY_TMPDIR": str(tmp_path)}
    env.pop("MLFLOW_TRACKING_URI", None)
    process = subprocess.Popen(
        ["bash", str(script)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    began = time.monotonic()
    while not (tmp_path / "started").exists():
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert text.splitlines()[:2] == [f"{' '.join(SWEEP[1:])} --shared --no-mlflow ", "stopped"]
    done = tmp_path / "requeued"
    assert (done.read_text() if done.exists() else None) == requeued
    assert not (tmp_path / "comodo-9").exists()
