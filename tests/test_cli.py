"""Options of the command line itself; each command is tested where its work is."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

import comodo
from comodo.cli import app
from comodo.config import Sweep, read_sweep_file
from comodo.core.console import console, results
from comodo.core.errors import StoreError
from comodo.core.store import Store
from comodo.data.readers import list_recordings
from comodo.runtime.smoke import load_smoke
from tests.config.test_load import sweep_file

GROUP = get_command(app)
assert isinstance(GROUP, TyperGroup)
VERBS = sorted(GROUP.commands)


def test_version_is_that_of_the_installed_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"{version('comodo')}\n")
    assert comodo.__version__ == version("comodo")


@pytest.mark.parametrize("arguments", [[], ["plan"]])
def test_h_is_help(arguments: list[str]) -> None:
    short, whole = (CliRunner().invoke(app, [*arguments, flag]) for flag in ("-h", "--help"))
    assert (short.exit_code, short.stdout) == (0, whole.stdout)


def test_a_shell_completes_commands() -> None:
    command = [str(Path(sys.executable).with_name("comodo"))]
    words = {"COMP_WORDS": "comodo sch", "COMP_CWORD": "1", "_COMODO_COMPLETE": "complete_bash"}
    done = subprocess.run(command, env={**os.environ, **words}, capture_output=True, text=True)
    assert done.stdout.split() == ["schema"]
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output


def test_init_writes_a_sweep_file_and_a_manifest_that_are_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "first")])
    assert done.exit_code == 0
    file = tmp_path / "first/sweep.yaml"
    for command in ("sweep {} --smoke", "plan {}", "sweep {}\n"):
        assert f"comodo {command.format(file)}" in done.stdout
    manifest = tmp_path / "first/recordings/manifest.csv"
    for row in manifest.read_text().splitlines()[1:]:
        for name in row.split(",")[:2]:
            (manifest.parent / name).parent.mkdir(exist_ok=True)
    sweep = read_sweep_file(file)
    recordings = list_recordings(sweep.datasets["mine"], tmp_path)
    assert {(r.id, r.group, r.label) for r in recordings} == {
        ("monday", "anna", "walking"), ("tuesday", "ben", None), ("friday", "carla", "cooking"),
    }  # fmt: skip
    assert {r.split for r in recordings} == {"train", "val", "test"}
    assert len(list(sweep.points())) > 1
    load_smoke(file, Store(tmp_path / "store"))


@pytest.mark.parametrize("name", ["sweep.yaml", "recordings/manifest.csv"])
def test_init_replaces_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path / name} exists and is not replaced" in done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written == [tmp_path / name] and written[0].read_text() == "mine"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(verb: str) -> None:
    runner = CliRunner()
    assert verb in runner.invoke(app, ["--help"]).output
    done = runner.invoke(app, [verb, "--help"])
    assert done.exit_code == 0
    assert f"Example: comodo {verb}" in done.output


def test_the_verbs_are_those_of_the_documentation() -> None:
    assert VERBS == [
        "clean", "du", "encode", "export", "init", "inspect", "plan", "prepare", "profile",
        "report", "schema", "slurm", "status", "sweep", "ui",
    ]  # fmt: skip


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "where", "resumes"),
    [
        (["ui", "--port", "1"], "comodo.tracking.serve.refuse_used", False),
        (["status"], "comodo.search.status.read_all", False),
        (["plan", "FILE"], "comodo.cli.checked_file", False),
        (["sweep", "FILE"], "comodo.cli.checked_file", True),
        (["encode", "FILE"], "comodo.cli.checked_file", True),
    ],
)
def test_only_what_resumes_says_so_when_interrupted(
    arguments: list[str],
    where: str,
    resumes: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(where, interrupt)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = CliRunner().invoke(app, [*arguments, "--store", str(tmp_path)])
    assert done.exit_code == 130
    assert ("continues from here" in done.output) == resumes


@pytest.mark.parametrize("verb", ["export", "profile"])
def test_what_takes_long_says_first_what_it_does(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the records are read, which imports pandas and more."""
    monkeypatch.setattr("comodo.deploy.selection.resolve_run", interrupt)
    monkeypatch.setattr("comodo.deploy.check_installed", lambda: None)
    done = CliRunner().invoke(app, [verb, "demo", "--store", str(tmp_path)])
    assert done.exit_code == 130
    assert done.output.replace("\n", "").startswith(f"reading demo in {Store(tmp_path)}")


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    for verb in ("sweep", "plan", "prepare", "encode"):
        done = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert done.exit_code == 2
        said = "".join(done.stderr.split())
        assert said == f"{tmp_path}:isafolder;nameasweepfile,suchas{file}"


