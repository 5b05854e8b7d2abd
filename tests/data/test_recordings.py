"""Recordings: names that are safe as paths, and files that hold video and IMU in one."""

from pathlib import Path

import pytest

from comodo.data.recordings import DatasetError, Recording, camera_recordings, plain_name
from tests.errors import raises


def test_files_are_found_in_all_folders_whatever_their_case(tmp_path: Path) -> None:
    for name in ("b.mp4", "day/GX01.MP4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {recording.id: recording for recording in camera_recordings(tmp_path, ".mp4", "av")}
    assert found.keys() == {"b.mp4", "day/GX01.MP4"}
    path = str(tmp_path / "b.mp4")
    assert found["b.mp4"] == Recording("b.mp4", path, path, "train", group="b.mp4")
    with raises(DatasetError, "dataset.no-files", str(tmp_path), ".vrs"):
        camera_recordings(tmp_path, ".vrs", "av")
    with raises(DatasetError, "dataset.missing-library", "no-such-library"):
        camera_recordings(tmp_path, ".mp4", "no_such_library")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "/a", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with raises(DatasetError, "dataset.bad-name", name):
        plain_name(name)


@pytest.mark.parametrize("name", ["walking", "P01_101.mp4", "...", "a b"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert plain_name(name) == name
