import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from comodo.runtime.ray_folder import FolderError, create_ray_folder
from tests.errors import raises

CONNECTED = """
import ray
from comodo.runtime.cluster import connect

connect()
print(ray._private.worker.global_worker.node.get_session_dir_path())
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def mine(place: Path) -> Path:
    return place / f"comodo-{os.getuid()}"


def test_no_other_user_can_enter_the_folder_of_ray(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", CONNECTED],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
        umask=0,
    )
    session = Path(done.stdout.split()[-1])
    assert session.parent == mine(place) / "ray"
    assert (session / "sockets").is_dir()
    assert mine(place).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_enter_is_closed(place: Path) -> None:
    mine(place).mkdir(mode=0o777)
    mine(place).chmod(0o777)
    create_ray_folder()
    assert mine(place).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_there_yet_is_made(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(place / "scratch/ray"))
    assert create_ray_folder() == mine(place / "scratch/ray") / "ray"


def test_a_link_is_refused(place: Path) -> None:
    (place / "theirs").mkdir()
    mine(place).symlink_to(place / "theirs")
    with raises(FolderError, "cluster.foreign-folder", str(mine(place)), "RAY_TMPDIR"):
        create_ray_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_user_s_folder_is_refused(place: Path) -> None:
    mine(place).mkdir()
    os.chown(mine(place), 65534, 65534)
    with raises(FolderError, "cluster.foreign-folder", str(mine(place)), "RAY_TMPDIR"):
        create_ray_folder()


def test_a_file_in_its_place_is_refused(place: Path) -> None:
    mine(place).write_text("")
    with raises(FolderError, "cluster.no-folder", str(mine(place)), "RAY_TMPDIR"):
        create_ray_folder()


def test_a_path_too_long_for_sockets_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place / ("x" * 60)
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with raises(FolderError, "cluster.long-folder", str(long), "RAY_TMPDIR"):
        create_ray_folder()
    assert not long.exists()
