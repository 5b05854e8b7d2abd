"""The sentence with which a report begins: whether a student beats hand-crafted features, which
cost seconds and need no video. Does not know how either is measured."""

import math

from comodo.evaluation.results import Difference, Results
from comodo.report.tables import test_accuracy

CLASSIFIERS = {"probe/C": "logistic regression", "probe/trees": "a random forest"}
"""By the metric that the fit of each gives."""


def against_hand_crafted(results: Results) -> list[str]:
    """One sentence, without its full stop; none without hand-crafted features to compare with.

    A student is compared with the features of its own channels, on the data set that it is scored
    on, as in the table of differences: it beats them if it is distinguishable and better.
    """
    against: dict[str, Difference] = {}
    for difference in results.differences:
        trial = results.by_label[difference.first][0].trial.hand_crafted
        if results.labels.configuration(trial) == difference.second:
            against[difference.first] = difference
    if not against:
        return []
    better = [d.first for d in against.values() if d.distinguishable and _points(d) > 0]
    selected = against.get(results.selected or "")
    if selected is None:
        compared = " or ".join(dict.fromkeys(_named(results, d.second) for d in against.values()))
    else:
        compared = _named(results, selected.second)
    if selected is not None and selected.first in better:
        return [f"{results.title(selected.first)} beats {compared}: {_shown(results, selected)}"]
    by = f"the student selected by {results.sweep.objective.metric}"
    if better:
        count = f"{len(better)} of {len(against)} students"
        if selected is None:
            return [f"{count} beat {compared}"]
        rest = f"{count} beat the features of their channels"
        name = f"{by[0].upper()}{by[1:]}, {selected.first},"
        return [f"{name} does not beat {compared}: {_shown(results, selected)}; {rest}"]
    none = "No student beats"
    if any(_points(d) > 0 for d in against.values()):
        lacks = next((d.lacks for d in against.values() if d.lacks), "")
        none = f"With {lacks} no student is known to beat" if lacks else "No student clearly beats"
    if selected is not None:
        return [f"{none} {compared}: {by}, {selected.first}, {_shown(results, selected)}"]
    points = sorted(map(_points, against.values()))
    what = test_accuracy(results)
    differ = f"the differences are {points[0]:+.1f} to {points[-1]:+.1f} points of {what}"
    return [f"{none} {compared}: {differ}"]


def _points(difference: Difference) -> float:
    return 100 * difference.comparison.difference


def _shown(results: Results, difference: Difference) -> str:
    found = difference.comparison
    text = f"{_points(difference):+.1f} points of {test_accuracy(results)}"
    if math.isnan(found.low):
        return text
    return f"{text} (95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _named(results: Results, label: str) -> str:
    """The label, with the classifiers that its seeds have chosen and the mean accuracy on test."""
    rows = results.by_label[label]
    fits = {name for row in rows for name in row.metrics}
    names = " or ".join(text for metric, text in CLASSIFIERS.items() if metric in fits)
    found = results.accuracy(label, "test")
    assert found is not None
    return f"{label}{f' with {names}' if names else ''} ({100 * found.mean:.1f} %)"
