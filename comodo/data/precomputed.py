"""Features that the user computed elsewhere, and the Parquet schema of features. Knows nothing of
videos or of how teachers compute features."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import TeacherConfig
from comodo.core.errors import ComodoError

FEATURE_SCHEMA = pa.schema(
    {
        "window": pa.string(),
        "feature": pa.list_(pa.float32()),
        "rejected": pa.string(),  # the reason, for a window without a feature
        "picture": pa.string(),  # what is wrong with its picture, as `frames.lifeless`
    }
)


class EncodeError(ComodoError, RuntimeError):
    """Windows have no features, or the teacher cannot be used."""


def precomputed_features(teacher: TeacherConfig, wanted: pa.Table) -> pa.Table:
    """The user's features of the `wanted` windows, by window id or else by recording id. Raises
    EncodeError if the file lacks the named arrays or columns, or its ids are not unique."""
    assert teacher.path is not None
    path = Path(teacher.path)
    ids, feature_NF = _read(path, teacher)
    row_of = {id: row for row, id in enumerate(ids)}
    finite_N = np.isfinite(feature_NF).all(axis=1)
    rows: list[dict[str, Any]] = []
    names = ("window", "recording")
    for window, recording in zip(*(wanted[n].to_pylist() for n in names), strict=True):
        row = row_of.get(window, row_of.get(recording))
        if row is None:
            rows.append({"window": window, "rejected": f"{path.name} has no such id"})
        elif not finite_N[row]:
            rows.append({"window": window, "rejected": f"{path.name}: the feature is not finite"})
        else:
            rows.append({"window": window, "feature": feature_NF[row]})
    return pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA)


def _read(path: Path, teacher: TeacherConfig) -> tuple[list[str], np.ndarray]:
    """Unique ids, and a float32 feature for each, `[N, F]`. Raises EncodeError."""
    wanted = {"ids": teacher.ids, "features": teacher.features}
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                names = list(arrays)
                found = {key: arrays[name] for key, name in wanted.items() if name in names}
        else:
            table = pq.read_table(path)
            names = table.column_names
            present = {key: name for key, name in wanted.items() if name in names}
            found = {key: np.array(table[name].to_pylist()) for key, name in present.items()}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        message = f"trial.teacher.path: {path} cannot be read: {error}"
        raise EncodeError("features.unreadable", message) from None
    for key, name in wanted.items():
        if key not in found:
            message = f"trial.teacher.{key}: {path} has no '{name}'; it has {', '.join(names)}"
            raise EncodeError("features.missing-array", message)
    ids, features = [str(id) for id in found["ids"]], found["features"]
    if len(set(ids)) < len(ids) or len(ids) != len(features):
        counts = f"{len(set(ids))} different ids in {len(ids)} rows and {len(features)} features"
        message = f"trial.teacher.path: {path} has {counts}; give each id one feature"
        raise EncodeError("features.bad-ids", message)
    return ids, features.reshape(len(ids), -1).astype(np.float32)
