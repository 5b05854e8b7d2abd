"""The nearest neighbours among frozen features."""

from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, fitted_hit_metrics

METRICS = ("acc1",)


def measure_knn(frozen: FrozenStudent) -> Measured:
    """Acc@1 of the nearest neighbours, as `feature_metrics.knn_hits`."""
    return fitted_hit_metrics("knn", frozen, feature_metrics.knn_hits)
