"""What made an artifact: this package, its libraries, its machine."""

import platform
import socket
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import comodo
from comodo.core import provenance
from comodo.core.provenance import LIBRARIES, commit, made_by
from tests.paths import ROOT


def test_versions_and_machine_are_those_of_this_process() -> None:
    made = made_by()
    assert made["torch"] == torch.__version__.partition("+")[0]  # which GPU it is built for
    assert made["numpy"] == numpy.__version__
    assert made["python"] == platform.python_version()
    assert made["host"] == socket.gethostname()
    assert made["device"] == provenance.processor() != ""
    assert made_by("a GPU") == made | {"device": "a GPU"}
    assert {"comodo", "commit", "python", *LIBRARIES, "host", "device"} == made.keys()


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    """And a copy of the package that is in none has no commit."""
    git = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if git.returncode == 0:
        assert commit() in (git.stdout.strip(), f"{git.stdout.strip()}-dirty")
    assert comodo.__file__ is not None
    (tmp_path / "comodo").symlink_to(Path(comodo.__file__).parent)
    code = "from comodo.core.provenance import commit; print(commit())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"


def test_what_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LIBRARIES", ("no-such-library", "numpy"))
    made = made_by.__wrapped__()
    assert made["no-such-library"] is None
    assert made["numpy"] == numpy.__version__
