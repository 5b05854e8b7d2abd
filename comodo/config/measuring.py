"""Whether the measures, the data sets to measure on and the objectives of a sweep fit together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from comodo.config.datasets import DatasetConfig, fold_split
from comodo.config.measures import Measures
from comodo.config.metric import Metric, Objective, Objectives, meant_metric
from comodo.core.errors import nearest


def refuse_unfit_measures(
    measures: Measures, evaluate_on: list[str], label_map: Mapping[str, object]
) -> None:
    """Raises ValueError, its message the key first."""
    if "probe" not in measures and measures.need_labels:
        fix = "only measures that need no labels, such as alignment, are measured without it"
        raise ValueError(f"measures: must include probe, which gives the accuracies; {fix}")
    if "probe" not in measures and evaluate_on:
        reason = "students are measured there by a probe"
        raise ValueError(f"evaluate_on: {reason}; add probe to measures")
    if "direct" in measures and not evaluate_on:
        raise ValueError("measures: direct needs evaluate_on, the data sets to transfer to")
    if label_map and "direct" not in measures:
        raise ValueError("label_map: only the measure 'direct' uses it; add it to measures")


def refuse_unmeasured_objectives(
    objectives: Sequence[Objective],
    metrics: Mapping[str, str],
    measures: Measures,
    datasets: Mapping[str, DatasetConfig],
) -> None:
    """Raises ValueError, its message the key first. `metrics`: of every student."""
    seen = set()
    for metric in (objective.metric for objective in objectives):
        if metric not in metrics:
            known = {metric.lower().replace("_", "-"): meant_metric(metric, metrics)}
            closest = nearest(metric, metrics, known)
            raise ValueError(f"objective.metric: unknown '{metric}'{closest}")
        if (measure := metrics[metric]) not in measures:
            other = next(name for name, by in metrics.items() if by == measures.names[0])
            fix = f"add it, or write objective: {{metric: {other}}}"
            raise ValueError(f"objective.metric: {metric} needs '{measure}' in measures; {fix}")
        parsed = Metric.parse(metric)
        folds = parsed.dataset and fold_split(datasets[parsed.dataset])
        if folds and (parsed.split, parsed.measure) == ("val", "direct"):
            fix = f"use {replace(parsed, split='test')}"
            raise ValueError(f"objective.metric: direct has no val split of folds; {fix}")
        if metric in seen:
            raise ValueError(f"objective.metric: {metric} is listed twice")
        seen.add(metric)


def directed(objectives: Objectives, metrics: Mapping[str, str], measures: Measures) -> Objectives:
    """The objectives, those without a `mode` in the direction of the user's measure that gives
    them. `metrics`: of every student."""
    lower = {name for name, of in measures.own.items() if not of.declared.higher_is_better}

    def one(objective: Objective) -> Objective:
        is_lower = metrics[objective.metric] in lower
        if "mode" in objective.model_fields_set or not is_lower:
            return objective
        return objective.model_copy(update={"mode": "min"})

    return Objectives(tuple(map(one, objectives.root)))


def labelled_splits(objectives: Objectives, measures: Measures) -> set[str]:
    """Splits of the training data set whose labels an objective needs."""
    metrics = [Metric.parse(objective.metric) for objective in objectives.root]
    declared = measures.declared
    return {
        metric.split
        for metric in metrics
        if metric.split and not metric.dataset and declared[metric.measure].needs_labels
    }
