"""The user's own features: found by id, and refused where they are ambiguous."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comodo.config import TeacherConfig
from comodo.data.precomputed import FEATURE_SCHEMA, EncodeError, precomputed_features
from tests.errors import raises

WANTED = pa.table({"window": ["r0:0", "r0:1", "r1:0"], "recording": ["r0", "r0", "r1"]})


def write(path: Path, **columns: Any) -> TeacherConfig:
    """Writes arrays to an .npz or Parquet file; returns the teacher that reads it."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        pq.write_table(pa.table({name: list(rows) for name, rows in columns.items()}), path)
    return TeacherConfig(name="precomputed", path=str(path))


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_a_window_s_own_feature_is_preferred_to_its_recording_s(tmp_path: Path, name: str) -> None:
    teacher = write(tmp_path / name, id=["r0", "r0:1"], feature=[[1.0, 2.0], [3.0, 4.0]])
    table = precomputed_features(teacher, WANTED)
    assert table.schema == FEATURE_SCHEMA
    assert table.to_pylist() == [
        {"window": "r0:0", "feature": [1, 2], "rejected": None, "picture": None},
        {"window": "r0:1", "feature": [3, 4], "rejected": None, "picture": None},
        {"window": "r1:0", "feature": None, "rejected": f"{name} has no such id", "picture": None},
    ]


def test_features_of_several_axes_are_flattened_and_numbers_are_ids(tmp_path: Path) -> None:
    teacher = write(tmp_path / "f.npz", id=np.array([7]), feature=np.arange(6.0).reshape(1, 2, 3))
    wanted = pa.table({"window": ["7:0"], "recording": ["7"]})
    (row,) = precomputed_features(teacher, wanted).to_pylist()
    assert row["feature"] == [0, 1, 2, 3, 4, 5]


def test_a_feature_that_is_not_finite_is_rejected_alone(tmp_path: Path) -> None:
    teacher = write(tmp_path / "f.npz", id=["r0", "r1"], feature=[[1.0, np.nan], [1.0, 2.0]])
    rejected = precomputed_features(teacher, WANTED)["rejected"].to_pylist()
    assert rejected == ["f.npz: the feature is not finite"] * 2 + [None]


@pytest.mark.parametrize(
    ("columns", "code", "name"),
    [
        ({"id": ["a", "a"], "feature": [[1.0], [2.0]]}, "features.bad-ids", "1 different ids"),
        ({"id": ["a"], "feature": [[1.0], [2.0]]}, "features.bad-ids", "2 features"),
        ({"id": ["a"], "vector": [[1.0]]}, "features.missing-array", "'feature'"),
        ({"name": ["a"], "feature": [[1.0]]}, "features.missing-array", "trial.teacher.ids"),
    ],
)
def test_what_is_missing_or_ambiguous_is_refused(
    tmp_path: Path, columns: dict[str, Any], code: str, name: str
) -> None:
    with raises(EncodeError, code, "f.npz", name):
        precomputed_features(write(tmp_path / "f.npz", **columns), WANTED)
