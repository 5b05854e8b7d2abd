"""The result of one measure, and what measures share to build it: groups and hits by window, also
those of a classifier that is fitted on the train windows.

Knows no measure. Shape letters: N windows, R repeats.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.preprocessing import StandardScaler

from comodo.config.measures import SCORED_SPLITS
from comodo.config.metric import Metric
from comodo.evaluation.feature_metrics import Hits
from comodo.evaluation.frozen_student import FrozenStudent, Labelled


class Measured(NamedTuple):
    """The result of one measure."""

    metrics: dict[str, float]
    predictions: pa.Table | None = None
    """A row for each val and test window: split, group, and either label, predicted and rank of the
    true class by probability (from 0), or for each metric the fraction of repeats with a hit; of
    calibration the columns of `calibration.columns`."""


def pooled(folds: list[Measured]) -> Measured:
    """What was measured on each fold of a data set, together: predictions one after the other, and
    the mean of each metric over the folds that have it."""
    if len(folds) == 1:
        return folds[0]
    names = dict.fromkeys(name for fold in folds for name in fold.metrics)
    tables = [fold.predictions for fold in folds if fold.predictions is not None]
    return Measured(
        {n: float(np.mean([f.metrics[n] for f in folds if n in f.metrics])) for n in names},
        pa.concat_tables(tables, promote_options="default") if tables else None,
    )


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


def fitted_hit_metrics(
    measure: str,
    frozen: FrozenStudent,
    hits_of: Callable[[Labelled, Labelled], dict[str, Hits]],
    splits: Sequence[str] = SCORED_SPLITS,
) -> Measured:
    """Those of a classifier that `hits_of` fits on the train windows, its first argument, and
    scores on these splits, its second. Raises EvaluateError, `evaluate.no-labels`."""
    train, scored = frozen.train(), frozen.scored()
    if frozen.is_hand_crafted:  # or the one with the largest unit would decide each row's norm
        scaler = StandardScaler().fit(train[0])
        train = (scaler.transform(train[0]), train[1])
        scored = {split: (scaler.transform(x_ND), y_N) for split, (x_ND, y_N) in scored.items()}
    hits = {split: hits_of(train, scored[split]) for split in splits if split in scored}
    return hit_metrics(measure, frozen, hits)
