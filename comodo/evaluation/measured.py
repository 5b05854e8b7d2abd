"""The result of one measure, and what measures share to build it: groups and hits by window.

Knows no measure. Shape letters: N windows, R repeats.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from comodo.config.metric import Metric
from comodo.evaluation.feature_metrics import Hits
from comodo.evaluation.frozen_student import FrozenStudent


class Measured(NamedTuple):
    """The result of one measure."""

    metrics: dict[str, float]
    predictions: pa.Table | None = None
    """A row for each val and test window: split, group, and either label, predicted and rank of the
    true class by probability (from 0), or for each metric the fraction of repeats with a hit; of
    calibration the columns of `calibration.columns`."""


def groups_of(frozen: FrozenStudent, split: str) -> npt.NDArray[np.str_]:
    """Group name [N] of each window of `FrozenStudent.labelled`."""
    index_N = frozen.windows.splits[split].labelled_N
    if split == "train":
        index_N = frozen.training_subset(index_N)
    return frozen.groups(split, index_N)


def hit_metrics(
    measure: str, frozen: FrozenStudent, hits_of: dict[str, dict[str, Hits]]
) -> Measured:
    """Accuracies, and a row for each window, from hits [N] or [R, N] by split and metric."""
    metrics, tables = dict[str, float](), []
    for split, named in hits_of.items():
        columns: dict[str, Any] = {}
        for name, hits in named.items():
            hit_RN = np.atleast_2d(hits)
            metric = Metric(split, name, measure)
            metrics[str(metric)] = float(hit_RN.mean())
            if len(hit_RN) > 1:
                metrics[f"{metric}_std"] = float(hit_RN.mean(axis=1).std(ddof=1))
            columns[metric.column] = hit_RN.mean(axis=0)
        group_N = groups_of(frozen, split)
        tables.append(pa.table({"split": [split] * len(group_N), "group": group_N, **columns}))
    return Measured(metrics, pa.concat_tables(tables) if tables else None)