@pytest.mark.parametrize(
    "command", ["status", "status demo", "report demo", "export demo", "profile demo",
                "inspect demo", "du", "clean"],
)  # fmt: skip
def test_a_store_that_is_not_there_is_no_empty_store(command: str, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    done = CliRunner().invoke(app, [*command.split(), "--store", str(absent)])
    assert done.exit_code == 1
    assert "".join(done.stderr.split()).startswith(f"{absent}:nosuchstore;")
    assert not absent.exists()


def test_what_is_set_is_checked_and_resumes_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[Sweep, str]] = []

    def run_sweep(checked: Sweep, store: Store, command: str, *_: bool) -> None:
        runs.append((checked, command))
        raise StoreError("test.done", "as far as this test goes")

    monkeypatch.setattr("comodo.runtime.run.run_sweep", run_sweep)
    file = sweep_file(tmp_path, trial__method__queue_size=8)
    options = ["--store", str(tmp_path / "store"), "--set", "trial.epochs=3"]
    for smoke in ([], ["--smoke"]):
        CliRunner().invoke(app, ["sweep", str(file), *options, "--set", "seeds=[0, 1]", *smoke])
    for checked, command in runs:
        assert checked.overrides == {"trial.epochs": 3, "seeds": [0, 1]}
        assert "--set trial.epochs=3 --set 'seeds=[0, 1]'" in command
    assert [(checked.name, checked.trial.epochs) for checked, _ in runs] == [
        ("small", 3), ("small-smoke", 2),
    ]  # fmt: skip
    for verb in ("sweep", "plan", "prepare", "encode"):
        wrong = CliRunner().invoke(app, [verb, str(file), "--set", "trial.epoks=3"])
        assert wrong.exit_code == 2
        assert "did you mean 'epochs'?" in " ".join(wrong.output.split())


def test_quiet_prints_results_and_errors_only_and_verbose_tracebacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_sweep(*_: object) -> None:
        console.print("a phase")
        results.print("a result")
        raise StoreError("test.done", "as far as this test goes")

    monkeypatch.setattr("comodo.runtime.run.run_sweep", run_sweep)
    command = ["sweep", str(sweep_file(tmp_path)), "--store", str(tmp_path / "store")]
    quiet = CliRunner().invoke(app, [*command, "-q"])
    assert (quiet.exit_code, quiet.stdout) == (1, "a result\n")
    assert quiet.stderr == "as far as this test goes\n"
    usual = CliRunner().invoke(app, command)  # an option of one command is not one of the next
    assert "a phase" in usual.stdout and "Traceback" not in usual.stderr
    assert "loading Ray" in usual.stdout
    verbose = CliRunner().invoke(app, [*command, "-v"])
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.endswith("as far as this test goes\n")


def test_a_smoke_run_says_what_it_is_and_what_runs_in_place_of_what(tmp_path: Path) -> None:
    for sizes, said in (
        ([256, 1024], "queue_size 8 for 256, 11 for 1024"),
        ([16, 32], "weights\n"),
    ):
        space = {"method.queue_size": sizes}
        method = {"name": "comodo", "queue_size": sizes[0]}
        file = sweep_file(tmp_path, search__space=space, trial__method=method)
        command = ["plan", str(file), "--smoke", "--store", str(tmp_path / "store")]
        done = CliRunner().invoke(app, command)
        assert "its numbers mean nothing" in done.stdout
        assert " ".join(said.split()) in " ".join(done.stdout.split())
    kept = load_smoke(file, Store(tmp_path / "store")).search.space["method.queue_size"]
    assert kept.ends() == [16, 32]
