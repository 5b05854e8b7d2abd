"""Predicted classes of windows, by the probe or by the classifier of a student, and their metrics.

Knows no measure by name. Shape letters: N windows, K classes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from comodo.config.measures import SCORED_SPLITS
from comodo.config.metric import Metric, accuracy
from comodo.evaluation import feature_metrics
from comodo.evaluation.fitted_probe import Probe, class_names, fit_probe
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import label_ranks
from comodo.evaluation.measured import Measured, groups_of
from comodo.models.students import extract_features

Prediction = tuple[str, Any, Any, Any]
"""Of a split: its name, groups [N], labels [N] and probabilities [N, K] of its windows."""


def classification_metrics(
    measure: str, predictions: list[Prediction], classes_K: npt.NDArray[np.str_]
) -> Measured:
    """The metrics of predictions of these classes, with a row for each window."""
    metrics, tables = dict[str, float](), []
    for split, group_N, label_N, probability_NK in predictions:
        predicted_N = classes_K[probability_NK.argmax(1)]
        rank_N = label_ranks(probability_NK, classes_K, label_N)
        for k in (1, 3, 5):
            if k == 1 or k < len(classes_K):  # all of K classes are among the K most probable
                metrics[str(accuracy(split, k, measure))] = float((rank_N < k).mean())
        summary = feature_metrics.classification(label_N, predicted_N)
        metrics |= {str(Metric(split, key, measure)): value for key, value in summary.items()}
        columns = {"group": group_N, "label": label_N, "predicted": predicted_N, "rank": rank_N}
        tables.append(pa.table({"split": [split] * len(label_N), **columns}))
    return Measured(metrics, pa.concat_tables(tables) if tables else None)


def probe_metrics(
    measure: str,
    fitted_on: FrozenStudent,
    scored_on: FrozenStudent,
    classes: list[str] | None = None,
) -> Measured:
    """Those of a probe fitted on one data set and evaluated on the same or another, on `classes`
    only. Raises the errors of `fit_probe`."""
    probe = fit_probe(fitted_on, classes)
    measured = classification_metrics(measure, *probe_predictions(probe, scored_on, classes))
    of_fit = {str(Metric("", name, measure)): value for name, value in probe.chosen.items()}
    return measured._replace(metrics=of_fit | measured.metrics)


def probe_predictions(
    probe: Probe, scored_on: FrozenStudent, classes: list[str] | None = None
) -> tuple[list[Prediction], npt.NDArray[np.str_]]:
    """Predictions of a fitted probe, of windows of `classes` only, and its own classes [K]."""
    predictions = []
    for split, (features_ND, label_N) in scored_on.scored().items():
        name_N, kept_N = class_names(scored_on, label_N, classes)
        if len(name_N[kept_N]):
            group_N = groups_of(scored_on, split)[kept_N]
            probability_NK = probe.probabilities(features_ND[kept_N])
            predictions.append((split, group_N, name_N[kept_N], probability_NK))
    return predictions, probe.classes_


def classifier_predictions(
    frozen: FrozenStudent,
) -> tuple[list[Prediction], npt.NDArray[np.str_]]:
    """Predictions of the student's own classifier, and its classes [K]; padding is masked as in
    training, whatever `frozen.mask` is."""
    assert frozen.head is not None
    names_K = np.array(frozen.windows.classes)
    predictions = []
    for split in SCORED_SPLITS:
        part = frozen.windows.splits.get(split)
        if part is not None and len(index_N := part.labelled_N):
            score_NK = extract_features(
                frozen.student, part, index_N, head=frozen.head, batch_size=frozen.batch_size
            ).double()
            label_N = names_K[part.label_N[index_N].numpy()]
            group_N = groups_of(frozen, split)
            predictions.append((split, group_N, label_N, score_NK.softmax(1).numpy()))
    return predictions, names_K
