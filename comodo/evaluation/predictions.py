"""Metrics with confidence intervals for new seeds and new groups, from stored predictions.

The trials passed in differ only by seed and fold. The folds of a seed are one repetition, whose
predictions are pooled: on the data set that they were trained on every window is then in test
once, by a student that saw nothing of its group. On another data set each window is predicted by
the student of every fold, and its hits are their mean. It knows no sweep and no report. Shape
letters as in `stats`, where a repetition is a seed; K classes.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from comodo.config.measures import DECLARED, OF_CLASSIFIER
from comodo.config.metric import Metric
from comodo.core.store import Store
from comodo.evaluation import calibration, feature_metrics
from comodo.evaluation.batches import (
    Estimate,
    accuracy_estimate,
    intervals,
    jackknife_estimate,
)
from comodo.evaluation.predicted_classes import (
    PredictedClasses,
    by_split,
    classes_named,
    pooled,
)
from comodo.evaluation.stats import (
    Comparison,
    FloatArray,
    Interval,
    accuracy_on_group,
    compare,
)
from comodo.search.trial import Trial

COUNT = "windows"  # a column of sums, next to those of the scores, which have their measure's name
CONFIDENCE = 0.95


class Predictions:
    """The stored predictions of finished trials; each file of predicted classes is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[Hashable, dict[str, PredictedClasses] | None] = {}
        self._pooled: dict[Hashable, list[PredictedClasses]] = {}
        self._sums: dict[Hashable, pd.DataFrame | None] = {}
        self._calibrations: dict[Hashable, dict[str, Estimate]] = {}
        self._intervals: dict[Hashable, Interval | None] = {}
        self._shared: dict[Hashable, Any] = {}

    def of(self, trial: Trial, dataset: str, measure: str = "probe") -> pd.DataFrame | None:
        """A row for each scored window (see `evaluate.Measured`); None where there are none."""
        table = trial.predictions(self._store, dataset, measure)
        return None if table is None else table.to_pandas()

    def _classes_of(
        self, trial: Trial, dataset: str, measure: str
    ) -> dict[str, PredictedClasses] | None:
        """The predicted classes of a trial, by split; None where there are none."""
        key = trial.key, dataset, measure
        if key not in self._read:
            table = trial.predictions(self._store, dataset, measure)
            self._read[key] = None if table is None else by_split(table, self._shared)
        return self._read[key]

    def interval(
        self, trials: list[Trial], metric: Metric, others: Iterable[list[Trial]] = ()
    ) -> Interval | None:
        """A metric with its confidence interval; here `metric.dataset` must name the data set.

        None if it has no predictions, like alignment, or was not measured. With one group both
        bounds are NaN. `others`: configurations whose interval will be wanted too; it takes little
        longer to compute them all at once.
        """
        key = _keys(trials), metric
        if key not in self._intervals:
            wanted = {_keys(of): of for of in (trials, *others)}
            found = {keys: self._estimate(of, metric) for keys, of in wanted.items()}
            known = [estimate for estimate in found.values() if estimate is not None]
            bounds = iter(intervals(known, CONFIDENCE))
            for keys, estimate in found.items():
                self._intervals[keys, metric] = None if estimate is None else next(bounds)
        return self._intervals[key]

    def _estimate(self, trials: list[Trial], metric: Metric) -> Estimate | None:
        column: int | str
        keeps = _kept_by(metric.measure)
        if keeps == "scores" and not metric.name.endswith("_std"):
            column = metric.column
        elif keeps == "calibration":
            return self._calibration(trials, metric)
        elif keeps != "classes":
            return None
        elif metric.name in feature_metrics.MACRO_AVERAGES:
            return self._macro_average(trials, metric)
        elif match := re.fullmatch(r"acc(\d)", metric.name):
            column = int(match[1])
        else:
            return None
        table = self.hits(trials, metric.split, column, metric.dataset, metric.measure)
        return None if table is None else accuracy_estimate(*table)

    def hits(
        self, trials: list[Trial], split: str, k: int | str, dataset: str, measure: str = "probe"
    ) -> tuple[FloatArray, FloatArray] | None:
        """`hits_SG` and `count_G` of trials on a split of a data set; None without predictions.

        `k` is that of top-k accuracy or, for a measure that stores hits, the name of their column.
        None too if there were no more than k classes.
        """
        if isinstance(k, int) and all(self._is_certain(t, k, dataset, measure) for t in trials):
            return None
        tables = []
        for repetition in _repetitions(trials):
            if isinstance(k, int):
                classes = self._classes(repetition, split, dataset, measure)
                of_groups = [predicted.hits(k) for predicted in classes]
            else:
                sums = self._scores(repetition, split, dataset, measure)
                if sums is None or k not in sums:
                    return None
                of_groups = [(sums[k].to_numpy(), sums[COUNT].to_numpy())]
            if not of_groups:
                return None
            tables += of_groups
        if not tables:
            return None
        students = _students(trials, dataset)
        hits_SG = np.stack([hits_G for hits_G, _ in tables]).astype(np.float64)
        return hits_SG / students, tables[0][1].astype(np.float64) / students

    def _classes(
        self, repetition: list[Trial], split: str, dataset: str, measure: str
    ) -> list[PredictedClasses]:
        """The predicted classes of a repetition; empty if any of its trials has none."""
        place = _keys(repetition), split, dataset, measure
        if place not in self._pooled:
            folds = [self._classes_of(trial, dataset, measure) for trial in repetition]
            known = [fold[split] for fold in folds if fold is not None and split in fold]
            self._pooled[place] = [pooled(known)] if len(known) == len(folds) else []
        return self._pooled[place]

    def _scores(
        self, repetition: list[Trial], split: str, dataset: str, measure: str
    ) -> pd.DataFrame | None:
        """Of each group of a repetition the sum of each column of scores that has one for every
        window, and the windows; None without predictions."""
        place = _keys(repetition), split, dataset, measure
        if place not in self._sums:
            self._sums[place] = None
            for table in self._of_split(repetition, split, dataset, measure):
                whole = table.drop(columns="split").dropna(axis=1)
                by_group = whole.groupby("group")
                self._sums[place] = by_group.sum().assign(**{COUNT: by_group.size()})
        return self._sums[place]

    def is_certain(self, trial: Trial, metric: Metric) -> bool:
        """Whether a metric is Acc@k of no more than k classes, which earlier versions measured."""
        match = re.fullmatch(r"acc(\d)", metric.name)
        dataset = metric.dataset or trial.config.dataset
        if match is None or _kept_by(metric.measure) != "classes":
            return False
        return self._is_certain(trial, int(match[1]), dataset, metric.measure)

    def _is_certain(self, trial: Trial, k: int, dataset: str, measure: str) -> bool:
        if k == 1 or (predictions := self._classes_of(trial, dataset, measure)) is None:
            return False
        return classes_named(list(predictions.values())) <= k

    def only_one_hits(
        self, firsts: list[Trial], seconds: list[Trial], split: str, dataset: str
    ) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Of each pair of repetitions, the number of windows in each group that only the first
        [S, G], and that only the second [S, G], classified correctly, and of all windows [G]; None
        without predictions. `firsts` and `seconds` have the same seeds and folds, in the same
        order. Raises ValueError for trials that were not measured on the same windows."""
        tables = []
        pairs = zip(_repetitions(firsts), _repetitions(seconds), strict=True)
        for first, second in pairs:
            one, other = (self._classes(x, split, dataset, "probe") for x in (first, second))
            if not one or not other:
                return None
            tables.append(one[0].only_hits(other[0]))
        if not tables:
            return None
        counts = (np.stack(of) / _students(firsts, dataset) for of in zip(*tables, strict=True))
        first_SG, second_SG, count_SG = counts
        count_G = np.maximum(count_SG[0], (first_SG + second_SG).max(0))  # equal but for rounding
        return first_SG, second_SG, count_G

    def paired(self, trials: list[Trial], first: Metric, second: Metric) -> Comparison | None:
        """The difference of two metrics of one measure that stores hits, on the same windows,
        paired by seed, group and window; here `dataset` must name the data set. None where they
        were not measured."""
        first_SG, second_SG, count_G = [], [], pd.Series(dtype=float)
        for table in self._of_split(trials, first.split, first.dataset, first.measure):
            names = [first.column, second.column]
            if not set(names) <= set(table.columns) or table[names].isna().any(axis=None):
                return None
            gain = table[first.column] - table[second.column]
            parts = pd.DataFrame({"first": gain.clip(lower=0), "second": (-gain).clip(lower=0)})
            sums = parts.groupby(table.group.to_numpy()).agg("sum")
            first_SG.append(sums["first"].to_numpy())
            second_SG.append(sums["second"].to_numpy())
            count_G = table.groupby("group").size()
        return compare(first_SG, second_SG, count_G, CONFIDENCE) if first_SG else None

    def by(self, trials: list[Trial], column: str, dataset: str) -> pd.DataFrame:
        """Test Acc@1 of the probe for each class (`label`), with its interval for new seeds and new
        groups, or for each `group`, with that for new seeds.

        Columns: the class or group, acc1, low, high (NaN without an interval), windows.
        """
        tables = self._of_split(trials, "test", dataset, "probe")
        students = _students(trials, dataset)
        predictions = pd.concat([table.assign(seed=seed) for seed, table in enumerate(tables)])
        predictions["hit"] = predictions["rank"] == 0
        rows = []
        for name, part in predictions.groupby(column):
            counts = part.groupby(["seed", "group"]).hit.agg(["sum", "count"]).unstack()
            hits_SG, count_G = counts["sum"].to_numpy(), counts["count"].to_numpy()[0]
            estimate = accuracy_estimate(hits_SG / students, count_G / students)
            (accuracy,) = intervals([estimate], CONFIDENCE)
            if column == "group":
                on_group = accuracy_on_group(hits_SG / students, count_G[0] / students, CONFIDENCE)
                accuracy = on_group or accuracy
            windows = round(count_G.sum() / students)
            rows.append((name, accuracy.mean, accuracy.low, accuracy.high, windows))
        return pd.DataFrame(rows, columns=[column, "acc1", "low", "high", "windows"])

    def _of_split(
        self, trials: list[Trial], split: str, dataset: str, measure: str
    ) -> list[pd.DataFrame]:
        """The predictions of each repetition, fold by fold; empty if any trial has none."""
        tables = []
        for repetition in _repetitions(trials):
            folds = [self.of(trial, dataset, measure) for trial in repetition]
            found = [fold[fold.split == split] for fold in folds if fold is not None]
            if len(found) < len(folds) or any(fold.empty for fold in found):
                return []
            tables.append(pd.concat(found, ignore_index=True))
        return tables

    def _macro_average(self, trials: list[Trial], metric: Metric) -> Estimate | None:
        """A macro-averaged metric, with its delete-one-group jackknife replicates."""
        estimate_S, replicate_SG, count_G = [], [], np.zeros(0)
        for repetition in _repetitions(trials):
            found = self._classes(repetition, metric.split, metric.dataset, metric.measure)
            if not found:
                return None
            confusion_GKK = found[0].confusion()
            total_KK = confusion_GKK.sum(0)
            count_G = confusion_GKK.sum((1, 2)) / _students(trials, metric.dataset)
            several = len(confusion_GKK) > 1  # deleting a single group would leave no windows
            rest_GKK = total_KK - confusion_GKK if several else confusion_GKK
            estimate_S.append(feature_metrics.macro_averages(total_KK)[metric.name])
            replicate_SG.append(feature_metrics.macro_averages(rest_GKK)[metric.name])
        return jackknife_estimate(estimate_S, replicate_SG, count_G) if estimate_S else None

    def _calibration(self, trials: list[Trial], metric: Metric) -> Estimate | None:
        """A calibration score, with its replicates like a macro-averaged metric."""
        prefix = OF_CLASSIFIER if metric.name.startswith(OF_CLASSIFIER) else ""
        place = _keys(trials), metric.split, metric.dataset, prefix
        if place not in self._calibrations:
            self._calibrations[place] = self._calibrated(trials, metric, prefix)
        return self._calibrations[place].get(metric.name.removeprefix(prefix))

    def _calibrated(self, trials: list[Trial], metric: Metric, prefix: str) -> dict[str, Estimate]:
        """Both scores of the same measure on the same split."""
        estimate_S, replicate_SG, count_G = [], [], np.zeros(0)
        for predictions in self._of_split(trials, metric.split, metric.dataset, metric.measure):
            if f"{prefix}brier" not in predictions:
                return {}
            columns = {key: predictions[f"{prefix}{key}"].to_numpy() for key in calibration.COLUMNS}
            replicates, count_G = calibration.replicates(columns, predictions.group.to_numpy(str))
            estimate_S.append(calibration.scores(columns))
            replicate_SG.append(replicates)
        if not estimate_S:
            return {}
        count_G = np.asarray(count_G) / _students(trials, metric.dataset)
        return {
            name: jackknife_estimate(
                [each[name] for each in estimate_S], [each[name] for each in replicate_SG], count_G
            )
            for name in estimate_S[0]
        }


def _kept_by(measure: str) -> str:
    """What a measure keeps of each window, see `Declaration.keeps`."""
    if measure == "student":
        return "nothing"
    return DECLARED[measure].keeps if measure in DECLARED else "scores"


def _keys(trials: Iterable[Trial]) -> tuple[str, ...]:
    return tuple(trial.key for trial in trials)


def _repetitions(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials of each repetition, fold by fold."""
    found = dict[tuple[int, int], list[Trial]]()
    for place, trial in enumerate(trials):
        found.setdefault((trial.seed, -1 if trial.fold else place), []).append(trial)
    return list(found.values())


def _students(trials: list[Trial], dataset: str) -> int:
    """How many students of a repetition predict each window of a data set."""
    if trials[0].config.dataset == dataset:
        return 1
    return len({trial.fold.number for trial in trials if trial.fold}) or 1
