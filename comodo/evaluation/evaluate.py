"""What is measured of a frozen student on one data set.

The measures themselves are in `probe` and `measures`, the student with its features in `subject`.
Knows neither how the student was trained nor where results go.

Shapes: N windows, D numbers in a feature, F in a teacher's, K classes.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comodo.config.metric import Measure, Metric, accuracy
from comodo.evaluation import feature_metrics
from comodo.evaluation.frozen_student import SCORED_SPLITS, EvaluateError, FrozenStudent, Labelled
from comodo.evaluation.probe import SVMProbe
from comodo.models.features import extract_features

UNKNOWN = np.iinfo(np.int64).max  # rank of a class that the probe was not fitted on
MIN_ALIGNED, MAX_ALIGNED = 12, 2_000  # windows whose features are compared with the teacher's


class Measured(NamedTuple):
    metrics: dict[str, float]
    predictions: pa.Table | None = None
    """A row for each scored window: split, group, and either label, predicted and rank of the true
    class by probability (0 is the first), or for each metric the share of draws that were right."""


def measure_probe(subject: FrozenStudent) -> Measured:
    """The SVM probe: fitted on the labelled train windows, scored on val and test.

    Metrics: `val/acc1` ... `test/acc5`, `.../balanced_accuracy`, `.../macro_f1` (shares, not
    percent; only of splits that have labels), and `probe/C`.

    Raises:
        EvaluateError: no labelled train windows.
    """
    return _probed("probe", subject, subject)


def measure_direct(subject: FrozenStudent) -> Measured:
    """The probe of the data set trained on, scored here: no label of this data set is learnt from.

    Both data sets are cut to the classes that they share. Metrics as of the probe, under `direct/`.

    Raises:
        EvaluateError: fewer than two shared classes.
    """
    assert subject.source is not None
    in_train = _names(subject.source, [subject.source.train()])
    shared = sorted(in_train & _names(subject, subject.scored().values()))
    if len(shared) < 2:
        raise EvaluateError(
            f"direct: the data sets share the classes {shared}, two are needed; "
            "name what is the same in label_map"
        )
    return _probed("direct", subject.source, subject, shared)


def measure_classifier(subject: FrozenStudent) -> Measured:
    """The classifier that a student was trained as on labels, without a probe.

    It sees padding as in training. Metrics as of the probe, under `classifier/`.
    """
    assert subject.head is not None
    names_K = np.array(subject.windows.classes)
    answers = []
    for split in SCORED_SPLITS:
        part = subject.windows.splits.get(split)
        if part is not None and len(index_N := part.labelled_N):
            score_NK = extract_features(subject.student, part, index_N, head=subject.head).double()
            label_N = names_K[part.label_N[index_N].numpy()]
            group_N = _groups(subject, split, None)
            answers.append((split, group_N, label_N, score_NK.softmax(1).numpy()))
    return _judged("classifier", answers, names_K)


def _names(subject: FrozenStudent, labelled: Iterable[Labelled]) -> set[str]:
    """The classes that some labelled windows have, by their shared names."""
    found = {subject.windows.classes[label] for _, label_N in labelled for label in set(label_N)}
    return {subject.common_name.get(name, name) for name in found}


def fit_probe(subject: FrozenStudent, classes: list[str] | None = None) -> SVMProbe:
    """The probe that the measures use: of the labelled train windows, or those of some classes.

    Raises:
        EvaluateError: no labelled train windows.
    """
    train_ND, label_N = _by_name(subject, subject.train(), classes)
    return SVMProbe(seed=subject.seed, ties=subject.ties).fit(train_ND, label_N)


def _probed(
    measure: Measure,
    fitted_on: FrozenStudent,
    scored_on: FrozenStudent,
    classes: list[str] | None = None,
) -> Measured:
    """A probe fitted on one data set and scored on another, or the same; `classes` are kept."""
    fitted = fit_probe(fitted_on, classes)
    answers = []
    for split, labelled in scored_on.scored().items():
        features_ND, label_N = _by_name(scored_on, labelled, classes)
        if len(label_N):
            group_N = _groups(scored_on, split, classes)
            answers.append((split, group_N, label_N, fitted.probabilities(features_ND)))
    measured = _judged(measure, answers, fitted.classes_)
    chosen = str(Metric("", "C", measure))
    return Measured({chosen: float(fitted.C_), **measured.metrics}, measured.predictions)


def _judged(
    measure: Measure,
    answers: list[tuple[str, Any, Any, Any]],
    classes_K: npt.NDArray[np.str_],
) -> Measured:
    """What splits come to: each with group and label `[N]` of its windows, and the probabilities
    of the classes `[N, K]`."""
    metrics, tables = dict[str, float](), []
    for split, group_N, label_N, probability_NK in answers:
        predicted_N = classes_K[probability_NK.argmax(1)]
        rank_N = _ranks(probability_NK, classes_K, label_N)
        for k in (1, 3, 5):
            metrics[str(accuracy(split, k, measure))] = float((rank_N < k).mean())
        summary = feature_metrics.classification(label_N, predicted_N)
        metrics |= {str(Metric(split, key, measure)): value for key, value in summary.items()}
        columns = {"group": group_N, "label": label_N, "predicted": predicted_N, "rank": rank_N}
        tables.append(pa.table({"split": [split] * len(label_N), **columns}))
    return Measured(metrics, pa.concat_tables(tables) if tables else None)


def _by_name(
    subject: FrozenStudent, labelled: Labelled, classes: list[str] | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """Labelled windows with the names of their classes; with `classes` only of those."""
    features_ND, label_N = labelled
    names = subject.windows.classes
    if classes is None:
        return features_ND, np.array(names)[label_N]
    name_N = np.array([subject.common_name.get(name, name) for name in names])[label_N]
    kept_N = np.isin(name_N, classes)
    return features_ND[kept_N], name_N[kept_N]


def _groups(subject: FrozenStudent, split: str, classes: list[str] | None) -> npt.NDArray[np.str_]:
    """Names of the groups of the windows that `_by_name` keeps."""
    part = subject.windows.splits[split]
    index_N = part.labelled_N
    group_N = np.array(subject.windows.groups)[part.group_N[index_N].numpy()]
    if classes is None:
        return group_N
    names = np.array([subject.common_name.get(name, name) for name in subject.windows.classes])
    return group_N[np.isin(names[part.label_N[index_N].numpy()], classes)]


def _ranks(
    probability_NK: npt.NDArray[np.float64],
    classes_K: npt.NDArray[np.str_],
    label_N: npt.NDArray[np.str_],
) -> npt.NDArray[np.int64]:
    """Place of the true class by falling probability, the first of equals first; a class that the
    probe does not know is beyond all."""
    order_NK = np.argsort(-probability_NK, axis=1, kind="stable")
    hit_NK = classes_K[order_NK] == label_N[:, None]
    return np.where(hit_NK.any(axis=1), hit_NK.argmax(axis=1), UNKNOWN)


def measure_linear(subject: FrozenStudent) -> Measured:
    """A logistic regression in place of the SVM: `test/linear/acc1`."""
    return _scored("linear", subject, feature_metrics.linear_hits)


def measure_knn(subject: FrozenStudent) -> Measured:
    """Nearest neighbours in place of the SVM: `test/knn/acc1`."""
    return _scored("knn", subject, feature_metrics.nearest_neighbours)


def measure_few_shot(subject: FrozenStudent) -> Measured:
    """Accuracy against the number of labelled windows of each class."""
    curve = partial(feature_metrics.few_shot_hits, seed=subject.seed)
    return _scored("few-shot", subject, curve, splits=("test",))


def _scored(
    measure: Measure,
    subject: FrozenStudent,
    hits_of: Callable[..., dict[str, feature_metrics.Hits]],
    splits: Sequence[str] = SCORED_SPLITS,
) -> Measured:
    """What a classifier fitted on the train windows gets right of the others."""
    train, scored = subject.train(), subject.scored()
    found = {split: hits_of(*train, *scored[split]) for split in splits if split in scored}
    return _of_hits(measure, subject, found)


def _of_hits(
    measure: Measure, subject: FrozenStudent, found: dict[str, dict[str, feature_metrics.Hits]]
) -> Measured:
    """Metrics, and a row for each window, of hits [N] or [draws, N] by split and name."""
    metrics: dict[str, float] = {}
    tables = []
    for split, named in found.items():
        columns: dict[str, Any] = {}
        for name, hits in named.items():
            hit_RN = np.atleast_2d(hits)
            metric = Metric(split, name, measure)
            metrics[str(metric)] = float(hit_RN.mean())
            if len(hit_RN) > 1:
                metrics[f"{metric}_std"] = float(hit_RN.mean(axis=1).std(ddof=1))
            columns[metric.column] = hit_RN.mean(axis=0)
        group_N = _groups(subject, split, None)
        tables.append(pa.table({"split": [split] * len(group_N), "group": group_N, **columns}))
    return Measured(metrics, pa.concat_tables(tables) if tables else None)


def measure_zero_shot(subject: FrozenStudent) -> Measured:
    """Student embeddings against one anchor video of each class, without any classifier."""
    assert subject.teacher is not None and subject.teacher.heads is not None
    student_head, teacher_head = subject.teacher.heads
    train = subject.windows.splits["train"]
    encoded_N = subject.teacher.features.encoded["train"]
    known_N = subject.to_learn_from(encoded_N[train.label_N[encoded_N] >= 0])
    teacher_ND = _embed(teacher_head, subject.teacher.features.gather("train", known_N))
    classes = len(subject.windows.classes)
    anchor_KD = feature_metrics.anchors(teacher_ND, train.label_N[known_N].numpy(), classes)
    return _of_hits(
        "zero-shot",
        subject,
        {
            split: feature_metrics.zero_shot_ranks(
                _embed(student_head, torch.from_numpy(features_ND)), anchor_KD, label_N
            )
            for split, (features_ND, label_N) in subject.scored().items()
        },
    )


@torch.inference_mode()
def _embed(head: nn.Module, feature_ND: Tensor) -> npt.NDArray[np.float32]:
    return F.normalize(head.eval()(feature_ND.float()), dim=1).numpy()


def measure_alignment(subject: FrozenStudent) -> Measured:
    """How alike student and teacher features of the same windows are, before any projector."""
    assert subject.teacher is not None
    features = subject.teacher.features
    metrics: dict[str, float] = {}
    for split, (student_ND, _) in subject.scored().items():
        part = subject.windows.splits[split]
        encoded_N = torch.isin(part.labelled_N, features.encoded[split])
        place_N = torch.nonzero(encoded_N).squeeze(1)
        place_N = place_N[:: max(1, -(-len(place_N) // MAX_ALIGNED))]
        if len(place_N) < MIN_ALIGNED:
            continue
        teacher_NF = features.gather(split, part.labelled_N[place_N]).numpy()
        mine_ND = student_ND[place_N.numpy()]
        alignment = {
            "cka": feature_metrics.linear_cka(mine_ND, teacher_NF),
            "neighbours": feature_metrics.neighbour_overlap(mine_ND, teacher_NF),
        }
        for name, value in alignment.items():
            metrics[str(Metric(split, name, "alignment"))] = value
    return Measured(metrics)


MEASURE_FUNCTIONS: dict[str, Callable[[FrozenStudent], Measured]] = {
    "probe": measure_probe,
    "linear": measure_linear,
    "knn": measure_knn,
    "few-shot": measure_few_shot,
    "zero-shot": measure_zero_shot,
    "alignment": measure_alignment,
    "classifier": measure_classifier,
    "direct": measure_direct,
}
