"""Selection within each fold, as nested cross-validation does it.

With folds the val groups of one fold are in test of another. A configuration that its mean over all
folds selects was therefore selected by the people it is tested on, and the more configurations
competed the more its test accuracy flatters it (Varma and Simon 2006, "Bias in error estimation
when using cross-validation for model selection"; Cawley and Talbot 2010). The accuracy here is that
of the selection itself: in each fold the configuration is chosen by the val groups of that fold.
"""

import statistics
from collections import Counter, defaultdict

from comodo.config.metric import Metric, accuracy
from comodo.evaluation.results import Results
from comodo.evaluation.stats import Interval


def chosen_in_each_fold(results: Results) -> tuple[Interval, Counter[str]] | None:
    """Test Acc@1 of the configurations that each fold's val groups choose, with its interval, and
    how many folds chose each; None without folds, if the objective is not of val, or with fewer
    than two configurations to choose from."""
    objective = results.sweep.objectives[0]
    competing = [label for label in results.candidates if results.objectives(label) is not None]
    rows = [(label, row) for label in competing for row in results.by_label[label]]
    if Metric.parse(objective.metric).split != "val" or len(competing) < 2:
        return None
    scores = defaultdict[int, dict[str, list[float]]](lambda: defaultdict(list))
    for label, row in rows:
        if row.trial.fold is None or results.scored_on(row.trial) != row.trial.config.dataset:
            return None
        scores[row.trial.fold.number][label].append(objective.sign * row.metrics[objective.metric])
    chosen = {
        number: max(of_fold, key=lambda label: statistics.mean(of_fold[label]))
        for number, of_fold in scores.items()
    }
    trials = [row.trial for label, row in rows if chosen[row.trial.number[1]] == label]
    found = results.predictions.interval(trials, accuracy("test", dataset=trials[0].config.dataset))
    return None if found is None else (found, Counter(chosen.values()))
