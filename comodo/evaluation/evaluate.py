"""Evaluates a frozen student on one data set: the measures of a sweep file, by name.

It does not know how the student was trained or where results are stored. Shape letters: N windows,
D student features, F teacher features, K classes, R repeats.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from comodo.config.measures import OF_CLASSIFIER, SCORED_SPLITS
from comodo.config.metric import MIN_ALIGNED, Metric, accuracy
from comodo.evaluation import calibration, feature_metrics
from comodo.evaluation.fitted_probe import Probe, class_names, fit_probe
from comodo.evaluation.frozen_student import FrozenStudent, Labelled
from comodo.evaluation.labelled_features import EvaluateError, label_ranks
from comodo.evaluation.measured import Measured, groups_of, hit_metrics
from comodo.models.students import extract_features

MAX_ALIGNED = 2_000  # number of windows for comparing student and teacher
Prediction = tuple[str, Any, Any, Any]
"""Of a split: its name, groups [N], labels [N] and probabilities [N, K] of its windows."""


def pooled(folds: list[Measured]) -> Measured:
    """What was measured on each fold of a data set, together: predictions one after the other, and
    the mean of each metric over the folds that have it."""
    if len(folds) == 1:
        return folds[0]
    names = dict.fromkeys(name for fold in folds for name in fold.metrics)
    tables = [fold.predictions for fold in folds if fold.predictions is not None]
    return Measured(
        {n: float(np.mean([f.metrics[n] for f in folds if n in f.metrics])) for n in names},
        pa.concat_tables(tables, promote_options="default") if tables else None,
    )


def measure_probe(frozen: FrozenStudent) -> Measured:
    """The SVM probe: fitted on the labelled train windows, evaluated on val and test.

    Metrics: `val/acc1` ... `test/acc5`, `.../balanced_accuracy`, `.../macro_f1` (fractions, only of
    splits that have labels; Acc@3 and Acc@5 only with more classes than that), and `probe/C`.
    Hand-crafted features have a `ClassicalClassifier` instead (`probe/C` or `probe/trees`). Raises
    the errors of `fit_probe`.
    """
    return _evaluate_probe("probe", frozen, frozen)


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
    return _evaluate_probe("direct", frozen.source, frozen, shared)


def measure_classifier(frozen: FrozenStudent) -> Measured:
    """The classifier of a student trained on labels; padding is masked as in training, whatever
    `frozen.mask` is. The metrics are those of `measure_probe`, under `classifier/`."""
    return classification_metrics("classifier", *_classifier_predictions(frozen))


def measure_calibration(frozen: FrozenStudent) -> Measured:
    """Expected calibration error and Brier score (see `calibration`) of the SVM probe of
    `measure_probe` and, under `classifier_`, of the student's own classifier, if it has one; of a
    baseline only of that. Raises the errors of `fit_probe`."""
    sources = {}
    if not frozen.student.encoder.ONLY_LABELS:
        sources[""] = _probe_predictions(fit_probe(frozen), frozen)
    if frozen.head is not None:
        sources[OF_CLASSIFIER] = _classifier_predictions(frozen)
    metrics, columns_of = dict[str, float](), dict[str, dict[str, Any]]()
    for prefix, (predictions, classes_K) in sources.items():
        for split, group_N, label_N, probability_NK in predictions:
            columns = calibration.columns(probability_NK, classes_K, label_N)
            table = columns_of.setdefault(split, {"split": [split] * len(label_N)})
            table |= {"group": group_N} | {f"{prefix}{key}": x for key, x in columns.items()}
            for name, value in calibration.scores(columns).items():
                metrics[str(Metric(split, f"{prefix}{name}", "calibration"))] = value
    tables = [pa.table(columns) for columns in columns_of.values()]
    return Measured(metrics, pa.concat_tables(tables) if tables else None)


def _classifier_predictions(
    frozen: FrozenStudent,
) -> tuple[list[Prediction], npt.NDArray[np.str_]]:
    """Predictions of the student's own classifier, and its classes [K]."""
    assert frozen.head is not None
    names_K = np.array(frozen.windows.classes)
    predictions = []
    for split in SCORED_SPLITS:
        part = frozen.windows.splits.get(split)
        if part is not None and len(index_N := part.labelled_N):
            score_NK = extract_features(
                frozen.student, part, index_N, head=frozen.head, batch_size=frozen.batch_size
            ).double()
            label_N = names_K[part.label_N[index_N].numpy()]
            group_N = groups_of(frozen, split)
            predictions.append((split, group_N, label_N, score_NK.softmax(1).numpy()))
    return predictions, names_K


