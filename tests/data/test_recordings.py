"""Recordings: names that are safe as paths, and files that hold video and IMU in one."""

from pathlib import Path

import pytest

from comodo.data.recordings import (
    DatasetError,
    Recording,
    camera_recordings,
    file_identity,
    plain_name,
    utf8_text,
)
from tests.errors import raises


def test_files_are_found_in_all_folders_whatever_their_case(tmp_path: Path) -> None:
    for name in ("b.mp4", "day/GX01.MP4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {
        recording.id: recording for recording in camera_recordings(str(tmp_path), ".mp4", "av")
    }
    assert found.keys() == {"b.mp4", "day/GX01.MP4"}
    path = str(tmp_path / "b.mp4")
    assert found["b.mp4"] == Recording("b.mp4", path, path, "train", group="b.mp4")
    with raises(DatasetError, "dataset.no-files", str(tmp_path), ".vrs"):
        camera_recordings(str(tmp_path), ".vrs", "av")
    with raises(DatasetError, "dataset.missing-library", "no-such-library"):
        camera_recordings(str(tmp_path), ".mp4", "no_such_library")


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    root = tmp_path / ".data"  # what is above the folder does not matter
    for name in ("a.mp4", "day/b.mp4", "._a.mp4", "day/._b.mp4", ".Trashes/501/c.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = {recording.id for recording in camera_recordings(str(root), ".mp4", "av")}
    assert found == {"a.mp4", "day/b.mp4"}
    for name in ("a.mp4", "day/b.mp4"):
        (root / name).unlink()
    with raises(DatasetError, "dataset.no-files", str(root)):
        camera_recordings(str(root), ".mp4", "av")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "/a", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with raises(DatasetError, "dataset.bad-name", name):
        plain_name(name)


@pytest.mark.parametrize("name", ["walking", "P01_101.mp4", "...", "a b"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert plain_name(name) == name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_the_encodings_that_are_marked(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("çay\r\n".encode(encoding))
    assert utf8_text(tmp_path / "a.txt") == "çay\r\n"


@pytest.mark.parametrize("content", ["a\nçay".encode("cp1252"), "a\nb".encode("utf-16-le")])
def test_other_text_is_refused_with_its_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match="line [12] .*UTF-8"):
        utf8_text(tmp_path / "a.txt")


def test_a_file_is_the_same_by_all_its_names(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "d").touch()
    same = {file_identity(str(tmp_path / name)) for name in "abc"}
    assert len(same) == 1 and file_identity(str(tmp_path / "d")) not in same
    assert file_identity("gone") == "gone"
