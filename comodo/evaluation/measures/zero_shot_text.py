"""Classes by their texts, in the space of the teacher's embeddings, without any label.

Shape letters: N windows, D width of the embeddings, K classes.
"""

import numpy as np
import torch

from comodo.data.prompts import load_prompts
from comodo.evaluation.classification import classification_metrics
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import checked_features
from comodo.evaluation.measured import Measured, groups_of
from comodo.evaluation.shared_space import embed

METRICS = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
NEEDS_TEACHER = True
TEACHER_SPLITS = ("train",)
NEEDS_PROJECTORS = True
NEEDS_SHARED_SPACE = True
KEEPS = "classes"


def measure_zero_shot_text(frozen: FrozenStudent) -> Measured:
    """The class whose text is most similar to the student's embedding, without any label: the
    metrics of `measure_probe` under `zero_shot_text/`. All classes of the data set are candidates.
    """
    assert frozen.teacher is not None and frozen.teacher.heads is not None
    assert frozen.teacher.texts is not None
    _, text_KD = load_prompts(frozen.teacher.texts)
    classes_K = np.array(frozen.windows.classes)
    predictions = []
    for split, (feature_ND, label_N) in frozen.scored().items():
        student_ND = checked_features(embed(frozen.teacher.heads[0], torch.from_numpy(feature_ND)))
        score_NK = student_ND @ text_KD.numpy().T
        predictions.append((split, groups_of(frozen, split), classes_K[label_N], score_NK))
    return classification_metrics("zero-shot-text", predictions, classes_K)
