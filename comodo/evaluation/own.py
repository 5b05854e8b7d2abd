"""Measures that are classes of another package or of the user's file.

Such a class is built with its settings, and called with the windows of train and those of a split
to measure, for val and for test. Shape letters: N windows, D student features, F teacher features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sklearn.preprocessing import StandardScaler

from comodo.config.measures import MEASURES, OF_MEASURING, SCORED_SPLITS, Measure, Measures
from comodo.config.metric import Metric
from comodo.core.errors import ComodoError, is_passing
from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.labelled_features import EvaluateError
from comodo.evaluation.measured import Measured


@dataclass(frozen=True)
class Windows:
    """What a measure sees of a split: the labelled windows, of train at most 50,000 of them."""

    features_ND: npt.NDArray[np.float32]
    """Of the frozen student; hand-crafted ones are standardised by the train windows."""
    label_N: npt.NDArray[np.int64]
    """Indices of `classes`; with `NEEDS_LABELS = False` also -1, of windows without a label."""
    group_N: npt.NDArray[np.str_]
    """The people, captures or days that the windows are of."""
    classes: tuple[str, ...]
    """All classes of the data set."""
    teacher_NF: npt.NDArray[np.float32] | None = None
    """With `NEEDS_TEACHER = True` the teacher's features; then all windows have video."""


def refuse_unusable(measures: Measures) -> None:
    """Raises ValueError for a measure of another package or file that cannot be built."""
    for settings in measures.own.values():
        _built(settings, seed=0)


def measure_own(settings: Measure, frozen: FrozenStudent) -> Measured:
    """The metrics of such a measure on val and test, with a row for each window if it gives some of
    them for each.

    Raises EvaluateError, `evaluate.own-measure`, for one that fails or gives anything else, and
    ValueError for one that cannot be built.
    """
    measure, metrics, tables = _built(settings, frozen.seed), dict[str, float](), []
    found = {split: _windows(frozen, settings, split) for split in ("train", *SCORED_SPLITS)}
    windows = {split: of for split, of in found.items() if of is not None}
    if "train" not in windows:
        raise _failed(settings, "the train split has none of the windows that it needs")
    if frozen.is_hand_crafted:  # or the one with the largest unit would decide each distance
        scaler = StandardScaler().fit(windows["train"].features_ND)
        windows = {
            split: replace(of, features_ND=scaler.transform(of.features_ND))
            for split, of in windows.items()
        }
    train = windows.pop("train")
    for split, scored in windows.items():
        columns: dict[str, Any] = {}
        for name, value in _given(settings, measure, train, scored).items():
            metric = Metric(split, name, settings.name)
            metrics[str(metric)] = float(value.mean())
            if value.ndim:
                columns[metric.column] = value
        if columns:
            split_N = [split] * len(scored.label_N)
            tables.append(pa.table({"split": split_N, "group": scored.group_N, **columns}))
    return Measured(
        metrics, pa.concat_tables(tables, promote_options="default") if tables else None
    )


def _windows(frozen: FrozenStudent, settings: Measure, split: str) -> Windows | None:
    """None if the split has none of the windows that the measure needs."""
    needs, part = settings.declared, frozen.windows.splits.get(split)
    if part is None:
        return None
    index_N = part.labelled_N if needs.needs_labels else torch.arange(len(part))
    if split == "train":
        index_N = frozen.training_subset(index_N)
    kept_N, teacher_NF = torch.arange(len(index_N)), None
    if needs.teacher_splits:
        assert frozen.teacher is not None
        features = frozen.teacher.features
        kept_N = torch.nonzero(torch.isin(index_N, features.encoded[split])).squeeze(1)
        teacher_NF = features.gather(split, index_N[kept_N]).float().numpy()
    if not len(kept_N):
        return None
    labelled = frozen.labelled(split) if needs.needs_labels else None  # shared with other measures
    features_ND = frozen.extract(split, index_N) if labelled is None else labelled[0]
    index_N, features_ND = index_N[kept_N], features_ND[kept_N.numpy()]
    groups, classes = frozen.groups(split, index_N), tuple(frozen.windows.classes)
    return Windows(features_ND, part.label_N[index_N].numpy(), groups, classes, teacher_NF)


def _built(settings: Measure, seed: int) -> Any:
    code, own = settings.read_code, settings.own_code
    if code is None:
        raise ValueError(f"{settings.name}: only its settings were recorded, not its file's code")
    measure = MEASURES.get(settings.member) if own is None else own.run()
    taken = {key: seed for key in OF_MEASURING if key in (code.arguments or ())}
    try:
        built = measure(**taken, **settings.settings)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{code.name} of {code.file} cannot be used: {reason}") from error
    if not callable(built):
        raise ValueError(f"{code.name} of {code.file} needs a method __call__(self, train, scored)")
    return built


def _given(
    settings: Measure, measure: Any, train: Windows, scored: Windows
) -> dict[str, npt.NDArray[np.float64]]:
    """What the measure gives of a split, by metric: a number [] or scores [N] from 0 to 1."""
    names, windows = settings.declared.metrics, len(scored.label_N)
    try:
        given = measure(train, scored)
        if not isinstance(given, Mapping) or {*given} != {*names}:
            shown = sorted(given) if isinstance(given, Mapping) else type(given).__name__
            raise _failed(settings, f"has to give a dict with {', '.join(names)}, not {shown}")
        values = {name: np.asarray(given[name], np.float64) for name in names}
    except Exception as error:
        if isinstance(error, ComodoError) or is_passing(error):
            raise
        raise _failed(settings, f"{type(error).__name__}: {error}") from error
    for name, value in values.items():
        if value.shape not in ((), (windows,)):
            needed = f"a number or {windows} scores, one of each window"
            raise _failed(settings, f"{name} has to be {needed}, not of shape {value.shape}")
        if not np.isfinite(value).all():
            raise _failed(settings, f"{name} is {value[~np.isfinite(value)][0]} on some windows")
        if value.ndim and (value.min() < 0 or value.max() > 1):
            found = f"{value.min():g} to {value.max():g}"
            raise _failed(
                settings, f"scores of {name} are {found}, and not from 0 to 1; give the mean"
            )
    return values


def _failed(settings: Measure, reason: str) -> EvaluateError:
    code = settings.read_code
    called = settings.name if code is None else f"{code.name} of {code.file}"
    return EvaluateError("evaluate.own-measure", f"the measure {called}: {reason}")
