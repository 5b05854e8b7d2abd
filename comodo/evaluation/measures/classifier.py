"""The classifier of a student that was trained with labels."""

from comodo.evaluation.classification import classification_metrics, classifier_predictions
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured

METRICS = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
DATASETS = "own"
NEEDS_CLASSIFIER = True
KEEPS = "classes"


def measure_classifier(frozen: FrozenStudent) -> Measured:
    """The classifier of a student trained on labels; padding is masked as in training, whatever
    `frozen.mask` is. The metrics are those of `measure_probe`, under `classifier/`."""
    return classification_metrics("classifier", *classifier_predictions(frozen))
