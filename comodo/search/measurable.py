"""Whether the labels of a sweep's data sets allow what it measures, selects by and compares with.

A data set to train on may have no labels, or too few for a probe, if nothing needs them: its
students are then measured on the data sets of `evaluate_on`. Knows counts of labelled windows, not
where they come from.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from comodo.config import ConfigError, Sweep
from comodo.config.measures import DECLARED
from comodo.config.measuring import labelled_splits
from comodo.config.metric import MIN_ALIGNED, Metric
from comodo.core.errors import nearest

MIN_CLASS_WINDOWS = 5  # of the probe
Classes = dict[str, dict[str, int]]
"""Labelled windows of each class, by split."""


def unfit_for_probe(classes: dict[str, int]) -> str | None:
    """Why no probe can be fitted with these labelled training windows by class, or None."""
    if not classes:
        return "no labelled training windows; give some recordings of the train split a label"
    largest = max(classes.values())
    # Each fold leaves out a window of the smaller classes, and another has to remain.
    if largest < MIN_CLASS_WINDOWS or sum(classes.values()) - largest < 2:
        found = str(classes) if len(classes) > 1 else f"only the class '{next(iter(classes))}'"
        return (
            f"the probe needs a class of {MIN_CLASS_WINDOWS} training windows and two windows of "
            f"other classes; it has {found}; give more recordings a label"
        )
    return None


def refuse_unmeasurable(sweep: Sweep, classes: Mapping[str, Sequence[Classes]]) -> None:
    """Raises ConfigError when trials could not be probed, or a search could not be guided.

    `classes`: of each fold, or the one split, of each data set that is trained or measured on; of
    recordings that are not prepared an upper bound.
    """
    for number in range(max(map(len, classes.values()), default=0)):
        _refuse_unmeasurable(sweep, {name: of[number % len(of)] for name, of in classes.items()})


def refuse_few_aligned(sweep: Sweep, counts: Mapping[str, Sequence[Mapping[str, int]]]) -> None:
    """Raises ConfigError for an objective of alignment on a split with too few windows for it, of
    which no trial would be selected. `counts`: windows by split, of each fold, or the one split, of
    each data set that is trained on."""
    for metric in (Metric.parse(objective.metric) for objective in sweep.objectives):
        for name, folds in counts.items() if metric.measure == "alignment" else ():
            fewest = min(of.get(metric.split, 0) for of in folds)
            if fewest < MIN_ALIGNED:
                found = f"'{name}' has {fewest} windows in its {metric.split} split"
                fault = f"{metric} is never known: {found}, and alignment needs {MIN_ALIGNED}"
                fix = "make the split larger, or windows shorter or overlapping (stride_seconds)"
                raise ConfigError.at("objective.metric", f"{fault}; {fix}")


def _refuse_unmeasurable(sweep: Sweep, classes: Mapping[str, Classes]) -> None:
    trained_on = {name for name, _ in sweep.trained_on()}
    for name, by_split in classes.items():
        reason = unfit_for_probe(by_split.get("train", {}))
        if reason is not None and name in trained_on:
            _refuse_need_of_labels(sweep, name, reason, classes)
        elif reason is not None and "direct" not in sweep.measures:
            raise ConfigError(f"datasets.{name}", f"datasets.{name}: {reason}")
        if name in trained_on:
            _refuse_unguided(sweep, name, by_split)
        if name in sweep.evaluate_on and not by_split.get("test"):
            raise ConfigError(
                f"datasets.{name}",
                f"datasets.{name}: no labelled windows in its test split to measure on",
            )
    _refuse_unknown_objectives(sweep, classes)
    _refuse_certain_objectives(sweep, classes)
    _refuse_unknown_names(sweep, classes)
    if "direct" in sweep.measures:
        for own, other in itertools.product(sorted(trained_on), sweep.evaluate_on):
            _refuse_unfit_transfer(sweep, classes, own, other)


def _refuse_need_of_labels(
    sweep: Sweep, name: str, reason: str, classes: Mapping[str, Classes]
) -> None:
    """Raises ConfigError for what needs labels of a data set that is trained on and is unfit for a
    probe for this reason."""
    needs, instead = "", ""
    configs = map(sweep.with_values, sweep.points())
    metric = _own_labels(sweep)
    learnt = [c.method for c in configs if c.dataset == name and c.method.needs_labels]
    if learnt:
        needs = next((m for m in learnt if m.name == "terms"), learnt[0]).labels_reader
    elif "references" in sweep.model_fields_set and "supervised" in sweep.references:
        needs, instead = "the reference supervised", "leave that out of references"
    elif "direct" in sweep.measures:
        needs, instead = "the measure direct", "leave that out of measures"
    elif sweep.early_stopping is not None:
        needs, instead = "early_stopping", "leave that out"
    elif metric is not None:
        needs, instead = f"the objective {metric}", _elsewhere(sweep, metric, classes)
    elif sweep.measures.need_labels and not {*sweep.evaluate_on} - {name}:
        needs, instead = "the probe", "measure students on a labelled data set, with evaluate_on"
    if needs:
        where = f"datasets.{name}"
        fix = f"; or {instead}" if instead else ""
        raise ConfigError(where, f"{where}: {reason}, which {needs} needs{fix}")


def _elsewhere(sweep: Sweep, metric: Metric, classes: Mapping[str, Classes]) -> str:
    """What to write in place of an objective on a data set without labels."""
    for other in sweep.evaluate_on:
        split = metric.split if classes.get(other, {}).get(metric.split) else "test"
        there = str(replace(metric, dataset=other, split=split))
        if there in sweep.metrics:
            return f"write objective: {{metric: {there}}}"
    there = str(replace(metric, dataset="NAME"))
    text = "measure students on a labelled data set NAME that none is trained on"
    return f"{text}: evaluate_on: [NAME], objective: {{metric: {there}}}"


def _own_labels(sweep: Sweep) -> Metric | None:
    """The first objective that needs labels of the data set trained on."""
    declared = sweep.measures.declared
    for metric in (Metric.parse(objective.metric) for objective in sweep.objectives):
        if not metric.dataset and metric.split and declared[metric.measure].needs_labels:
            return metric
    return None


def _refuse_unguided(sweep: Sweep, name: str, by_split: Classes) -> None:
    """Raises ConfigError for a data set trained on without the labels that guide a search."""
    guided = sweep.search.sampler == "tpe" or sweep.early_stopping is not None
    needed = labelled_splits(sweep.objective, sweep.measures) if guided else set()
    if sweep.early_stopping is not None:
        needed.add("val")
    for split in sorted(needed):
        if not by_split.get(split):
            raise ConfigError(
                f"datasets.{name}",
                f"datasets.{name}: no labelled windows in its {split} split to guide the "
                "search; make one (split_by_group), or use a grid without early_stopping",
            )


def _refuse_unknown_objectives(sweep: Sweep, classes: Mapping[str, Classes]) -> None:
    """Raises ConfigError for an objective on another data set whose split has no labels."""
    declared = sweep.measures.declared
    for metric in (Metric.parse(objective.metric) for objective in sweep.objectives):
        by_split = classes.get(metric.dataset)
        if by_split is None or not metric.split or not declared[metric.measure].needs_labels:
            continue
        if not by_split.get(metric.split):
            fault = f"{metric} is never known: '{metric.dataset}' has no labelled windows in its"
            fix = f"{replace(metric, split='test')}, which then selects on the test split"
            raise ConfigError.at("objective.metric", f"{fault} {metric.split} split; use {fix}")


def unfit_sets(classes: Mapping[str, Iterable[Classes]]) -> set[str]:
    """The data sets on which no probe can be fitted, in some of their folds or in the one split."""
    return {
        name
        for name, folds in classes.items()
        if any(unfit_for_probe(of.get("train", {})) for of in folds)
    }


def unlabelled_note(sweep: Sweep, name: str) -> str:
    """What follows from too few labels of a data set that is trained on; `unfit_sets` has it."""
    on = ", ".join(other for other in sweep.evaluate_on if other != name)
    note = f"too few labels for a probe: students trained on it are measured on {on}"
    if not sweep.measures.need_labels:
        names = " and ".join(sweep.measures.names)
        return f"too few labels for a probe: only {names} is measured"
    if "supervised" in sweep.references:
        note += "; no student is trained with labels to compare with"
    return note


def _refuse_certain_objectives(sweep: Sweep, classes: Mapping[str, Classes]) -> None:
    """Acc@k is not measured where there are no more than k classes."""
    for metric in (Metric.parse(objective.metric) for objective in sweep.objectives):
        for name in [metric.dataset] if metric.dataset else [n for n, _ in sweep.trained_on()]:
            count = len(classes.get(name, {}).get("train", {}))
            is_of_k = metric.name in ("acc3", "acc5") and metric.measure in DECLARED
            if is_of_k and 0 < count <= int(metric.name[3]):
                fault = f"{metric} is certain with the {count} classes of '{name}'; use acc1"
                raise ConfigError.at("objective.metric", fault)


def _refuse_unknown_names(sweep: Sweep, classes: Mapping[str, Classes]) -> None:
    for name, mapped in sweep.label_map.items():
        if name not in classes:
            where = f"label_map.{name}"
            raise ConfigError(where, f"{where}: neither trained on nor in evaluate_on")
        known = {label for labels in classes[name].values() for label in labels}
        for label in mapped:
            if label not in known:
                where = f"label_map.{name}.{label}"
                raise ConfigError(where, f"{where}: no class of '{name}'{nearest(label, known)}")


def _refuse_unfit_transfer(
    sweep: Sweep, classes: Mapping[str, Classes], own: str, other: str
) -> None:
    """`direct` fits a probe on the train windows of one data set, with the classes of the other."""
    if own == other:
        return
    fitted, scored = Counter[str](), set[str]()
    for label, count in classes[own].get("train", {}).items():
        fitted[sweep.label_map.get(own, {}).get(label, label)] += count
    for split in ("val", "test"):
        for label in classes[other].get(split, {}):
            scored.add(sweep.label_map.get(other, {}).get(label, label))
    shared = {label: count for label, count in fitted.items() if label in scored}
    if (reason := unfit_for_probe(shared)) is not None:
        raise ConfigError(
            "label_map",
            f"label_map: trained on '{own}' ({', '.join(sorted(fitted))}) and tested on '{other}' "
            f"({', '.join(sorted(scored))}), the measure direct has too few classes or training "
            f"windows in common ({reason}); map equivalent classes to one name, or remove direct",
        )
