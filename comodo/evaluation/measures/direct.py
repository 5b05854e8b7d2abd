"""Direct transfer of the probe to another data set."""

from collections.abc import Iterable

from comodo.evaluation.classification import probe_metrics
from comodo.evaluation.frozen_student import FrozenStudent, Labelled
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.measured import Measured

METRICS = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
DATASETS = "others"
KEEPS = "classes"


def measure_direct(frozen: FrozenStudent) -> Measured:
    """Direct transfer: the probe of the training data set, evaluated on this one, whose labels are
    not used for fitting. The metrics are those of `measure_probe`, under `direct/`.

    Raises EvaluateError, `evaluate.shared-classes`, if the data sets share fewer than two classes;
    only windows of shared classes are used.
    """
    assert frozen.source is not None
    in_train = _names(frozen.source, [frozen.source.train()])
    shared = sorted(in_train & _names(frozen, frozen.scored().values()))
    if len(shared) < 2:
        raise EvaluateError(
            "evaluate.shared-classes",
            f"direct: the data sets share the classes {shared}, but at least two are needed; map "
            "equivalent classes to the same name in label_map",
        )
    return probe_metrics("direct", frozen.source, frozen, shared)


def _names(frozen: FrozenStudent, labelled: Iterable[Labelled]) -> set[str]:
    """The classes that occur among labelled windows, by their common names."""
    classes = {frozen.windows.classes[label] for _, label_N in labelled for label in set(label_N)}
    return {frozen.common_name.get(name, name) for name in classes}
