"""Options of the command line itself; each command is tested with what it does."""

from importlib.metadata import version

from typer.testing import CliRunner

from comodo.cli import app


def test_version_is_that_of_the_installed_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"{version('comodo')}\n")
