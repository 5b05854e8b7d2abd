"""Metrics made of the predictions for single windows, with intervals for new seeds and new groups.

The trials passed in belong to one configuration and differ by seed. Knows no sweep and no report.
Shapes as in `stats`, and K classes.
"""

import math
import re

import numpy as np
import pandas as pd

from comodo.config.metric import Metric
from comodo.core.store import Store
from comodo.evaluation import feature_metrics
from comodo.evaluation.stats import FloatArray, Interval, interval, jackknife
from comodo.search.trial import Trial

CONFIDENCE = 0.95
CLASS_MEASURES = ("probe", "classifier", "direct")
"""Measures that predict a class for each window."""
HITS_MEASURES = ("linear", "knn", "few-shot", "zero-shot")
"""Measures of which only the share of hits is known for each window."""


class Predictions:
    """The predictions of finished trials, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, str, str], pd.DataFrame | None] = {}

    def of(self, trial: Trial, dataset: str, measure: str = "probe") -> pd.DataFrame | None:
        """A row for each scored window (see `evaluate.Measured`); None where there are none."""
        asked = (trial.key, dataset, measure)
        if asked not in self._read:
            table = trial.predictions(self._store, dataset, measure)
            self._read[asked] = None if table is None else table.to_pandas()
        return self._read[asked]

    def interval(self, trials: list[Trial], metric: Metric) -> Interval | None:
        """A metric with its data set.

        None where there are no predictions of single windows, as of alignment, or it was not
        measured. Without a second seed and a second group both bounds are NaN.
        """
        column: int | str
        if metric.measure in HITS_MEASURES and not metric.name.endswith("_std"):
            column = metric.column
        elif metric.measure not in CLASS_MEASURES:
            return None
        elif metric.name in feature_metrics.SUMMARIES:
            return self._summary(trials, metric)
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

        `k`: how many classes count as right, or the column of a measure that stores hits.
        """
        tables = []
        for answers in self._of_split(trials, split, dataset, measure) or ():
            if isinstance(k, str) and k not in answers:
                return None
            hits = answers[k] if isinstance(k, str) else answers["rank"] < k
            tables.append(hits.groupby(answers.group).agg(["sum", "count"]))
        if not tables:
            return None
        hits_SG = np.stack([table["sum"].to_numpy(np.float64) for table in tables])
        return hits_SG, tables[0]["count"].to_numpy(np.float64)

    def by(self, trials: list[Trial], column: str, dataset: str) -> pd.DataFrame:
        """Test Acc@1 of the probe for each class (`label`) or `group`, with its interval.

        Columns: the class or group, acc1, low, high (empty where there is none), windows.
        """
        found = self._of_split(trials, "test", dataset, "probe") or []
        seeds = [answers.assign(seed=seed) for seed, answers in enumerate(found)]
        answers = pd.concat(seeds)
        answers["hit"] = answers["rank"] == 0
        rows = []
        for name, part in answers.groupby(column):
            counts = part.groupby(["seed", "group"]).hit.agg(["sum", "count"]).unstack()
            hits_SG, count_SG = counts["sum"].to_numpy(), counts["count"].to_numpy()
            accuracy = _interval(hits_SG, count_SG[0])
            bounds = (accuracy.mean, accuracy.low, accuracy.high)
            rows.append((name, *bounds, int(count_SG[0].sum())))
        return pd.DataFrame(rows, columns=[column, "acc1", "low", "high", "windows"])

    def _of_split(
        self, trials: list[Trial], split: str, dataset: str, measure: str
    ) -> list[pd.DataFrame] | None:
        """Each trial's predictions; None if one has none."""
        found = []
        for trial in trials:
            answers = self.of(trial, dataset, measure)
            if answers is None or not (answers.split == split).any():
                return None
            found.append(answers[answers.split == split])
        return found

    def _summary(self, trials: list[Trial], metric: Metric) -> Interval | None:
        whole_S, without_SG, count_G = [], [], np.zeros(0)
        found = self._of_split(trials, metric.split, metric.dataset, metric.measure)
        for answers in found or ():
            columns = (answers[key].to_numpy(str) for key in ("label", "predicted", "group"))
            confusion_GKK = feature_metrics.confusions(*columns)
            total_KK, count_G = confusion_GKK.sum(0), confusion_GKK.sum((1, 2))
            several = len(confusion_GKK) > 1  # without a single group nothing is left
            without_GKK = total_KK - confusion_GKK if several else confusion_GKK
            whole_S.append(feature_metrics.summaries(total_KK)[metric.name])
            without_SG.append(feature_metrics.summaries(without_GKK)[metric.name])
        if not whole_S:
            return None
        summary = jackknife(whole_S, without_SG, count_G, CONFIDENCE)
        return summary or Interval(float(np.mean(whole_S)), math.nan, math.nan)


def _interval(hits_SG: np.ndarray, count_G: np.ndarray) -> Interval:
    mean = float(hits_SG.sum() / (len(hits_SG) * count_G.sum()))
    return interval(hits_SG, count_G, CONFIDENCE) or Interval(mean, math.nan, math.nan)
