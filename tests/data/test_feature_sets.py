"""Teacher features of a window set: how many there are, and what their files are."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comodo.config import TeacherConfig
from comodo.core.parts import read_parts, write_table
from comodo.core.store import Store, fingerprint
from comodo.data.feature_sets import (
    commits_of,
    copy_features,
    count_encoded,
    count_known,
    count_left,
    feature_key,
    in_no_part,
    is_drawn,
    list_spans,
    picture_lines,
    pictures_of,
    refuse_other_commit,
    teacher_files,
    that_are_read,
    video_parts,
    wanted_windows,
)
from comodo.data.precomputed import FEATURE_SCHEMA, EncodeError
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.records import FeaturesMeta
from comodo.data.slicing import slice_chunk, write_part
from comodo.data.window_sets import (
    WindowSet,
    counts_without_video,
    fingerprints_of,
    window_key,
    without_video_note,
)
from tests.conftest import write_video
from tests.core.test_hub import cached
from tests.errors import raises


def test_windows_without_a_feature_count_as_encoded(tmp_path: Path) -> None:
    assert count_encoded(tmp_path) == 0
    for number, windows in enumerate((["a", "b"], ["c"])):
        rows = [{"window": window, "rejected": "broken"} for window in windows]
        table = pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA)
        pq.write_table(table, tmp_path / f"part-{number}.parquet")
    assert count_encoded(tmp_path) == 3


def test_only_files_on_this_machine_have_fingerprints(tmp_path: Path) -> None:
    assert teacher_files(TeacherConfig(name="videomae", weights="hub/model")) == {}
    (tmp_path / "f.npz").write_bytes(b"12")
    local = str(tmp_path / "f.npz")
    teacher = TeacherConfig(name="precomputed", path=local)
    assert teacher_files(teacher) == {local: fingerprint(local)}


def test_the_key_of_features_that_exist_does_not_change(tmp_path: Path) -> None:
    teacher = TeacherConfig(name="videomae", weights="hub/model", frames=8)
    windows = WindowSet("w", tmp_path, {}, {}, {}, {})
    assert feature_key(teacher, windows) == "80279d58ab7f582e"


def test_weights_are_known_by_their_content_wherever_they_are(tmp_path: Path) -> None:
    windows = WindowSet("w", tmp_path, {}, {}, {}, {})

    def key(folder: Path, **settings: Any) -> str:
        teacher = TeacherConfig(name="videomae", weights=str(folder), **settings)
        return feature_key(teacher, windows)

    for name, content in (("mine", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        os.utime(tmp_path / name / "model.safetensors", ns=(1, 1))
    before = key(tmp_path / "mine")
    shutil.copytree(tmp_path / "mine", tmp_path / "elsewhere")
    assert key(tmp_path / "elsewhere") == before
    assert key(tmp_path / "elsewhere", allow_remote_code=str(tmp_path / "elsewhere")) != before
    shutil.copy2(tmp_path / "other/model.safetensors", tmp_path / "mine")
    assert key(tmp_path / "mine") == key(tmp_path / "other") != before


SETTINGS: dict[str, Any] = {"kind": "folder", "window_seconds": 1.0, "imu_rate": 25.0}
TEACHER = TeacherConfig(name="efficientnet-lite0", frames=2)


def sliced(manifest: Path, store: Store, **changes: Any) -> WindowSet:
    """The windows of a folder, as prepare stores them."""
    settings = FolderDataset.model_validate(SETTINGS | {"path": str(manifest)} | changes)
    recordings = list_recordings(settings, manifest)
    files = fingerprints_of(settings, recordings)
    key = window_key(settings, recordings, files)
    rows = slice_chunk(open_dataset(settings, manifest), recordings, settings, store.videos)
    write_part(store.folder("windows", key), "part-0.parquet", rows)
    return WindowSet(key, store.folder("windows", key), {}, {}, {}, {}, files)


def encoded(
    windows: WindowSet, store: Store, reject: str = "", teacher: TeacherConfig = TEACHER
) -> dict[str, list[float]]:
    """What encode does, with the numbers of windows as features; returns all features."""
    key = feature_key(teacher, windows)
    folder, wanted = store.folder("features", key), wanted_windows(windows, store, teacher)
    list_spans(teacher, wanted, folder)
    copy_features(teacher, in_no_part(wanted, folder), store, key)
    missing = in_no_part(wanted, folder)["window"].to_pylist()
    rows: list[dict[str, Any]] = [{"window": w, "feature": [i, 1]} for i, w in enumerate(missing)]
    if reject:
        rows = [r if r["window"] != reject else {"window": reject, "rejected": "x"} for r in rows]
    write_table(folder / "part-0.parquet", pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA))
    found = read_parts(folder, ["window", "feature"]).to_pylist()
    return {row["window"]: row["feature"] for row in found if row["feature"]}


def replaced(manifest: Path, old: str, new: str) -> None:
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("videos", ["original", "shrink"])
def test_what_no_teacher_sees_leaves_nothing_to_encode(
    tmp_path: Path, make_folder: Callable[..., Path], videos: str
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 3, 3.0)
    windows = sliced(manifest, store, videos=videos)
    assert count_left(TEACHER, windows, store) == 9
    features = encoded(windows, store)
    assert len(features) == 9 and count_left(TEACHER, windows, store) == 0
    replaced(manifest, "walking", "sitting")
    others = [sliced(manifest, store, videos=videos)]
    replaced(manifest, "train,s0", "val,s0")
    split = {"train": 0.5, "val": 0, "test": 0.5, "seed": 3}
    others += [
        sliced(manifest, store, videos=videos),
        sliced(manifest, store, videos=videos, split_by_group=split),
        sliced(manifest, store, videos=videos, imu_rate=20.0),
    ]
    for other in others:
        assert other.key != windows.key
        assert count_left(TEACHER, other, store) == 0
        assert encoded(other, store) == features
    assert len({feature_key(TEACHER, other) for other in [windows, *others]}) == 5


def test_only_spans_that_no_set_has_are_encoded(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 2, 3.0)
    features = encoded(sliced(manifest, store), store)
    write_video(tmp_path / "data/videos/new.mp4", 2.0)
    lines = [
        "r002,videos/new.mp4,imu/r000.csv,walking,train,s0",
        "r003,videos/r000.mp4,imu/r001.csv,walking,train,s0",  # another sensor of a known video
    ]
    manifest.write_text("\n".join([manifest.read_text().strip(), *lines]))
    more = sliced(manifest, store)
    assert count_left(TEACHER, more, store) == 2
    found = encoded(more, store)
    assert found == features | {
        **{f"r002:{i}": found[f"r002:{i}"] for i in range(2)},
        **{f"r003:{i}": features[f"r000:{i}"] for i in range(3)},
    }
    assert count_left(TEACHER.model_copy(update={"frames": 3}), more, store) == 11
    assert count_left(TEACHER, sliced(manifest, store, window_seconds=1.5), store) == 7
    write_video(tmp_path / "data/videos/r001.mp4", 3.0, shade=9)
    assert count_left(TEACHER, sliced(manifest, store), store) == 3
    unknown = replace(more, files={})
    assert wanted_windows(unknown, store, TEACHER)["span"].null_count == 11


def test_overlapping_windows_have_features_of_their_own(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    """Only those between the windows that were encoded before are decoded; each one from its own
    span."""
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 2, 3.0)
    features = encoded(sliced(manifest, store), store)
    assert len(features) == 2 * 3
    more = sliced(manifest, store, stride_seconds=0.5)
    wanted = wanted_windows(more, store, TEACHER)
    assert len(wanted) == len(set(wanted["span"].to_pylist())) == 2 * 5
    missing = in_no_part(wanted, store.folder("features", feature_key(TEACHER, more)))
    assert count_left(TEACHER, more, store) == 2 * 2 and len(missing) == 10
    found = encoded(more, store)
    for id in ("r000", "r001"):
        assert [found[f"{id}:{2 * i}"] for i in range(3)] == [
            features[f"{id}:{i}"] for i in range(3)
        ]
    assert count_left(TEACHER, more, store) == 0


def test_half_of_the_training_windows_are_mirrored_the_same_ones_each_time(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    drawn = [is_drawn(f"r{i}:{k}") for i in range(100) for k in range(20)]
    assert sum(drawn) == pytest.approx(1000, abs=90)  # four standard deviations
    assert list(map(is_drawn, ["r0:0", "r0:1", "r0:2", "r0:3"])) == [True, False, True, True]
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 4, 3.0)
    for split in ("val", "test"):
        replaced(manifest, "train,s0", f"{split},s0")
    windows = sliced(manifest, store)
    flipping = TEACHER.model_copy(update={"flips": True})
    rows = wanted_windows(windows, store, flipping).to_pylist()
    mine = {row["window"] for row in rows if row["flipped"]}
    training = {row["window"] for row in rows if row["split"] == "train"}
    assert mine == {window for window in training if is_drawn(window)}
    assert 0 < len(mine) < len(training) < len(rows) == 12
    assert {row["window"] for row in rows if row["span"].endswith(" flipped")} == mine
    assert not any(wanted_windows(windows, store, TEACHER)["flipped"].to_pylist())


def test_windows_that_are_not_mirrored_are_those_of_a_teacher_without_flips(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 4, 3.0)
    windows, flipping = sliced(manifest, store), TEACHER.model_copy(update={"flips": True})
    plain = encoded(windows, store)
    drawn = {window for window in plain if is_drawn(window)}
    assert 0 < len(drawn) < 12
    assert count_left(flipping, windows, store) == len(drawn)
    mirrored = encoded(windows, store, teacher=flipping)
    assert {window for window in plain if mirrored[window] == plain[window]} >= plain.keys() - drawn
    assert count_left(flipping, windows, store) == 0
    replaced(manifest, "walking", "sitting")
    other = sliced(manifest, store)
    assert (count_left(TEACHER, other, store), count_left(flipping, other, store)) == (0, 0)
    settings = FolderDataset.model_validate(SETTINGS | {"path": str(manifest)})
    recordings = list_recordings(settings, manifest)
    videos = video_parts(settings, recordings, windows.files, store)
    for teacher in (TEACHER, flipping):
        assert count_known(teacher, videos, 1.0, store) == 12


def test_only_the_splits_that_are_read_are_encoded(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 3, 3.0)
    for split in ("val", "test"):
        replaced(manifest, "train,s0", f"{split},s0")
    windows = sliced(manifest, store)
    wanted = wanted_windows(windows, store, TEACHER)
    for unread, left in (
        ((), ["val", "test", "train"]), (["val"], ["test", "train"]), (("val", "test"), ["train"])
    ):  # fmt: skip
        assert that_are_read(wanted, unread)["split"].unique().to_pylist() == left
        assert count_left(TEACHER, windows, store, unread) == 3 * len(left)


def test_features_of_two_commits_are_not_mixed(
    tmp_path: Path, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 1, 2.0)
    windows, first, second = sliced(manifest, store), "1" * 40, "2" * 40
    teacher = TeacherConfig(name="videomae", weights="some/model")
    folder = store.folder("features", feature_key(teacher, windows))
    cached(tmp_path / "cache", "some/model", first)
    encoded(windows, store, teacher=teacher)
    refuse_other_commit(teacher, folder)
    key = feature_key(teacher, windows)
    cached(tmp_path / "cache", "some/model", second)  # the branch has moved
    assert feature_key(teacher, windows) == key
    with raises(EncodeError, "features.other-commit", first, second, "trial.teacher.revision"):
        refuse_other_commit(teacher, folder)
    replaced(manifest, "walking", "sitting")
    edited = sliced(manifest, store)
    for revision, left in ((None, 2), (second, 2), (first, 0)):
        named = teacher.model_copy(update={"revision": revision})
        assert count_left(named, edited, store) == left


def test_windows_that_were_rejected_are_tried_again(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 2, 2.0)
    first = encoded(sliced(manifest, store), store, reject="r000:1")
    assert len(first) == 3
    replaced(manifest, "walking", "sitting")
    windows = sliced(manifest, store)
    assert count_left(TEACHER, windows, store) == 1
    found = encoded(windows, store)
    assert len(found) == 4 and first.items() <= found.items()


def test_pictures_that_are_dead_are_known_by_window_set(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, windows, pictures in (
        ("a", "w", {"r1:0": "black", "r1:1": "black", "r2:0": "frozen"}),
        ("b", "other", {"r9:0": "black"}),
    ):
        meta = FeaturesMeta(
            teacher={}, windows=windows, count=9, devices=[], rejected={}, pictures=pictures
        )
        meta.write(store.folder("features", key))
    assert picture_lines(pictures_of("w", store), 9) == [
        "2 of 9 windows have a picture that is black, such as r1:0",
        "1 of 9 windows have a picture that is frozen, such as r2:0",
    ]
    assert picture_lines(pictures_of("none", store), 9) == []


def test_commits_that_encoded_a_window_set(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, windows, commit in (("a", "w", "123"), ("b", "w", None), ("c", "other", "456")):
        teacher = {"weights": f"some/{key}"}
        meta = FeaturesMeta(
            teacher=teacher, commit=commit, windows=windows, count=9, devices=[], rejected={}
        )
        meta.write(store.folder("features", key))
    assert commits_of("w", store) == {"some/a": "123"}


def test_windows_without_video_are_for_precomputed_features_only(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    store, manifest = Store(tmp_path / "store"), make_folder(tmp_path / "data", 4, 3.0)
    replaced(manifest, "r001,videos/r001.mp4", "r001,")
    windows = sliced(manifest, store)
    seen = wanted_windows(windows, store, TEACHER)["recording"].unique().to_pylist()
    assert seen == ["r000", "r002", "r003"]
    assert count_left(TEACHER, windows, store) == 9
    assert counts_without_video(windows.folder) == {"train": 3}
    assert without_video_note(windows.folder, 12)[0].startswith("3 of 12 windows have no video")
    assert without_video_note(windows.folder, 3) == []  # none has one, as the listing shows
    (tmp_path / "given.npz").touch()
    given = TeacherConfig(name="precomputed", path=str(tmp_path / "given.npz"))
    assert len(wanted_windows(windows, store, given)) == 12
