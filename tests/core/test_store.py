"""Keys, atomic writes, and JSON files as dataclasses."""

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import StudentConfig
from comodo.core.disk import sync
from comodo.core.errors import StoreError
from comodo.core.json_record import ArtifactMeta
from comodo.core.parts import damaged_parts, parts, write_table
from comodo.core.store import (
    Store,
    atomic,
    create,
    fingerprint,
    key_of,
    publish,
    read_json,
    write_json,
)
from comodo.models.students import Student, build_student, save_student
from tests.errors import raises
from tests.helpers import TINY_MANTIS

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_key_ignores_the_order_of_mappings(content: dict[str, object]) -> None:
    assert key_of(content) == key_of(dict(reversed(content.items())))


@given(json_values, json_values)
def test_equal_keys_mean_equal_content(a: object, b: object) -> None:
    if key_of(a) == key_of(b):
        assert a == b


def test_key_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError):
        key_of({"path": object()})
    with pytest.raises(ValueError, match="Out of range"):
        key_of(float("nan"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    write_json(path, {"a": 1})
    with pytest.raises(OSError, match="full"), atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power must leave the old file or the whole new one."""
    fsync, replace, steps = os.fsync, os.replace, list[str]()

    def synced(opened: int) -> None:
        fsync(opened)
        path = Path(os.readlink(f"/proc/self/fd/{opened}"))
        steps.append("content" if path.suffix == ".tmp" else str(path.relative_to(tmp_path)))

    def renamed(source: Path, target: Path) -> None:
        replace(source, target)
        steps.append("name")

    monkeypatch.setattr("comodo.core.store.sync", sync)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_json(tmp_path / "a/b/meta.json", {})
    assert sorted(steps[:2]) == [".", "a"]  # which have the names of the new folders
    assert steps[2:] == ["content", "name", "a/b"]
    steps.clear()
    assert create(tmp_path / "a/b/lease.json", "{}")
    assert steps == ["content", "a/b"]
    steps.clear()
    publish(tmp_path / "a", tmp_path / "c", "meta.json")
    assert sorted(steps) == ["a", "a/b", "a/b/lease.json", "a/b/meta.json"]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_cut_file_is_named_once_and_counts_as_absent(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Store(tmp_path).folder("windows", "k")
    table = pa.table({"x": [1.0, 2.0]})
    paths = [folder / "meta.json", folder / "part-0.parquet"]
    Note(3, ["a"]).write(folder)
    write_table(paths[1], table)
    write_table(folder / "part-1.parquet", table)
    for path in paths:
        os.truncate(path, int(path.stat().st_size * share))
    for _ in range(2):
        assert Note.of("k", Store(tmp_path)) is Store(tmp_path).meta("windows", "k") is None
        assert parts(folder) == [folder / "part-1.parquet"]
        assert damaged_parts(folder) == [folder / "part-0.parquet"]
    shown = capsys.readouterr().out
    assert [shown.count(str(path)) for path in paths] == [1, 1]


def test_fingerprint_follows_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12")
    before = fingerprint(path)
    os.utime(path, ns=(1, 1))
    assert fingerprint(path) != before
    assert fingerprint(tmp_path / "absent") == {"size": 0, "modified_ns": 0}


def test_fingerprint_of_a_folder_follows_content_alone(tmp_path: Path) -> None:
    folder, other = tmp_path / "weights", tmp_path / "other"
    (folder / "shards").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "shards/1").write_bytes(b"one")
    other.write_bytes(b"two")
    os.utime(other, ns=(1, 1))
    before = fingerprint(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache/times").write_text("hidden")
    folder.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", folder)
    assert fingerprint(folder) == fingerprint(tmp_path / "moved") == before
    shutil.copy2(other, folder / "shards/1")  # as `cp -p`: of the same size, and older
    swapped = fingerprint(folder)
    assert swapped != before
    stat = (folder / "shards/1").stat()
    (folder / "shards/1").write_bytes(b"six")
    os.utime(folder / "shards/1", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint(folder) not in (before, swapped)
    shutil.copy2(other, folder / "shards/1")
    (folder / "shards/1").rename(folder / "shards/2")
    assert fingerprint(folder) != swapped


def test_an_artifact_without_meta_is_not_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("windows", "k")
    folder.mkdir(parents=True)
    assert store.meta("windows", "k") is None
    write_json(folder / "meta.json", {"n": 1})
    assert store.meta("windows", "k") == {"n": 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte, mounted writable."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


LARGE = 2_000_000  # bytes
WRITERS: dict[str, Callable[[Path], object]] = {
    "json": lambda path: write_json(path, "x" * LARGE),
    "parquet": lambda path: write_table(path, pa.table({"x": np.random.rand(LARGE // 8)})),
    "torch": lambda path: torch_file(path),
    "student": lambda path: save_student(mlp_student(), path),
    "create": lambda path: create(path, "x" * LARGE),
}


def torch_file(path: Path) -> None:
    with atomic(path) as temporary:
        torch.save(torch.zeros(LARGE // 4), temporary)


def mlp_student() -> Student:
    size = {**TINY_MANTIS["size"], "hidden_dim": 512}  # type: ignore[dict-item]
    return build_student(StudentConfig.model_validate({**TINY_MANTIS, "size": size}))


@pytest.mark.chaos
@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_said_and_leaves_nothing_half_written(small_disk: Path, kind: str) -> None:
    kept = small_disk / "kept.json"
    write_json(kept, [1])
    with raises(StoreError, "store.not-writable", "No space left"):
        WRITERS[kind](small_disk / "artifact")
    gc.collect()  # torch's writer, which holds its file
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [kept]
    write_json(kept, [2])  # there is room again
    assert read_json(kept) == [2]


@pytest.mark.chaos
def test_a_disk_that_may_not_be_written_is_said(small_disk: Path) -> None:
    kept = small_disk / "kept.json"
    write_json(kept, [1])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for path in (kept, small_disk / "new/file.json"):
        with raises(StoreError, "store.not-writable", str(path), "Read-only file system"):
            write_json(path, [2])
        with raises(StoreError, "store.not-writable", "Read-only file system"):
            torch_file(path)
    assert read_json(kept) == [1]


def test_what_is_wrong_beside_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(TypeError), atomic(tmp_path / "file"):
        raise TypeError("odd")
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file"):
        (tmp_path / "absent").read_text()
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Note(ArtifactMeta):
    KIND = "windows"
    count: int
    names: list[str]
    speed: float | None = None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store, note = Store(tmp_path), Note(3, ["a"])
    assert Note.of("k", store) is None
    note.write(store.folder("windows", "k"))
    assert Note.of("k", store) == note
    content = read_json(store.folder("windows", "k") / "meta.json")
    assert list(content.items()) == [("count", 3), ("names", ["a"]), ("speed", None)]


def test_other_versions(tmp_path: Path) -> None:
    """Keys of a later one are ignored, those that an earlier one did not have are filled in."""
    write_json(tmp_path / "meta.json", {"count": 3, "names": [], "colour": "red"})
    assert Note.read(tmp_path) == Note(3, [])
    write_json(tmp_path / "meta.json", {"count": 3})
    with pytest.raises(ValueError, match=r"meta\.json: .*'names'"):
        Note.read(tmp_path)
    assert Note.find(tmp_path) is None


def test_no_file(tmp_path: Path) -> None:
    assert Note.find(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        Note.read(tmp_path)
