"""The user's files in a bucket: moto's S3 on this machine and the real s3fs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from comodo.core import inputs
from comodo.core.errors import ChangedError, StoreError, is_passing
from comodo.core.inputs import ABSENT, InputError, joined, local_copy, urls_below, versions
from comodo.core.store import Fingerprint, fingerprint
from tests.errors import raises
from tests.object_store import BUCKET, object_store


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as env:
        yield env


@pytest.fixture
def url(
    server: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> str:
    """A folder of its own in the bucket, with three recordings of 100 bytes each."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("s3").clear_instance_cache()
    folder = f"s3://{BUCKET}/{request.node.name}"
    for name in "abc":
        write(f"{folder}/{name}.mp4", name)
    return folder


def write(url: str, letter: str) -> None:
    fsspec.filesystem("s3", use_listings_cache=False).pipe_file(url, letter.encode() * 100)


def read(url: str, known: Fingerprint | None = None) -> str:
    with local_copy(url, known) as path:
        return Path(path).read_text()[:1]


def copies(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.glob("cache/recordings/*/*/*.mp4")}


def test_versions_are_those_of_the_copies_without_a_download(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "d.mp4"
    here.write_text("d")
    write(f"{url}/deep/e.mp4", "e")
    names = [f"{url}/{name}.mp4" for name in ("a", "b", "deep/e", "away", "no/f")]
    bucket, _ = inputs._place_of(url)
    listed, ls = [], bucket._fs.ls

    def counted(name: str, **options: Any) -> Any:
        listed.append(name)
        return ls(name, **options)

    monkeypatch.setattr(bucket._fs, "ls", counted)
    found = versions([*names, str(here)])
    assert len(listed) == 3  # one for each folder
    assert not copies(tmp_path)
    for name in names[:3]:
        with local_copy(name, found[name]) as path:
            assert fingerprint(path) == found[name]
    assert found[names[0]] != found[names[1]]  # as long, of the same second
    assert found[names[3]] == found[names[4]] == ABSENT
    assert found[str(here)] == fingerprint(here)


def test_a_copy_is_downloaded_once_for_each_version(url: str, tmp_path: Path) -> None:
    name = f"{url}/a.mp4"
    old = versions([name])[name]
    assert read(name, old) == "a"
    with local_copy(name, old) as path:
        first = os.stat(path).st_ino
    with local_copy(name) as path:  # compared with the bucket, and the same
        assert os.stat(path).st_ino == first
    write(name, "n")
    assert read(name, old) == "a"  # what the key names, and what is here
    new = versions([name])[name]
    assert new != old
    assert read(name, new) == "n"
    with raises(ChangedError, "dataset.file-changed", name), local_copy(name, old):
        pass
    with raises(ChangedError, "dataset.file-changed", name), local_copy(name, new) as path:
        write(name, "x")
        assert read(name) == "x"  # another process of this machine fetches it meanwhile


def test_files_of_this_machine_are_read_where_they_are(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "a.mp4"), ABSENT) as path:
        assert path == str(tmp_path / "a.mp4")


def test_an_object_that_is_missing_may_be_uploaded(url: str) -> None:
    name = f"{url}/away.mp4"
    for known in (None, ABSENT):
        with (
            raises(InputError, "recordings.no-such-object", name) as caught,
            local_copy(name, known),
        ):
            pass
        assert is_passing(caught.value)


def test_copies_leave_as_much_room_as_they_take(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = 500

    def disk_usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=disk - 100 * len(copies(tmp_path)))

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    known = versions([f"{url}/{name}.mp4" for name in "abc"])
    for name in "aba":
        read(f"{url}/{name}.mp4", known[f"{url}/{name}.mp4"])
    assert copies(tmp_path) == {"a.mp4", "b.mp4"}  # 200 of 500, and 300 are left
    assert read(f"{url}/c.mp4", known[f"{url}/c.mp4"]) == "c"
    assert copies(tmp_path) == {"a.mp4", "c.mp4"}  # b was read longest ago
    with local_copy(f"{url}/a.mp4", known[f"{url}/a.mp4"]):
        assert read(f"{url}/b.mp4", known[f"{url}/b.mp4"]) == "b"
        assert copies(tmp_path) == {"a.mp4", "b.mp4"}  # a is older than c, but is being read
    disk = 150  # for one alone, with less left than it takes
    assert read(f"{url}/c.mp4", known[f"{url}/c.mp4"]) == "c"
    assert copies(tmp_path) == {"c.mp4"}


def test_files_below_a_folder_and_paths_relative_to_it(url: str) -> None:
    write(f"{url}/deep/er/d.MP4", "d")
    write(f"{url}/._a.mp4", "h")
    write(f"{url}/.hidden/h.mp4", "h")
    write(f"{url}/a.csv", "h")
    names = [f"{url}/{name}" for name in ("a.mp4", "b.mp4", "c.mp4", "deep/er/d.MP4")]
    assert sorted(urls_below(url, ".mp4")) == names
    assert joined("s3://b/r", "videos/./a.mp4") == "s3://b/r/videos/a.mp4"
    assert joined("s3://b/r", "../a.mp4") == "s3://b/a.mp4"
    assert joined("s3://b/r", "s3://c/../a.mp4") == "s3://a.mp4"
    assert joined("/data", "s3://c/a.mp4") == "s3://c/a.mp4"
    with raises(StoreError, "recordings.bad-name", "s3://b/r//a.mp4"):
        versions(["s3://b/r//a.mp4"])


@pytest.mark.chaos
def test_errors_name_the_bucket_and_what_to_do(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def assert_refused(code: str, *names: str) -> None:
        fsspec.filesystem("s3").clear_instance_cache()
        with raises(StoreError, code, f"s3://{BUCKET}: ", *names):
            versions([f"{url}/a.mp4"])
        with raises(StoreError, code, f"s3://{BUCKET}: ", *names), local_copy(f"{url}/a.mp4"):
            pass

    assert versions(["s3://no-such-bucket/a.mp4"]) == {"s3://no-such-bucket/a.mp4": ABSENT}
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "away"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert_refused("recordings.unreachable", "AWS_ENDPOINT_URL")
    monkeypatch.setenv("COMODO_CACHE", str(tmp_path / "nobody"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert_refused("recordings.access-denied", "that may read there", "AWS_PROFILE")
