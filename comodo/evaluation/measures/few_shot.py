"""Accuracy by the number of labelled windows."""

from functools import partial

from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, fitted_hit_metrics

METRICS = ("1", "5", "10", "50", "100")
SPLITS = ("test",)


def measure_few_shot(frozen: FrozenStudent) -> Measured:
    """Accuracy as a function of the number of labelled windows of each class."""
    hits_of = partial(feature_metrics.few_shot_hits, seed=frozen.seed)
    return fitted_hit_metrics("few-shot", frozen, hits_of, SPLITS)
