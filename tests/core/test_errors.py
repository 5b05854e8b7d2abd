"""Errors: what survives the way from a worker process to the command line."""

import errno
import pickle
from pathlib import Path

import av
import pytest

from comodo.config import ConfigError
from comodo.core.errors import ComodoError, StoreError, is_passing


def test_code_text_and_kind_survive_pickling() -> None:
    for kind in (ComodoError, StoreError, ConfigError):
        error = kind("video.empty", "a.mp4: is empty (0 bytes)")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (again.code, str(again)) == ("video.empty", "a.mp4: is empty (0 bytes)")


def test_mistakes_in_a_sweep_file_have_an_exit_status_of_their_own() -> None:
    assert (ConfigError.exit_status, StoreError.exit_status) == (2, 1)


def caused_by(cause: BaseException) -> ComodoError:
    """An error as readers raise it for what a library has raised."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise ComodoError("video.unreadable", "a.mp4: cannot be read") from error
    except ComodoError as error:
        return error


@pytest.mark.parametrize(
    "cause",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        MemoryError(),
        av.error.PermissionError(errno.EACCES, "Permission denied", "a.mp4"),
        av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory", "a.mp4"),
    ],
)
def test_errors_of_the_surroundings_may_pass(cause: BaseException) -> None:
    assert is_passing(cause) and is_passing(caused_by(cause))
    assert is_passing(caused_by(caused_by(cause)))


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("damaged"),
        OSError("not a file of this kind"),
        OSError(errno.EINVAL, "Invalid argument"),
        av.error.InvalidDataError(1094995529, "Invalid data found", "a.mp4"),
        av.error.OSError(errno.EIO, "Input/output error", "a.mkv"),
    ],
)
def test_damage_does_not_pass(cause: BaseException) -> None:
    assert not is_passing(cause) and not is_passing(caused_by(cause))


def test_what_ffmpeg_itself_raises_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video " * 100)
    for name, passing in (("missing.mp4", True), ("text.mp4", False)):
        with pytest.raises(av.FFmpegError) as caught:
            av.open(str(tmp_path / name))
        assert is_passing(caught.value) == passing


def test_causes_that_lead_in_a_circle_come_to_an_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__context__ = two, one
    assert not is_passing(one)
