"""Which windows of the train split a trial trains on. Knows neither students nor losses.

Shape letter: N training windows.
"""

from torch import Tensor, arange

from comodo.config import TrialConfig
from comodo.core.labels import NO_LABEL
from comodo.data.arrays import FeatureArrays, Split
from comodo.training.epoch import TrainingError


def train_rows(trial: TrialConfig, train: Split, features: FeatureArrays | None) -> Tensor:
    """Rows `[N]`: those that the teacher has encoded if the method needs one, those with a label if
    it learns from nothing else, or all; without a last window that the trial drops.

    Raises TrainingError if too few are left, or none has a label that the method needs.
    """
    method = trial.method
    if method.needs_teacher:
        if features is None:
            text = f"{method.teacher_reader} needs a teacher's features"
            raise TrainingError("training.no-features", text)
        row_N = features.encoded["train"]
    else:
        row_N = train.labelled_N if method.only_labels else arange(len(train))
    if trial.last_window == "drop":
        row_N = row_N[~train.last_N[row_N]]
    if len(row_N) < 2:
        left = f"{len(row_N)} training windows are left, and a step needs two"
        fix = "add recordings to the train split, or shorten their windows"
        raise TrainingError("training.no-step", f"{left}; {fix}")
    if method.needs_labels and not (train.label_N[row_N] != NO_LABEL).any():
        none = f"none of {len(row_N)} training windows{' with video' * method.needs_teacher}"
        fix = f"label some of their recordings, or leave {method.labels_reader} out"
        raise TrainingError("training.no-labels", f"{none} has a label; {fix}")
    return row_N
