"""The wheel in an empty environment of each Python of this machine, installed as users do."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from comodo.config import Sweep
from tests.paths import ROOT

LIMIT = 2400  # seconds; 3 GB are downloaded
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
UV = Path(sys.executable).with_name("uv")


def run(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**kept, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def python(version: str) -> str:
    """A Python of this version, from the path or of pyenv. Skips the test if there is none."""
    of_pyenv = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    for found in (shutil.which(f"python{version}"), *map(str, of_pyenv)):
        # Those of pyenv in the path may be of no version that is set.
        if found and not subprocess.run([found, "-V"], capture_output=True).returncode:
            return found
    pytest.skip(f"no Python {version} on this machine")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--wheel", "-o", folder, ROOT, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    tracked = run("git", "ls-files", "comodo", folder=ROOT).stdout.split()
    assert {"comodo/cli/first_sweep.yaml", "comodo/report/page.html"} <= set(tracked)
    assert set(tracked) <= set(ZipFile(wheel).namelist())


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("version", PYTHONS)
def test_a_plain_installation_runs_a_sweep(version: str, wheel: Path, tmp_path: Path) -> None:
    """With pip and without momentfm, which pip cannot resolve with the others."""
    environment = tmp_path / "venv"
    run(python(version), "-m", "venv", environment, folder=tmp_path)
    try:
        run(environment / "bin/python", "-m", "pip", "install", wheel, folder=tmp_path)
        comodo = environment / "bin/comodo"
        release = wheel.name.split("-")[1]
        assert run(comodo, "--version", folder=tmp_path).stdout == f"{release}\n"
        assert "sweep" in run(comodo, "--help", folder=tmp_path).stdout
        schema = yaml.safe_load(run(comodo, "schema", folder=tmp_path).stdout)
        assert schema == Sweep.model_json_schema()
        run(comodo, "init", "first", folder=tmp_path)
        shown = run(comodo, "sweep", "first/sweep.yaml", "--smoke", folder=tmp_path).stdout
        assert ": finished" in shown and ": failed" not in shown
        report = tmp_path / ".comodo/sweeps/first-smoke/report/report.html"
        assert "<script" in report.read_text()
        place = next((environment / "lib").glob("python*/site-packages"))
        assert not (place / "momentfm").exists()
    finally:
        shutil.rmtree(environment)  # 7 GB


def test_no_extra_of_the_wheel_is_one_that_pip_cannot_resolve() -> None:
    """Else `pip install comodo[EXTRA]` would look for another release that has no such extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    assert not [need for need in (*extras, *project["dependencies"]) if "momentfm" in need]
