"""Paths that need care: of names that others wrote (a bucket's objects, lists, files next to
weights), and of files with secrets. Knows neither stores nor data sets.
"""

import os
from contextlib import suppress
from pathlib import Path


def is_url(path: str) -> bool:
    """Whether a path is the URL of a file in a bucket, such as `s3://bucket/a.mp4`."""
    return "://" in path


def plain_name(name: str) -> str:
    """The name of one file or folder. Raises ValueError if it would lead elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"'{name}' cannot be part of a path; use a name without / that is not ..")
    return name


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, where parts of the name are separated by `/`. Raises ValueError if one of
    them is no plain name, so that the path could lead out of the folder. Links are not followed."""
    try:
        return folder.joinpath(*map(plain_name, name.split("/")))
    except ValueError:
        raise ValueError(f"'{name}' leads out of {folder} or is no name of a file in it") from None


def create_private(path: Path, text: str = "") -> None:
    """Creates a file that nobody but its owner can ever read; if it exists, its text is kept and
    others may no longer read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        with suppress(OSError):  # somebody else's, or on a disk that is read only
            path.chmod(0o600)
    else:
        with open(descriptor, "w") as file:
            file.write(text)
