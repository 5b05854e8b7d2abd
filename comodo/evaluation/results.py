"""The results of a sweep's trials: accuracies with intervals, differences.

Reads results and predictions; draws and writes nothing. Trials with the same label are one
configuration and differ by seed and fold. A seed counts when all its folds are finished: then every
window of the data set is in test once. Accuracies are shares.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import pandas as pd

from comodo.config import NoneMethod, SupervisedMethod, Sweep
from comodo.config.measures import DECLARED
from comodo.config.metric import Metric, accuracy
from comodo.core.store import Store
from comodo.evaluation.batches import comparisons
from comodo.evaluation.importance import importances, main_effects
from comodo.evaluation.pareto import pareto_front
from comodo.evaluation.predictions import CONFIDENCE, Predictions
from comodo.evaluation.scoring import elsewhere, own_unlabelled, scored_on
from comodo.evaluation.stats import Comparison, Interval, Pair, holm, t_interval
from comodo.search.labels import Labels, distinguishing_digits, rounded
from comodo.search.records import TrainedRecord
from comodo.search.trial import Trial


@dataclass(frozen=True)
class TrialRow:
    """One trial as the tables show it."""

    trial: Trial
    label: str  # the name of its configuration within the sweep; the same for all seeds and folds
    state: str
    metrics: dict[str, float]
    reason: str = ""  # why it did not finish
    trained: TrainedRecord | None = None  # None: it has not finished

    @property
    def title(self) -> str:
        """The label, with a star where the accuracy is of its own classifier, not of a probe."""
        return f"{self.label}*" if self.trial.config.student.is_baseline else self.label


@dataclass(frozen=True)
class Difference:
    """Two configurations compared on the test split, corrected for the number of comparisons."""

    first: str
    second: str
    seeds: int
    groups: int
    comparison: Comparison
    p: float | None  # adjusted by Holm's method; None where the comparison has none

    @property
    def distinguishable(self) -> bool:
        return self.p is not None and self.p <= 1 - CONFIDENCE

    @property
    def lacks(self) -> str:
        """Why nothing follows for the two configurations, `one seed and one group in test`; empty
        if something may."""
        reasons = [*["one seed"] * (self.seeds == 1), *["one group in test"] * (self.groups == 1)]
        return " and ".join(reasons)


class Results:
    """The trials of one sweep, finished or not."""

    def __init__(
        self,
        sweep: Sweep,
        rows: list[TrialRow],
        store: Store,
        leaks: Mapping[str, dict[str, str]] | None = None,
        stage_notes: Sequence[str] = (),
    ) -> None:
        self.sweep, self.rows, self._store = sweep, rows, store
        self.leaks = leaks or {}
        """`WindowSet.leaks` of each data set."""
        self.stage_notes = stage_notes
        """Of `search.earlier_stages`."""
        self.labels = Labels(sweep)
        self.by_label: dict[str, list[TrialRow]] = {}
        """Finished trials of each configuration, in the rows' order, of seeds with all folds."""
        folds = Counter((r.label, r.trial.seed) for r in rows if r.state == "finished")
        for row in rows:
            trial = row.trial
            if row.state == "finished" and folds[row.label, trial.seed] >= trial.in_each_seed:
                self.by_label.setdefault(row.label, []).append(row)
        self.predictions = Predictions(store)
        self.accuracy = cache(self._accuracy)
        self.importances = cache(lambda: importances(*self.points()))
        """Importance of each swept key for the objective; empty for too few configurations."""

    @cached_property
    def _first_trials(self) -> dict[str, Trial]:
        return {label: rows[0].trial for label, rows in self.by_label.items()}

    @cached_property
    def varying(self) -> dict[str, dict[str, Any]]:
        """The method's name and `Labels.keys` of each configuration."""
        keys, found = ["method.name", *self.labels.keys], {}
        for label, trial in self._first_trials.items():
            settings = self.labels.settings(trial)
            found[label] = {key: settings[key] for key in keys if key in settings}
        return found

    @cached_property
    def compared_with(self) -> dict[str, tuple[str, str]]:
        """The labels of each one's untrained student and of features of its channels."""
        name, trials = self.labels.configuration, self._first_trials.items()
        return {label: (name(t.untrained), name(t.hand_crafted)) for label, t in trials}

    def title(self, label: str) -> str:
        """`TrialRow.title` of a configuration, for people to read."""
        return rounded(self.by_label[label][0].title, self.digits)

    @cached_property
    def digits(self) -> int:
        """Significant digits of drawn values in titles: as many as tell configurations apart."""
        return distinguishing_digits(row.label for row in self.rows)

    def trained_on(self, label: str) -> str:
        """The data set that a configuration was trained on."""
        return self._first_trials[label].config.dataset

    def scored_on(self, trial: Trial) -> str:
        """`scoring.scored_on` of a trial in this sweep."""
        return scored_on(trial, self.sweep)

    @cached_property
    def elsewhere(self) -> str:
        """`scoring.elsewhere` of its trials."""
        return elsewhere([row.trial for row in self.rows], self.sweep)

    def _accuracy(
        self, label: str, split: str, k: int = 1, dataset: str = "", measure: str = "probe"
    ) -> Interval | None:
        """Acc@k of a configuration on a data set, by default the one that it is `scored_on`, with
        its interval; None where it was not measured."""
        dataset = dataset or self.scored_on(self._first_trials[label])
        return self._interval(label, accuracy(split, k, measure, dataset))

    def _interval(self, label: str, metric: Metric) -> Interval | None:
        everything = map(self._trials, self.by_label)
        return self.predictions.interval(self._trials(label), metric, everything)

    def of_trial(self, row: TrialRow, split: str) -> Interval | None:
        """Acc@1 of one trial on the data set that it is `scored_on`: with that seed, on new
        groups."""
        metric = accuracy(split, dataset=self.scored_on(row.trial))
        finished = ([row.trial] for row in self.rows if row.state == "finished")
        return self.predictions.interval([row.trial], metric, finished)

    def measure(self, label: str, name: str) -> Interval | None:
        """Any measure of a configuration by its metric's name, with an interval for new seeds, from
        predictions also for new groups; None where it was not measured."""
        metric = Metric.parse(name)
        metric = replace(metric, dataset=metric.dataset or self.trained_on(label))
        if (found := self._interval(label, metric)) is not None:
            return found
        by_seed = defaultdict[int, list[float]](list)
        for row in self.by_label[label]:
            by_seed[row.trial.seed] += [v for n, v in self.metrics_of(row).items() if n == name]
        if not (values := [statistics.mean(of) for of in by_seed.values() if of]):
            return None
        found = t_interval(values, CONFIDENCE) or Interval(values[0], math.nan, math.nan)
        known = DECLARED.get(metric.measure)  # another one may be anything
        if known is None or not known.is_share(metric.name) or metric.name == "cka":
            return found  # it can be negative, or above 1
        return Interval(found.mean, max(0.0, found.low), min(1.0, found.high))

    def metrics_of(self, row: TrialRow) -> dict[str, float]:
        """A trial's metrics, without those that are certain (see `Predictions.is_certain`)."""
        return {
            name: value
            for name, value in row.metrics.items()
            if value < 1 or not self.predictions.is_certain(row.trial, Metric.parse(name))
        }

    def accuracy_by(self, label: str, column: str) -> pd.DataFrame:
        """`Predictions.by` of a configuration on the data set that it is `scored_on`."""
        dataset = self.scored_on(self._first_trials[label])
        return self.predictions.by(self._trials(label), column, dataset)

    def test_predictions(self, label: str) -> pd.DataFrame:
        """A configuration's predictions, of all seeds, on the test split of the data set that it is
        `scored_on`."""
        dataset = self.scored_on(self._first_trials[label])
        found = [self.predictions.of(trial, dataset) for trial in self._trials(label)]
        predictions = pd.concat([table for table in found if table is not None])
        return predictions[predictions.split == "test"]

    def _trials(self, label: str) -> list[Trial]:
        return [row.trial for row in self.by_label[label]]

    def objectives(self, label: str) -> tuple[float, ...] | None:
        """A configuration's mean over seeds and folds of each objective; None where an objective or
        a seed is missing, so that a few lucky seeds do not compete."""
        rows = self.by_label[label]
        names = [objective.metric for objective in self.sweep.objectives]
        complete = {row.trial.seed for row in rows} >= set(self.sweep.seeds)
        if not complete or not all(name in row.metrics for row in rows for name in names):
            return None
        return tuple(statistics.mean(row.metrics[name] for row in rows) for name in names)

    @cached_property
    def candidates(self) -> list[str]:
        """What may be selected. The untrained student competes, the one trained with labels only if
        the sweep searches it; hand-crafted features are no student."""
        return [
            label
            for label, trial in self._first_trials.items()
            if not trial.is_hand_crafted
            and (isinstance(trial.config.method, NoneMethod) or not self.is_reference(trial))
        ]

    @cached_property
    def selected(self) -> str | None:
        """The candidate that the first objective selects, by its mean over seeds and folds."""
        return self._best(self.candidates)

    @cached_property
    def best_trained(self) -> str | None:
        """Like `selected`, without untrained students."""
        methods = {label: trial.config.method for label, trial in self._first_trials.items()}
        return self._best(x for x in self.candidates if not isinstance(methods[x], NoneMethod))

    def _best(self, labels: Iterable[str]) -> str | None:
        sign = self.sweep.objectives[0].sign
        found = {label: self.objectives(label) for label in labels}
        scores = {label: sign * means[0] for label, means in found.items() if means is not None}
        return max(scores, key=lambda label: scores[label]) if scores else None

    @cached_property
    def pareto(self) -> dict[str, tuple[float, ...]]:
        """The configurations that no other beats in one objective without losing in another, with
        their objectives, the best by the first objective first. References do not compete."""
        scores = {
            label: found
            for label, trial in self._first_trials.items()
            if not self.is_reference(trial) and (found := self.objectives(label)) is not None
        }
        signs = [objective.sign for objective in self.sweep.objectives]
        front = {label: scores[label] for label in pareto_front(scores, signs)}
        return dict(sorted(front.items(), key=lambda item: -signs[0] * item[1][0]))

    @cached_property
    def differences(self) -> list[Difference]:
        """Each configuration against its untrained student, against hand-crafted features of its
        channels, and against the selected one.

        By test Acc@1, paired by seed and group, among those trained on one data set; p-values are
        corrected together.
        """
        only_of = dict[tuple[str, str], Pair]()
        for first, second in self._pairs():
            first_of = {trial.number: trial for trial in self._trials(first)}
            seconds = [trial for trial in self._trials(second) if trial.number in first_of]
            firsts = [first_of[trial.number] for trial in seconds]
            dataset = self.scored_on(self._first_trials[first])
            only = self.predictions.only_one_hits(firsts, seconds, "test", dataset)
            if only is not None:
                only_of[first, second] = only
        compared = comparisons(list(only_of.values()), CONFIDENCE)
        both = zip(only_of.items(), compared, strict=True)
        found = [Difference(*x, len(a_SG), a_SG.shape[1], c, c.p) for (x, (a_SG, *_)), c in both]
        adjusted = iter(holm([d.p for d in found if d.p is not None]))
        return [d if d.p is None else replace(d, p=next(adjusted)) for d in found]

    def _pairs(self) -> list[tuple[str, str]]:
        """Each two configurations once: a pair that is tested twice counts twice in `holm`."""
        pairs = []
        for label, trial in self._first_trials.items():
            if not isinstance(trial.config.method, NoneMethod):
                names = self.compared_with[label]
                pairs += [(label, name) for name in names if name in self.by_label]
        if (best := self.selected) is not None:
            dataset, others = self.trained_on(best), [x for x in self.by_label if x != best]
            pairs += [(best, label) for label in others if self.trained_on(label) == dataset]
        found: dict[frozenset[str], tuple[str, str]] = {}
        for pair in pairs:
            found.setdefault(frozenset(pair), pair)
        return list(found.values())

    @cached_property
    def test_groups(self) -> dict[str, int]:
        """Groups in test, of all folds, of each data set that a probe was measured on."""
        found = defaultdict[str, dict[int, set[str]]](dict)  # by data set and fold
        for trial in (row.trial for rows in self.by_label.values() for row in rows):
            for dataset in trial.measured_on():
                fold, of = trial.number[1], found[dataset]
                if fold not in of and (table := self.predictions.of(trial, dataset)) is not None:
                    of[fold] = set(table.group[table.split == "test"])
        return {name: len(set[str]().union(*of.values())) for name, of in found.items() if of}

    @cached_property
    def tested_on(self) -> list[str]:
        """Data sets with labels that some student was measured on, its own or another."""
        trials = [row.trial for rows in self.by_label.values() for row in rows]
        places = ((trial, name) for trial in trials for name in trial.measured_on())
        return list(dict.fromkeys(n for trial, n in places if n not in own_unlabelled(trial)))

    def points(self) -> tuple[list[dict[str, Any]], list[float]]:
        """Values of the keys that vary, and the objective's mean, of each configuration."""
        points, scores = [], []
        metric = self.sweep.objective.metric
        for label, trial in self._first_trials.items():
            rows = self.by_label[label]
            known = [row.metrics[metric] for row in rows if metric in row.metrics]
            if known and not self.is_reference(trial):
                points.append(self.varying[label])
                scores.append(statistics.mean(known))
        return points, scores

    @cached_property
    def _searched(self) -> set[str]:
        """Names of the methods that the sweep searches, without references."""
        return {self.sweep.with_values(point).method.name for point in self.sweep.points()}

    def is_reference(self, trial: Trial) -> bool:
        """Whether a trial is only there to be compared with."""
        method = trial.config.method
        compared = isinstance(method, NoneMethod | SupervisedMethod)
        return trial.is_hand_crafted or (compared and method.name not in self._searched)

    def main_effects(self) -> dict[str, list[tuple[Any, list[float]]]]:
        """For each swept key: its values, each with the objective of its configurations."""
        return main_effects(*self.points())
