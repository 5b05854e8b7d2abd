"""Windows that are copied from an earlier set, against slicing them again; through a real Ray."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comodo.config.dataset_base import FoldSplit, GroupSplit
from comodo.config.datasets import OwnDataset
from comodo.core.parts import parts
from comodo.core.store import Store
from comodo.data.known_slices import slices_key
from comodo.data.readers.folder import FolderDataset
from comodo.data.recordings import Recording
from comodo.data.window_sets import WindowSet, read_quality
from comodo.runtime.prepare import prepare_windows

pytestmark = pytest.mark.usefixtures("ray_cluster")


def folder(manifest: Path, **settings: object) -> FolderDataset:
    values = {"window_seconds": 1.0, "imu_rate": 25.0, **settings}
    return FolderDataset(kind="folder", path=str(manifest), **values)


def spoil(data: Path) -> None:
    """Makes every file unreadable, with the size and the time that it had."""
    for file in [*data.glob("videos/*"), *data.glob("imu/*")]:
        was = file.stat()
        file.write_bytes(b"x" * was.st_size)
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def content(windows: WindowSet) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of windows and of qualities, in order."""
    rows = pa.concat_tables([pq.read_table(part) for part in parts(windows.folder)]).to_pylist()
    return rows, pa.concat_tables(read_quality(windows.folder)).to_pylist()


@pytest.fixture
def manifest(tmp_path: Path, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path / "data", recordings=8, seconds=3.0)


def changed(manifest: Path, old: str, new: str) -> None:
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        ("r002,videos/r002.mp4,imu/r002.csv,walking", "r002,videos/r002.mp4,imu/r002.csv,running"),
        ("imu/r003.csv,running", "imu/r003.csv,"),
        ("running,val,s3", "running,test,s3"),
        (",s1\n", ",anna\n"),
    ],
    ids=["label", "no label", "split", "group"],
)
def test_a_corrected_manifest_reads_no_file(
    tmp_path: Path, manifest: Path, change: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store, anew = Store(tmp_path / "store"), Store(tmp_path / "another")
    before = prepare_windows("mine", folder(manifest), store)
    changed(manifest, *change)
    expected = prepare_windows("mine", folder(manifest), anew)
    spoil(manifest.parent)
    capsys.readouterr()
    found = prepare_windows("mine", folder(manifest), store)
    assert "8 of 8 recordings are as in an earlier set" in capsys.readouterr().out
    assert found.key == expected.key != before.key
    assert content(found) == content(expected)
    assert (found.counts, found.classes, found.rejected) == (
        expected.counts,
        expected.classes,
        {},
    )


@pytest.mark.parametrize("split", [GroupSplit(seed=3), FoldSplit(folds=2)], ids=["shares", "folds"])
def test_other_splits_read_no_file(
    tmp_path: Path, manifest: Path, split: GroupSplit | FoldSplit
) -> None:
    store, anew = Store(tmp_path / "store"), Store(tmp_path / "another")
    text = manifest.read_text()
    manifest.write_text("\n".join(cut(line) for line in text.splitlines()) + "\n")
    prepare_windows("mine", folder(manifest, split_by_group=GroupSplit()), store)
    settings = folder(manifest, split_by_group=split)
    expected = content(prepare_windows("mine", settings, anew))
    spoil(manifest.parent)
    assert content(prepare_windows("mine", settings, store)) == expected


def cut(line: str) -> str:
    """A line of the manifest without its split."""
    *about, _, group = line.split(",")
    return ",".join([*about, group])


def test_only_the_added_recording_is_read(
    tmp_path: Path,
    manifest: Path,
    make_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(tmp_path / "store")
    before, about = content(prepare_windows("mine", folder(manifest), store))
    spoil(manifest.parent)
    more = make_folder(tmp_path / "more", recordings=1, seconds=3.0).parent
    for file in ("videos/r000.mp4", "imu/r000.csv"):
        shutil.copy(more / file, manifest.parent / file.replace("r000", "q"))
    lines = manifest.read_text().splitlines()
    lines.insert(1, "q,videos/q.mp4,imu/q.csv,walking,train,new")
    manifest.write_text("\n".join(lines) + "\n")
    found = prepare_windows("mine", folder(manifest), store)
    assert "8 of 9 recordings are as in an earlier set" in capsys.readouterr().out
    rows, quality = content(found)
    assert [row["recording"] for row in rows[:3]] == ["q"] * 3
    assert (rows[3:], quality[1:]) == (before, about)


@pytest.mark.parametrize(
    "settings", [{"window_seconds": 0.5}, {"imu_rate": 50.0}, {"channels": ("acc",)}]
)
def test_other_windows_are_made_anew(
    tmp_path: Path, manifest: Path, settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    prepare_windows("mine", folder(manifest), store)
    prepare_windows("mine", folder(manifest, **settings), store)
    assert "earlier set" not in capsys.readouterr().out


def test_an_own_reader_may_look_at_group_and_label(tmp_path: Path) -> None:
    settings = OwnDataset.model_construct(
        kind="custom", reader="theirs", path="data", window_seconds=1.0, code="version 1"
    )
    given = Recording("r", "", "imu.csv", "train", "anna", "walking")
    others = [replace(given, group="ben"), replace(given, label="running")]
    keys = {slices_key(settings, r, {}, Store(tmp_path)) for r in (given, *others)}
    assert len(keys) == 3
    (tmp_path / "manifest.csv").write_text("")
    listed = folder(tmp_path / "manifest.csv")
    assert len({slices_key(listed, r, {}, Store(tmp_path)) for r in (given, *others)}) == 1


def test_a_replaced_file_is_read(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    prepare_windows("mine", folder(manifest), store)
    imu = manifest.parent / "imu/r004.csv"
    imu.write_text(imu.read_text() + "\n")
    prepare_windows("mine", folder(manifest), store)
    assert "7 of 8 recordings are as in an earlier set" in capsys.readouterr().out


def test_a_damaged_part_is_no_source(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    first = prepare_windows("mine", folder(manifest), store)
    part = parts(first.folder)[2]
    part.write_bytes(part.read_bytes()[:-9])
    changed(manifest, ",s1\n", ",anna\n")
    found = prepare_windows("mine", folder(manifest), store)
    assert "7 of 8 recordings are as in an earlier set" in capsys.readouterr().out
    assert found.counts == first.counts


def test_a_draw_of_training_windows_is_no_other_split_s(tmp_path: Path, manifest: Path) -> None:
    store, anew = Store(tmp_path / "store"), Store(tmp_path / "another")
    settings = folder(manifest, windows_per_recording=1)
    prepare_windows("mine", settings, store)
    changed(manifest, "running,val,s3", "running,train,s3")
    found, expected = (content(prepare_windows("mine", settings, s)) for s in (store, anew))
    assert found == expected


def test_small_videos_that_were_removed_are_made_again(tmp_path: Path, manifest: Path) -> None:
    store, settings = Store(tmp_path / "store"), folder(manifest, videos="shrink")
    first = prepare_windows("mine", settings, store)
    videos = sorted(path.name for path in store.videos.iterdir())
    shutil.rmtree(store.videos)
    changed(manifest, ",s1\n", ",anna\n")
    found = prepare_windows("mine", settings, store)
    assert found.key != first.key
    assert sorted(path.name for path in store.videos.iterdir()) == videos
