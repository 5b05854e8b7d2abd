"""The features of several teachers as one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from comodo.config import TeacherConfig
from comodo.core.parts import read_parts, write_table
from comodo.core.store import Store
from comodo.data.concatenated import concatenated_features
from comodo.data.feature_sets import feature_key
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.records import FeaturesMeta
from comodo.data.window_sets import WindowSet
from comodo.runtime.encode import encode_windows

BOTH = TeacherConfig.model_validate(
    {"several": [{"name": "efficientnet-lite0", "frames": frames} for frames in (1, 2)]}
)


def test_each_feature_has_unit_length_and_a_window_needs_all(tmp_path: Path) -> None:
    store, windows = Store(tmp_path), WindowSet("w", tmp_path, {}, {}, {}, {})
    first = [
        {"window": "a", "feature": [3.0, 4.0]},
        {"window": "b", "rejected": "no frames"},
        {"window": "c", "feature": [0.0, 0.0]},
        {"window": "d", "feature": [1.0, 0.0]},
    ]
    second = [{"window": window, "feature": [0.0, 0.0, 2.0]} for window in "cba"]
    for teacher, rows in zip(BOTH.encoders, (first, second), strict=True):
        part = store.folder("features", feature_key(teacher, windows)) / "part-0.parquet"
        write_table(part, pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA))
    wanted = pa.table({"window": ["d", "c", "b", "a"]})
    table, passing = concatenated_features(BOTH, wanted, windows, store)
    assert passing == {"d": "a teacher has no feature of it yet"}
    rejected = dict(zip(table["window"].to_pylist(), table["rejected"].to_pylist(), strict=True))
    assert rejected == {"c": "a teacher's feature has no direction", "b": "no frames", "a": None}
    np.testing.assert_allclose(table["feature"].to_pylist()[2], [0.6, 0.8, 0, 0, 1], atol=1e-7)


def test_the_similarity_of_two_windows_is_the_mean_of_the_teachers_cosines(tmp_path: Path) -> None:
    store, windows = Store(tmp_path), WindowSet("w", tmp_path, {}, {}, {}, {})
    rng, cosines = np.random.default_rng(0), []
    for teacher, width in zip(BOTH.encoders, (5, 9), strict=True):
        vectors = rng.standard_normal((2, width))
        cosines.append(vectors[0] @ vectors[1] / np.prod(np.linalg.norm(vectors, axis=1)))
        rows = [{"window": w, "feature": v} for w, v in zip("ab", vectors, strict=True)]
        part = store.folder("features", feature_key(teacher, windows)) / "part-0.parquet"
        write_table(part, pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA))
    table, _ = concatenated_features(BOTH, pa.table({"window": ["a", "b"]}), windows, store)
    one, other = map(np.array, table["feature"].to_pylist())
    found = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert found == pytest.approx(np.mean(cosines), abs=1e-6)


def test_a_store_that_has_one_of_them_needs_only_the_other(tmp_path: Path) -> None:
    store, parts = Store(tmp_path / "store"), []
    folder = store.folder("windows", "w")
    row = {"recording": "r", "split": "train", "video": "", "start": 0.0, "end": 1.0}
    rows = [{"window": f"r:{i}", **row, "rejected": None} for i in range(2)]
    write_table(folder / "part-000000.parquet", pa.Table.from_pylist(rows))
    windows = WindowSet("w", folder, {"train": 2}, {}, {}, {})
    for number in (1, 2):
        path = tmp_path / f"{number}.npz"
        np.savez(path, id=np.array(["r"]), feature=np.full((1, number), 7.0))
        parts.append({"name": "precomputed", "path": str(path)})
    alone = encode_windows("mine", TeacherConfig.model_validate(parts[0]), windows, store, 0)
    before = (alone.folder / "part-given.parquet").stat().st_mtime_ns
    both = TeacherConfig.model_validate({"several": parts})
    features = encode_windows("mine", both, windows, store, 0)
    assert (alone.folder / "part-given.parquet").stat().st_mtime_ns == before
    assert len(list(store.root.glob("features/*"))) == 3
    table = read_parts(features.folder, ["feature"])
    expected = [[1.0, 0.5**0.5, 0.5**0.5]] * 2
    np.testing.assert_allclose(table["feature"].to_pylist(), expected, atol=1e-6)
    meta = FeaturesMeta.of(features.key, store)
    assert meta is not None and meta.count == 2
    reversed_parts = TeacherConfig.model_validate({"several": parts[::-1]})
    assert feature_key(reversed_parts, windows) != features.key
