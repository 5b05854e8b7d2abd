"""Metrics with confidence intervals for new seeds and new groups, from stored predictions.

The trials passed in differ only by seed and fold. The folds of a seed are one repetition, whose
predictions are pooled: on the data set that they were trained on every window is then in test
once, by a student that saw nothing of its group. On another data set each window is predicted by
the student of every fold, and its hits are their mean. It knows no sweep and no report. Shape
letters as in `stats`, where a repetition is a seed; K classes.
"""

import math
import re
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from comodo.config.measures import DECLARED, OF_CLASSIFIER
from comodo.config.metric import Metric
from comodo.core.store import Store
from comodo.evaluation import calibration, feature_metrics
from comodo.evaluation.labelled_features import UNSEEN_CLASS
from comodo.evaluation.stats import (
    Comparison,
    FloatArray,
    Interval,
    accuracy_interval,
    accuracy_on_group,
    compare,
    jackknife_interval,
)
from comodo.search.trial import Trial

CONFIDENCE = 0.95


class Predictions:
    """The stored predictions of finished trials; each file is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, str, str], pd.DataFrame | None] = {}
        self._hits: dict[tuple[Hashable, ...], pd.DataFrame | None] = {}

    def of(self, trial: Trial, dataset: str, measure: str = "probe") -> pd.DataFrame | None:
        """A row for each scored window (see `evaluate.Measured`); None where there are none."""
        key = (trial.key, dataset, measure)
        if key not in self._read:
            table = trial.predictions(self._store, dataset, measure)
            self._read[key] = None if table is None else table.to_pandas()
        return self._read[key]

    def interval(self, trials: list[Trial], metric: Metric) -> Interval | None:
        """A metric with its confidence interval; here `metric.dataset` must name the data set.

        None if it has no predictions, like alignment, or was not measured. With one group both
        bounds are NaN.
        """
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
        return None if table is None else _interval(*table)

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
            table = self._hits_of(repetition, split, k, dataset, measure)
            if table is None:
                return None
            tables.append(table)
        if not tables:
            return None
        students = _students(trials, dataset)
        hits_SG = np.stack([table["sum"].to_numpy(np.float64) for table in tables])
        return hits_SG / students, tables[0]["count"].to_numpy(np.float64) / students

    def _hits_of(
        self, trials: list[Trial], split: str, k: int | str, dataset: str, measure: str
    ) -> pd.DataFrame | None:
        """The hits of one repetition, `sum`, and its windows, `count`, in each group; computed
        once, for a report shows them of a trial, of its configuration and of differences. None
        without predictions, or if `k` was not measured in every fold."""
        key = (*(trial.key for trial in trials), split, k, dataset, measure)
        if key not in self._hits:
            found = self._of_split(trials, split, dataset, measure)
            lacks = isinstance(k, str) and any(k not in f or f[k].isna().any() for f in found)
            self._hits[key] = None
            if found and not lacks:
                (predictions,) = found
                hits = predictions[k] if isinstance(k, str) else predictions["rank"] < k
                self._hits[key] = hits.groupby(predictions.group).agg(["sum", "count"])
        return self._hits[key]

    def is_certain(self, trial: Trial, metric: Metric) -> bool:
        """Whether a metric is Acc@k of no more than k classes, which earlier versions measured."""
        match = re.fullmatch(r"acc(\d)", metric.name)
        dataset = metric.dataset or trial.config.dataset
        if match is None or _kept_by(metric.measure) != "classes":
            return False
        return self._is_certain(trial, int(match[1]), dataset, metric.measure)

    def _is_certain(self, trial: Trial, k: int, dataset: str, measure: str) -> bool:
        if k == 1 or (predictions := self.of(trial, dataset, measure)) is None:
            return False
        known = predictions[predictions["rank"] != UNSEEN_CLASS]
        named = {*known["label"], *predictions["predicted"]}
        return max(len(named), known["rank"].max() + 1) <= k

    def only_one_hits(
        self, firsts: list[Trial], seconds: list[Trial], split: str, dataset: str
    ) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Of each pair of repetitions, the number of windows in each group that only the first
        [S, G], and that only the second [S, G], classified correctly, and of all windows [G]; None
        without predictions. `firsts` and `seconds` have the same seeds and folds, in the same
        order. Raises ValueError for trials that were not measured on the same windows."""
        of_firsts, of_seconds = (
            self._of_split(trials, split, dataset, "probe") for trials in (firsts, seconds)
        )
        if not of_firsts or not of_seconds:
            return None
        tables = []
        for one, other in zip(of_firsts, of_seconds, strict=True):
            for column in ("group", "label"):
                if one[column].tolist() != other[column].tolist():
                    raise ValueError(f"trials cannot be paired: {column}s of their windows differ")
            hit_N, other_N = ((x["rank"] == 0).to_numpy() for x in (one, other))
            only = pd.DataFrame({"first": hit_N & ~other_N, "second": other_N & ~hit_N})
            tables.append(only.groupby(one["group"].to_numpy()).agg(["sum", "count"]))
        counts = np.stack([table.to_numpy(np.float64) for table in tables])
        first_SG, count_SG, second_SG, _ = np.moveaxis(counts / _students(firsts, dataset), -1, 0)
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
            accuracy = _interval(hits_SG / students, count_G / students)
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

    def _macro_average(self, trials: list[Trial], metric: Metric) -> Interval | None:
        """A macro-averaged metric, with its delete-one-group jackknife interval."""
        estimate_S, replicate_SG, count_G = [], [], np.zeros(0)
        for predictions in self._of_split(trials, metric.split, metric.dataset, metric.measure):
            columns = (predictions[key].to_numpy(str) for key in ("label", "predicted", "group"))
            confusion_GKK = feature_metrics.confusion_matrices(*columns)
            total_KK = confusion_GKK.sum(0)
            count_G = confusion_GKK.sum((1, 2)) / _students(trials, metric.dataset)
            several = len(confusion_GKK) > 1  # deleting a single group would leave no windows
            rest_GKK = total_KK - confusion_GKK if several else confusion_GKK
            estimate_S.append(feature_metrics.macro_averages(total_KK)[metric.name])
            replicate_SG.append(feature_metrics.macro_averages(rest_GKK)[metric.name])
        return _jackknifed(estimate_S, replicate_SG, count_G)

    def _calibration(self, trials: list[Trial], metric: Metric) -> Interval | None:
        """A calibration score, with its interval like a macro-averaged metric."""
        estimate_S, replicate_SG, count_G = [], [], np.zeros(0)
        prefix = OF_CLASSIFIER if metric.name.startswith(OF_CLASSIFIER) else ""
        name = metric.name.removeprefix(prefix)
        for predictions in self._of_split(trials, metric.split, metric.dataset, metric.measure):
            if f"{prefix}brier" not in predictions:
                return None
            columns = {key: predictions[f"{prefix}{key}"].to_numpy() for key in calibration.COLUMNS}
            replicates, count_G = calibration.replicates(columns, predictions.group.to_numpy(str))
            estimate_S.append(calibration.scores(columns)[name])
            replicate_SG.append(replicates[name])
        count_G = np.asarray(count_G) / _students(trials, metric.dataset)
        return _jackknifed(estimate_S, replicate_SG, count_G)


def _kept_by(measure: str) -> str:
    """What a measure keeps of each window, see `Declaration.keeps`."""
    if measure == "student":
        return "nothing"
    return DECLARED[measure].keeps if measure in DECLARED else "scores"


def _jackknifed(
    estimate_S: Sequence[npt.ArrayLike], replicate_SG: Sequence[FloatArray], count_G: npt.ArrayLike
) -> Interval | None:
    """None without seeds; without bounds for one group."""
    if not estimate_S:
        return None
    estimates_S = np.array(estimate_S, np.float64)
    interval = jackknife_interval(estimates_S, replicate_SG, count_G, CONFIDENCE)
    return interval or Interval(float(estimates_S.mean()), math.nan, math.nan)


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


def _interval(hits_SG: np.ndarray, count_G: np.ndarray) -> Interval:
    mean = float(hits_SG.sum() / (len(hits_SG) * count_G.sum()))
    return accuracy_interval(hits_SG, count_G, CONFIDENCE) or Interval(mean, math.nan, math.nan)
