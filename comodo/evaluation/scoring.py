"""On which data set's labels a trial is judged: its own, unless that has none."""

from collections.abc import Iterable
from dataclasses import replace

from comodo.config import Sweep
from comodo.config.metric import Metric
from comodo.search.trial import Trial


def scored_on(trial: Trial, sweep: Sweep) -> str:
    """The data set whose labels judge a trial: its own, or for one without labels that of the
    first objective, or else the first of `evaluate_on` with labels."""
    own, there = trial.config.dataset, trial.measured_on()
    wanted = [Metric.parse(objective.metric).dataset for objective in sweep.objectives]
    names = [own, *(name for name in wanted if name in there), *there]
    return next((name for name in names if name not in trial.evaluation.unlabelled), own)


def elsewhere(trials: Iterable[Trial], sweep: Sweep) -> str:
    """The other data set that all these trials are scored on, as none of their own has labels;
    empty if some have, or if there are several."""
    pairs = {(trial.config.dataset, scored_on(trial, sweep)) for trial in trials}
    scored = {dataset for _, dataset in pairs}
    is_other = all(own != dataset for own, dataset in pairs)
    return scored.pop() if is_other and len(scored) == 1 else ""


def scored_metric(metric: Metric, trial: Trial, sweep: Sweep) -> str:
    """The name that a metric of the data set that the trial is scored on has in its result."""
    dataset = scored_on(trial, sweep)
    return str(metric if dataset == trial.config.dataset else replace(metric, dataset=dataset))


def own_unlabelled(trial: Trial) -> set[str]:
    """The trial's own data set, if it has too few labels for a probe."""
    return {trial.config.dataset} & trial.evaluation.unlabelled
