"""The SVM probe."""

from comodo.evaluation.classification import probe_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured

METRICS = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
KEEPS = "classes"


def measure_probe(frozen: FrozenStudent) -> Measured:
    """The SVM probe: fitted on the labelled train windows, evaluated on val and test.

    Metrics: `val/acc1` ... `test/acc5`, `.../balanced_accuracy`, `.../macro_f1` (fractions, only of
    splits that have labels; Acc@3 and Acc@5 only with more classes than that), and `probe/C`.
    Hand-crafted features have a `ClassicalClassifier` instead (`probe/C` or `probe/trees`). Raises
    the errors of `fit_probe`.
    """
    return probe_metrics("probe", frozen, frozen)
