"""Two sweeps on one machine at once: of one user from two stores, and of two users."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_sweep import COMMAND, sweep_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LIMIT = 900  # seconds; of a busy machine
# Two workers each, so that dashboards and the ports of workers are there too.
SETTINGS: dict[str, Any] = {
    "trial": {
        "dataset": "mine",
        "student": "dlinear",
        "method": "supervised",
        "epochs": 1,
        "batch_size": 8,
    },
    "search": {},
    "seeds": [0],
    "references": [],
    "resources": {"workers": 2, "cpus_per_worker": 0.5},
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that all users can read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def started(home: Path, data: Path, user: str) -> "subprocess.Popen[str]":
    """A sweep of a user with this home, who may read the interpreter, which may be in the home of
    another; "": the user of this process."""
    home.mkdir()
    file = sweep_file(home, data, **SETTINGS)
    command = [*COMMAND, "sweep", str(file), "--store", str(home / "store")]
    if user:
        shutil.chown(home, user)
        read = "dac_read_search"
        caps = [f"--inh-caps=-all,+{read}", f"--ambient-caps=+{read}", "--clear-groups"]
        command = ["setpriv", "--reuid", user, "--regid", "nogroup", *caps, *command]
    env = {**os.environ, "HOME": str(home), "USER": user or "root"}
    out = (home / "printed").open("w")
    return subprocess.Popen(
        command, env=env, cwd=home, stdout=out, stderr=subprocess.STDOUT, text=True, umask=0o077
    )


@pytest.mark.parametrize("users", [("", ""), ("daemon", "nobody")], ids=["stores", "users"])
def test_two_sweeps_at_once(
    place: Path, make_folder: Callable[..., Path], users: tuple[str, str]
) -> None:
    if users[0] and (os.geteuid() != 0 or shutil.which("setpriv") is None):
        pytest.skip("needs root and setpriv to start processes of other users")
    data = make_folder(place / "data", recordings=20, seconds=4.0)
    homes = [place / "one", place / "two"]
    sweeps = [started(home, data, user) for home, user in zip(homes, users, strict=True)]
    codes = [sweep.wait(LIMIT) for sweep in sweeps]
    printed = [" ".join((home / "printed").read_text().split()) for home in homes]
    assert codes == [0, 0], printed
    for home, text in zip(homes, printed, strict=True):
        assert "seed 0: finished" in text, text
        assert len(list(home.glob("store/trials/*/measured.json"))) == 1
        assert "Traceback" not in text
    accuracy = [text[text.index("┏") : text.index("report:")] for text in printed]
    assert accuracy[0] == accuracy[1]