def _names(frozen: FrozenStudent, labelled: Iterable[Labelled]) -> set[str]:
    """The classes that occur among labelled windows, by their common names."""
    classes = {frozen.windows.classes[label] for _, label_N in labelled for label in set(label_N)}
    return {frozen.common_name.get(name, name) for name in classes}


def _evaluate_probe(
    measure: str,
    fitted_on: FrozenStudent,
    scored_on: FrozenStudent,
    classes: list[str] | None = None,
) -> Measured:
    """A probe fitted on one data set and evaluated on the same or another, on `classes` only."""
    probe = fit_probe(fitted_on, classes)
    measured = classification_metrics(measure, *_probe_predictions(probe, scored_on, classes))
    of_fit = {str(Metric("", name, measure)): value for name, value in probe.chosen.items()}
    return measured._replace(metrics=of_fit | measured.metrics)


def _probe_predictions(
    probe: Probe, scored_on: FrozenStudent, classes: list[str] | None = None
) -> tuple[list[Prediction], npt.NDArray[np.str_]]:
    """Predictions of a fitted probe, of windows of `classes` only, and its own classes [K]."""
    predictions = []
    for split, (features_ND, label_N) in scored_on.scored().items():
        name_N, kept_N = class_names(scored_on, label_N, classes)
        if len(name_N[kept_N]):
            group_N = groups_of(scored_on, split)[kept_N]
            probability_NK = probe.probabilities(features_ND[kept_N])
            predictions.append((split, group_N, name_N[kept_N], probability_NK))
    return predictions, probe.classes_


def classification_metrics(
    measure: str, predictions: list[Prediction], classes_K: npt.NDArray[np.str_]
) -> Measured:
    """The metrics of predictions of these classes, with a row for each window."""
    metrics, tables = dict[str, float](), []
    for split, group_N, label_N, probability_NK in predictions:
        predicted_N = classes_K[probability_NK.argmax(1)]
        rank_N = label_ranks(probability_NK, classes_K, label_N)
        for k in (1, 3, 5):
            if k == 1 or k < len(classes_K):  # all of K classes are among the K most probable
                metrics[str(accuracy(split, k, measure))] = float((rank_N < k).mean())
        summary = feature_metrics.classification(label_N, predicted_N)
        metrics |= {str(Metric(split, key, measure)): value for key, value in summary.items()}
        columns = {"group": group_N, "label": label_N, "predicted": predicted_N, "rank": rank_N}
        tables.append(pa.table({"split": [split] * len(label_N), **columns}))
    return Measured(metrics, pa.concat_tables(tables) if tables else None)


def _evaluate_classifier(
    frozen: FrozenStudent,
    measure: str,
    hits_of: Callable[[Labelled, Labelled], dict[str, feature_metrics.Hits]],
    splits: Sequence[str] = SCORED_SPLITS,
) -> Measured:
    """Fits a classifier on the train windows, and measures its hits on the other splits."""
    train, scored = frozen.train(), frozen.scored()
    if frozen.is_hand_crafted:  # or the one with the largest unit would decide each row's norm
        scaler = StandardScaler().fit(train[0])
        train = (scaler.transform(train[0]), train[1])
        scored = {split: (scaler.transform(x_ND), y_N) for split, (x_ND, y_N) in scored.items()}
    hits = {split: hits_of(train, scored[split]) for split in splits if split in scored}
    return hit_metrics(measure, frozen, hits)


def measure_linear(frozen: FrozenStudent) -> Measured:
    """Acc@1 of logistic regression, as `feature_metrics.linear_hits`."""
    return _evaluate_classifier(frozen, "linear", feature_metrics.linear_hits)


def measure_knn(frozen: FrozenStudent) -> Measured:
    """Acc@1 of the nearest neighbours, as `feature_metrics.knn_hits`."""
    return _evaluate_classifier(frozen, "knn", feature_metrics.knn_hits)


def measure_few_shot(frozen: FrozenStudent) -> Measured:
    """Accuracy as a function of the number of labelled windows of each class."""
    hits_of = partial(feature_metrics.few_shot_hits, seed=frozen.seed)
    return _evaluate_classifier(frozen, "few-shot", hits_of, splits=("test",))


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


@torch.inference_mode()
def embed(head: nn.Module, feature_ND: Tensor) -> npt.NDArray[np.float32]:
    """L2-normalised output of a projector."""
    return F.normalize(head.eval()(feature_ND.float()), dim=1).numpy()


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
