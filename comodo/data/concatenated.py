"""The features of several teachers as one. Knows no video.

Shape letters: N windows, F numbers in a teacher's feature.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from comodo.config import TeacherConfig
from comodo.core.parts import read_parts
from comodo.core.store import Store, fetched
from comodo.data.feature_sets import feature_key
from comodo.data.precomputed import FEATURE_SCHEMA
from comodo.data.window_sets import WindowSet


def concatenated_features(
    teacher: TeacherConfig, wanted: pa.Table, windows: WindowSet, store: Store
) -> tuple[pa.Table, dict[str, str]]:
    """Features of the `wanted` windows: those of each teacher, which have encoded them, of unit
    length and one after the other. So the similarity of two windows is the mean of the teachers'
    cosines. Windows without a feature of some teacher have none; those that it may encode later are
    not in the table, but returned with the reason."""
    keys = [feature_key(part, windows) for part in teacher.encoders]
    features = [_of(store, key) for key in keys]
    rows, passing = list[dict[str, Any]](), dict[str, str]()
    for window in wanted["window"].to_pylist():
        found: list[Any] = [of_teacher.get(window) for of_teacher in features]
        fault = next((one for one in found if isinstance(one, str)), None)
        if fault is not None:
            rows.append({"window": window, "rejected": fault})
        elif any(one is None for one in found):
            passing[window] = "a teacher has no feature of it yet"
        else:
            rows.append({"window": window, "feature": np.concatenate(found)})
    return pa.Table.from_pylist(rows, schema=FEATURE_SCHEMA), passing


def _of(store: Store, key: str) -> dict[str, Any]:
    """Of each window that was encoded the feature `[F]` of unit length, or why it has none."""
    folder = fetched(store.folder("features", key))
    table = read_parts(folder, ["window", "feature", "rejected"])
    vectors = table["feature"].to_numpy(zero_copy_only=False)
    found = dict[str, Any]()
    columns = (table["window"].to_pylist(), vectors, table["rejected"].to_pylist())
    for window, feature_F, rejected in zip(*columns, strict=True):
        length = 0.0 if feature_F is None else float(np.linalg.norm(feature_F))
        if rejected is None and not (np.isfinite(length) and length):
            rejected = "a teacher's feature has no direction"
        found[window] = feature_F / length if rejected is None else rejected
    return found
