"""Calibration of the probabilities of the probe, and of a student's own classifier."""

from typing import Any

import pyarrow as pa

from comodo.config.measures import OF_CLASSIFIER
from comodo.config.metric import Metric
from comodo.evaluation import calibration
from comodo.evaluation.classification import classifier_predictions, probe_predictions
from comodo.evaluation.fitted_probe import fit_probe
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured

METRICS = ("ece", "brier", "classifier_ece", "classifier_brier")
NEEDS_CLASSIFIER = True
KEEPS = "calibration"
HIGHER_IS_BETTER = False


def measure_calibration(frozen: FrozenStudent) -> Measured:
    """Expected calibration error and Brier score (see `calibration`) of the SVM probe of
    `measure_probe` and, under `classifier_`, of the student's own classifier, if it has one; of a
    baseline only of that. Raises the errors of `fit_probe`."""
    sources = {}
    if not frozen.student.encoder.ONLY_LABELS:
        sources[""] = probe_predictions(fit_probe(frozen), frozen)
    if frozen.head is not None:
        sources[OF_CLASSIFIER] = classifier_predictions(frozen)
    metrics, columns_of = dict[str, float](), dict[str, dict[str, Any]]()
    for prefix, (predictions, classes_K) in sources.items():
        for split, group_N, label_N, probability_NK in predictions:
            columns = calibration.columns(probability_NK, classes_K, label_N)
            table = columns_of.setdefault(split, {"split": [split] * len(label_N)})
            table |= {"group": group_N} | {f"{prefix}{key}": x for key, x in columns.items()}
            for name, value in calibration.scores(columns).items():
                metrics[str(Metric(split, f"{prefix}{name}", "calibration"))] = value
    tables = [pa.table(columns) for columns in columns_of.values()]
    return Measured(metrics, pa.concat_tables(tables) if tables else None)
