"""Logistic regression on frozen features."""

from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, fitted_hit_metrics

METRICS = ("acc1",)


def measure_linear(frozen: FrozenStudent) -> Measured:
    """Acc@1 of logistic regression, as `feature_metrics.linear_hits`."""
    return fitted_hit_metrics("linear", frozen, feature_metrics.linear_hits)
