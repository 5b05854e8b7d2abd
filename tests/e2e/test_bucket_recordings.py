"""Recordings in a bucket: the same windows and features as from files of this machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from comodo.config import ConfigError, DatasetConfig, TeacherConfig
from comodo.core.inputs import InputError
from comodo.core.parts import read_parts
from comodo.core.store import Store
from comodo.data.readers import list_recordings, listing_notes, open_dataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.gopro import GoproDataset
from comodo.data.recordings import DatasetError, Recording
from comodo.data.slicing import slice_chunk
from comodo.data.transcode import copy_of
from comodo.data.window_sets import fingerprints_of, window_key
from comodo.runtime.decode import decode_batch
from comodo.search.precheck import refuse_absent_files
from tests.e2e.test_sweep import COMMAND, sweep_file
from tests.errors import raises
from tests.object_store import BUCKET, object_store

TEACHER = TeacherConfig(name="efficientnet-lite0", frames=2)
NOWHERE = Path("nowhere")  # the folder of simulated recordings


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as env:
        yield env


@pytest.fixture
def env(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a machine that has never seen the bucket."""
    for name, value in {**server, "COMODO_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    return dict(os.environ)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), recordings=10, seconds=4.0)


def upload(folder: Path, name: str) -> str:
    """The URL in the bucket of a folder's files."""
    bucket = fsspec.filesystem("s3", use_listings_cache=False)
    bucket.put(f"{folder}/", f"{BUCKET}/{name}/", recursive=True)
    return f"s3://{BUCKET}/{name}"


def folder(path: object, **settings: Any) -> FolderDataset:
    return FolderDataset(
        kind="folder", path=str(path), window_seconds=1.0, imu_rate=25.0, **settings
    )


def sliced(settings: FolderDataset, store: Store) -> tuple[list[Any], list[Any]]:
    """Windows and qualities as prepare makes them."""
    return sliced_of(settings, list_recordings(settings, NOWHERE), store)


def sliced_of(
    settings: DatasetConfig, recordings: list[Recording], store: Store
) -> tuple[list[Any], list[Any]]:
    files = fingerprints_of(settings, recordings)
    reader = open_dataset(settings, NOWHERE)
    found = list(slice_chunk(reader, recordings, settings, store.videos, files))
    return [row for rows, _ in found for row in rows], [about for _, about in found]


def copies(tmp_path: Path) -> dict[str, int]:
    """What is in the cache, with its inodes."""
    found = tmp_path.glob("cache/recordings/s3-*/[!.]*/**/*")
    return {path.name: path.stat().st_ino for path in found if path.is_file()}


def test_windows_and_frames_are_those_of_local_files(
    env: dict[str, str], data: Path, tmp_path: Path
) -> None:
    store, top = Store(tmp_path / "store"), upload(data.parent, "same")
    there = folder(f"{top}/manifest.csv")
    recordings = list_recordings(there, NOWHERE)
    assert recordings[3].video == f"{top}/videos/r003.mp4"
    local = list_recordings(folder(data), NOWHERE)
    notes = listing_notes(folder(data), NOWHERE, local)
    assert listing_notes(there, NOWHERE, recordings) == notes
    refuse_absent_files("mine", there, recordings)
    fingerprints_of(there, recordings)
    assert copies(tmp_path).keys() == {"manifest.csv"}  # and no video was downloaded

    mine, theirs = sliced(folder(data), store)[0], sliced(there, store)[0]
    assert len(mine) == len(theirs) == 40
    for local, remote in zip(mine, theirs, strict=True):
        assert remote["video"] == f"{top}/videos/{Path(local['video']).name}"
        assert (remote.pop("imu") == local.pop("imu")).all()
        assert {**remote, "video": ""} == {**local, "video": ""}

    files = fingerprints_of(there, recordings)
    batches = [
        {
            "window": np.array([row["window"] for row in rows[:8]]),
            "video": np.array([row["video"] for row in rows[:8]]),
            "start": np.array([row["start"] for row in rows[:8]]),
            "end": np.array([row["end"] for row in rows[:8]]),
            "file": np.array([version(row["video"], files) for row in rows[:8]]),
            "flipped": np.arange(8) % 2 == 1,
        }
        for rows in (mine, theirs)
    ]
    before = copies(tmp_path)
    decoded = [decode_batch(batch, 2, 32, store, TEACHER) for batch in batches]
    for column in decoded[0]:
        assert (decoded[0][column] == decoded[1][column]).all()
    assert decoded[0]["frames"].any() and not any(decoded[0]["rejected"])
    assert copies(tmp_path) == before


def version(video: str, files: dict[str, Any]) -> str:
    return json.dumps({video: files[video]} if video in files else {})


def test_a_missing_object_rejects_its_recording_and_a_new_one_makes_other_windows(
    env: dict[str, str], data: Path, tmp_path: Path
) -> None:
    store, top = Store(tmp_path / "store"), upload(data.parent, "changed")
    there = folder(f"{top}/manifest.csv", videos="shrink")
    recordings, bucket = list_recordings(there, NOWHERE), fsspec.filesystem("s3")
    before = fingerprints_of(there, recordings)
    bucket.put_file(str(data.parent / "imu/r009.csv"), f"{top}/imu/r001.csv")  # as long
    bucket.rm(f"{top}/videos/r002.mp4")
    after = fingerprints_of(there, recordings)
    changed = {Path(file).name for file in after if after[file] != before[file]}
    assert changed == {"r001.csv", "r002.mp4"}
    assert window_key(there, recordings, after) != window_key(there, recordings, before)

    rows, qualities = sliced_of(there, recordings[:4], store)
    rejected = {about["recording"]: about["rejected"] for about in qualities if "rejected" in about}
    missing = f"InputError: {top}/videos/r002.mp4: the bucket has no such object"
    assert rejected == {"r002": f"{missing}; upload it, or correct the path"}
    assert [about.get("passing") for about in qualities if "rejected" in about] == [True]
    assert len({row.get("video") for row in rows}) == 1 + 3
    video = recordings[0].video
    assert rows[0]["video"] == str(copy_of(video, after[video], store.videos))
    assert Path(rows[0]["video"]).exists()

    window: dict[str, Any] = {
        "window": "w",
        "video": f"{top}/videos/r002.mp4",
        "start": 0.0,
        "end": 1.0,
    }
    window |= {"file": version(f"{top}/videos/r002.mp4", before), "flipped": False}
    batch = {name: np.array([value]) for name, value in window.items()}
    decoded = decode_batch(batch, 2, 32, store, TEACHER)
    assert decoded["passing"][0].startswith(missing) and not decoded["frames"].any()
    bucket.pipe_file(f"{top}/videos/r003.mp4", b"damaged")
    _, (damaged,) = sliced_of(there, recordings[3:4], store)
    assert f"{top}/videos/r003.mp4: " in damaged["rejected"]  # not the path of the copy


def test_paths_of_a_manifest_may_be_urls_within_its_root(
    env: dict[str, str], data: Path, tmp_path: Path
) -> None:
    top, manifest = upload(data.parent, "roots"), tmp_path / "m.csv"
    (tmp_path / "imu").mkdir()
    shutil.copy(data.parent / "imu/r000.csv", tmp_path / "imu/r000.csv")
    row = f"{top}/videos/r000.mp4,imu/r000.csv,train"
    manifest.write_text(f"video,imu,split\n{row}\n")
    with raises(DatasetError, "dataset.bad-row", "row 2", "leads out of", "set root"):
        list_recordings(folder(manifest), NOWHERE)
    (recording,) = list_recordings(folder(manifest, root=top), NOWHERE)
    assert recording.video == f"{top}/videos/r000.mp4"
    assert recording.imu == str(tmp_path / "imu/r000.csv")
    refuse_absent_files("mine", folder(manifest, root=top), [recording])
    manifest.write_text(f"video,imu,split\n{top}/videos/no.mp4,imu/r000.csv,train\n")
    recordings = list_recordings(folder(manifest, root=top), NOWHERE)
    with raises(ConfigError, "datasets.mine", f"{top}/videos/no.mp4", str(manifest)):
        refuse_absent_files("mine", folder(manifest, root=top), recordings)

    outside = ["../same/videos/r000.mp4", "/videos/r000.mp4", "s3://other/a.mp4", "file:///a.mp4"]
    for cell in outside:
        text = f"video,imu,split\n{cell},imu/r000.csv,train\n".encode()
        fsspec.filesystem("s3").pipe_file(f"{top}/m.csv", text)
        with raises(DatasetError, "dataset.bad-row", cell, "leads out of", top):
            list_recordings(folder(f"{top}/m.csv"), NOWHERE)
    with raises(InputError, "recordings.no-such-object", f"{top}/no.csv"):
        list_recordings(folder(f"{top}/no.csv"), NOWHERE)
    with pytest.raises(ValueError, match="root: path is a URL"):
        folder(f"{top}/m.csv", root=str(tmp_path))
    with pytest.raises(ValueError, match="without file://"):
        folder("file:///m.csv")


def test_label_files_and_cameras_files_in_a_bucket(
    env: dict[str, str], data: Path, tmp_path: Path
) -> None:
    top, bucket = upload(data.parent, "labels"), fsspec.filesystem("s3")
    bucket.pipe_file(f"{top}/labels/l.csv", b"start,end,label\n0,2,walking\n2,4,running\n")
    for name in ("l", "no"):
        row = f"videos/r000.mp4,imu/r000.csv,labels\\{name}.csv,train"
        bucket.pipe_file(f"{top}/m.csv", f"video,imu,labels,split\n{row}\n".encode())
        if name == "l":
            (recording,) = list_recordings(folder(f"{top}/m.csv"), NOWHERE)
            assert recording.labels == ("running", "walking")
        else:
            with raises(DatasetError, "dataset.bad-row", f"labels: no file {top}/labels/no.csv"):
                list_recordings(folder(f"{top}/m.csv"), NOWHERE)
    cameras = GoproDataset(kind="gopro", path=f"{top}/")
    recordings = list_recordings(cameras, NOWHERE)
    assert [recording.id for recording in recordings][:2] == ["videos/r000.mp4", "videos/r001.mp4"]
    assert recordings[0].imu == f"{top}/videos/r000.mp4"
    _, qualities = sliced_of(cameras, recordings[:1], Store(tmp_path / "store"))
    assert qualities[0]["rejected"].startswith(f"ImuError: {top}/videos/r000.mp4: ")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_prepare_and_encode_from_a_bucket(env: dict[str, str], data: Path, tmp_path: Path) -> None:
    top = upload(data.parent, "encoded")

    def encode(path: object, store: str) -> str:
        sets = {"mine": {"kind": "folder", "path": str(path), "window_seconds": 1.0}}
        file = sweep_file(tmp_path, data, datasets=sets)
        command = [*COMMAND, "encode", str(file), "--store", str(tmp_path / store)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def features(store: str) -> dict[str, list[float]]:
        (folder,) = (tmp_path / store / "features").iterdir()
        rows = read_parts(folder, ["window", "feature"]).to_pylist()
        return {row["window"]: row["feature"] for row in rows}

    encode(data, "local")
    printed = encode(f"{top}/manifest.csv", "remote")
    assert "mine: 10 of 10 recordings" in " ".join(printed.split())
    assert len(features("local")) == 24 and features("remote") == features("local")
    before = copies(tmp_path)
    assert len(before) == 1 + 2 * 10
    fsspec.filesystem("s3").put_file(str(data.parent / "videos/r000.mp4"), f"{top}/videos/r001.mp4")
    fsspec.filesystem("s3").rm(f"{top}/videos/r002.mp4")
    printed = " ".join(encode(f"{top}/manifest.csv", "changed").split())
    assert "mine: 9 of 10 recordings" in printed
    assert f"rejected r002: InputError: {top}/videos/r002.mp4: the bucket has no" in printed
    changed = {n for n, inode in copies(tmp_path).items() if before[n] != inode}
    assert changed == {"r001.mp4"}  # the others were not downloaded again
