"""Similarity of the features of student and teacher. Shape letters: N windows, D student features,
F teacher features."""

import torch

from comodo.config.measures import SCORED_SPLITS
from comodo.config.metric import MIN_ALIGNED, Metric
from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured

METRICS = ("cka", "neighbours")
NEEDS_LABELS = False
NEEDS_TEACHER = True
TEACHER_SPLITS = ("val", "test")
KEEPS = "nothing"

MAX_ALIGNED = 2_000  # number of windows for comparing student and teacher


def measure_alignment(frozen: FrozenStudent) -> Measured:
    """Similarity of student and teacher features of the same windows, before any projector: of the
    labelled windows of a split, or of all if it has no labels.

    Splits with fewer than `MIN_ALIGNED` windows with video are skipped.
    """
    assert frozen.teacher is not None
    features = frozen.teacher.features
    metrics: dict[str, float] = {}
    scored = frozen.scored()
    for split in SCORED_SPLITS:
        if (part := frozen.windows.splits.get(split)) is None:
            continue
        window_N = part.labelled_N if split in scored else torch.arange(len(part))
        index_N = torch.nonzero(torch.isin(window_N, features.encoded[split])).squeeze(1)
        index_N = index_N[:: max(1, -(-len(index_N) // MAX_ALIGNED))]
        if len(index_N) < MIN_ALIGNED:
            continue
        teacher_NF = features.gather(split, window_N[index_N]).numpy()
        features_ND = scored[split][0] if split in scored else frozen.extract(split, window_N)
        student_ND = features_ND[index_N.numpy()]
        cka, overlap = feature_metrics.linear_cka, feature_metrics.neighbour_overlap
        for name, similarity in (("cka", cka), ("neighbours", overlap)):
            metric = Metric(split, name, "alignment")
            metrics[str(metric)] = similarity(student_ND, teacher_NF)
    return Measured(metrics)
