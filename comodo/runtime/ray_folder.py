"""The folder for the files of a Ray that is started on this machine. Knows nothing of clusters."""

import os
import sys
import tempfile
from pathlib import Path

from comodo.core.errors import ComodoError

# What Ray adds to the folder of its files for the longest path of a socket, and how long it may be.
SOCKET = f"session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
SOCKET_BYTES = 107 if sys.platform == "linux" else 103


class FolderError(ComodoError, RuntimeError):
    """Ray's files cannot be kept here."""


def create_ray_folder() -> Path:
    """The folder, in one that only this user can enter: Ray lets all users of the machine write to
    its folders, also to those of the code that its workers import.

    It is in RAY_TMPDIR, else where temporary files are. Raises FolderError if it cannot be made, is
    not this user's, or leaves too little room for the paths of Ray's sockets.
    """
    place = Path(os.environ.get("RAY_TMPDIR") or _temporary())
    private = place / f"comodo-{os.getuid()}"
    folder = private / "ray"
    over = len(os.fsencode(folder / SOCKET)) - SOCKET_BYTES
    if over > 0:
        raise FolderError(
            "cluster.long-folder",
            f"Ray's sockets would be in {folder}, whose path is too long by {over} bytes; export "
            "RAY_TMPDIR=/tmp, or another short folder",
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
        if private.is_symlink() or found.st_uid != os.getuid():
            raise FolderError(
                "cluster.foreign-folder",
                f"{private}, for Ray's files, is a link or another user's; remove it, or export "
                "RAY_TMPDIR, a short folder of yours",
            )
        private.chmod(0o700)
    except OSError as error:
        raise FolderError(
            "cluster.no-folder",
            f"{private} cannot be made for Ray's files ({error}); export RAY_TMPDIR, a short "
            "folder that you can write",
        ) from None
    return folder


def _temporary() -> str:
    """Of macOS only the short one."""
    return tempfile.gettempdir() if sys.platform == "linux" else "/tmp"
