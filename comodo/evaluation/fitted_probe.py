"""The classifier on frozen features that measures share: the SVM probe, or of hand-crafted features
the one that is chosen for them. Shape letters: N windows."""

import numpy as np
import numpy.typing as npt

from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.hand_crafted import ClassicalClassifier
from comodo.evaluation.measured import groups_of
from comodo.evaluation.probe import SVMProbe

Probe = SVMProbe | ClassicalClassifier


def fit_probe(frozen: FrozenStudent, classes: list[str] | None = None) -> Probe:
    """Fitted on the labelled train windows (of `classes` only, if given): by
    `FrozenStudent.probe_windows` on `training_subset`, or on all. That of all classes is fitted
    once.

    Raises EvaluateError, `evaluate.no-labels`, or as `SVMProbe.fit` or `ClassicalClassifier.fit`.
    """
    fit = _fit_classical if frozen.is_hand_crafted else _fit_svm
    if classes is not None:
        return fit(frozen, classes)
    if frozen.probe is None:
        frozen.probe = fit(frozen, None)
    return frozen.probe


def _fit_svm(frozen: FrozenStudent, classes: list[str] | None) -> SVMProbe:
    features_ND, label_N = frozen.train(all_windows=frozen.probe_windows == "published")
    name_N, kept_N = class_names(frozen, label_N, classes)
    probe = SVMProbe(seed=frozen.seed, ties=frozen.ties, subset=frozen.probe_windows)
    return probe.fit(features_ND[kept_N], name_N[kept_N])


def _fit_classical(frozen: FrozenStudent, classes: list[str] | None) -> ClassicalClassifier:
    """Chosen on the windows of val, if any are labelled."""
    features_ND, label_N = frozen.train()
    name_N, kept_N = class_names(frozen, label_N, classes)
    val = None
    if (of_val := frozen.labelled("val")) is not None:
        val_name_N, val_kept_N = class_names(frozen, of_val[1], classes)
        if len(val_name_N[val_kept_N]):
            val = (of_val[0][val_kept_N], val_name_N[val_kept_N])
    train, group_N = (features_ND[kept_N], name_N[kept_N]), groups_of(frozen, "train")[kept_N]
    return ClassicalClassifier(frozen.seed).fit(train, group_N, val)


def class_names(
    frozen: FrozenStudent, label_N: npt.NDArray[np.int64], classes: list[str] | None
) -> tuple[npt.NDArray[np.str_], slice | npt.NDArray[np.bool_]]:
    """Class name [N] of each label, and an index of the windows whose class is in `classes`, which
    are common names; None: the names are those of the data set, and all windows are selected."""
    names = frozen.windows.classes
    if classes is None:
        return np.array(names)[label_N], slice(None)
    name_N = np.array([frozen.common_name.get(name, name) for name in names])[label_N]
    return name_N, np.isin(name_N, classes)
