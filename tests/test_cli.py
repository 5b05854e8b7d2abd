"""Options of the command line itself; each command is tested where its work is."""

from importlib.metadata import version
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from comodo.cli import app
from comodo.config import Sweep
from comodo.core.errors import StoreError
from comodo.core.store import Store
from tests.config.test_load import sweep_file

GROUP = get_command(app)
assert isinstance(GROUP, TyperGroup)
VERBS = sorted(GROUP.commands)


def test_version_is_that_of_the_installed_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"{version('comodo')}\n")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(verb: str) -> None:
    runner = CliRunner()
    assert verb in runner.invoke(app, ["--help"]).output
    done = runner.invoke(app, [verb, "--help"])
    assert done.exit_code == 0
    assert f"Example: comodo {verb}" in done.output


def test_the_verbs_are_those_of_the_documentation() -> None:
    assert VERBS == [
        "clean", "du", "encode", "export", "inspect", "plan", "prepare", "profile", "report",
        "schema", "status", "sweep", "ui",
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


def test_what_is_set_is_checked_and_resumes_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[Sweep, str]] = []

    def run_sweep(checked: Sweep, store: Store, command: str) -> None:
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
