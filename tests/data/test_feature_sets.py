"""Teacher features of a window set: how many there are, and what their files are."""

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import TeacherConfig
from comodo.core.store import Store, fingerprint
from comodo.data.feature_sets import (
    count_encoded,
    feature_key,
    picture_lines,
    pictures_of,
    teacher_files,
)
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.records import FeaturesMeta
from comodo.data.window_sets import WindowSet


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
