"""Features that the user has made elsewhere, and how features lie in Parquet.

Knows nothing of videos or of how teachers make them.
"""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import TeacherConfig
from comodo.core.errors import ComodoError

FEATURE_SCHEMA = pa.schema(
    [
        ("window", pa.string()),
        ("feature", pa.list_(pa.float32())),
        ("rejected", pa.string()),  # the reason, for a window without a feature
    ]
)


class EncodeError(ComodoError, RuntimeError):
    """Too many windows have no feature."""


def precomputed_features(teacher: TeacherConfig, wanted: pa.Table) -> pa.Table:
    """The user's own features, found by window id or else by recording id.

    Raises:
        EncodeError: the file lacks the named arrays or columns.
    """
    assert teacher.path is not None
    path = Path(teacher.path)
    wanted_names = (teacher.ids, teacher.features)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                names = list(arrays)
                found = {name: arrays[name] for name in wanted_names if name in names}
        else:
            table = pq.read_table(path)
            names = table.column_names
            found = {
                name: np.array(table[name].to_pylist()) for name in wanted_names if name in names
            }
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise EncodeError(f"trial.teacher.path: {path} cannot be read: {error}") from None
    for key, name in (("ids", teacher.ids), ("features", teacher.features)):
        if name not in found:
            raise EncodeError(
                f"trial.teacher.{key}: {path} has no '{name}'; it has {', '.join(names)}"
            )
    ids = [str(id) for id in found[teacher.ids]]
    if len(set(ids)) < len(ids) or len(ids) != len(found[teacher.features]):
        raise EncodeError(
            f"trial.teacher.path: {path} has {len(set(ids))} different ids in {len(ids)} rows and "
            f"{len(found[teacher.features])} features; give each id one feature"
        )
    feature_NF = found[teacher.features].reshape(len(ids), -1).astype(np.float32)
    row_of = {id: row for row, id in enumerate(ids)}
    rows: list[dict[str, Any]] = []
    for window, recording in zip(
        wanted["window"].to_pylist(), wanted["recording"].to_pylist(), strict=True
    ):
        row = row_of.get(window, row_of.get(recording))
        if row is None:
            rows.append({"window": window, "rejected": f"{path.name} has no such id"})
        elif not np.isfinite(feature_NF[row]).all():
            rows.append({"window": window, "rejected": f"{path.name}: the feature is not finite"})
        else:
            rows.append({"window": window, "feature": feature_NF[row]})
    return pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA)
