"""Options of the command line itself; each command is tested where its work is."""

from importlib.metadata import version

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from comodo.cli import app

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
