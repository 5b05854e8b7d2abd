"""Whether the measures, the data sets to measure on and the objectives of a sweep fit together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from comodo.config.datasets import DatasetConfig, fold_split
from comodo.config.metric import WITHOUT_LABELS, Measure, Metric, Objective, meant_metric
from comodo.core.errors import nearest


def refuse_unfit_measures(
    measures: list[Measure], evaluate_on: list[str], label_map: Mapping[str, object]
) -> None:
    """Raises ValueError, its message the key first."""
    if "probe" not in measures and measures != WITHOUT_LABELS:
        fix = "only alignment may be measured without it"
        raise ValueError(f"measures: must include probe, which gives the accuracies; {fix}")
    if measures == WITHOUT_LABELS and evaluate_on:
        reason = "alignment is measured on the data set trained on only"
        raise ValueError(f"evaluate_on: {reason}; add probe to measures")
    if "direct" in measures and not evaluate_on:
        raise ValueError("measures: direct needs evaluate_on, the data sets to transfer to")
    if label_map and "direct" not in measures:
        raise ValueError("label_map: only the measure 'direct' uses it; add it to measures")


def refuse_unmeasured_objectives(
    objectives: Sequence[Objective],
    metrics: Mapping[str, Measure],
    measures: list[Measure],
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
            other = next(name for name, by in metrics.items() if by == measures[0])
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
