"""Classes by the teacher's embeddings of their videos. Shape letters: N windows, D width of the
embeddings, K classes."""

import torch

from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measured import Measured, hit_metrics
from comodo.evaluation.shared_space import embed

METRICS = ("acc1", "acc3", "acc5")
NEEDS_TEACHER = True
TEACHER_SPLITS = ("train",)
NEEDS_PROJECTORS = True


def measure_zero_shot(frozen: FrozenStudent) -> Measured:
    """Nearest anchor: student embeddings against one video embedding of each class, no classifier.

    Raises EvaluateError, `evaluate.no-anchor` or `evaluate.not-finite`.
    """
    assert frozen.teacher is not None and frozen.teacher.heads is not None
    student_head, teacher_head = frozen.teacher.heads
    features, row_N, split = frozen.teacher.features, frozen.teacher.anchor_K, "val"
    if row_N is None:
        split = "train"
        encoded_N = features.encoded[split]
        labels_N = frozen.windows.splits[split].label_N[encoded_N]
        row_N = frozen.training_subset(encoded_N[labels_N >= 0])
    teacher_ND = embed(teacher_head, features.gather(split, row_N))
    label_N = frozen.windows.splits[split].label_N[row_N].numpy()
    anchor_KD = feature_metrics.anchors(teacher_ND, label_N, len(frozen.windows.classes))
    hits = {}
    for split, (features_ND, label_N) in frozen.scored().items():
        student_ND = embed(student_head, torch.from_numpy(features_ND))
        hits[split] = feature_metrics.zero_shot_hits(student_ND, anchor_KD, label_N)
    return hit_metrics("zero-shot", frozen, hits)
