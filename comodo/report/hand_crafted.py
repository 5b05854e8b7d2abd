"""The sentence with which a report begins where no student beats hand-crafted features, which cost
seconds and need no video. Does not know how either is measured."""

from comodo.evaluation.results import Difference, Results
from comodo.report.tables import test_accuracy

CLASSIFIERS = {"probe/C": "logistic regression", "probe/trees": "a random forest"}
"""By the metric that the fit of each gives."""


def not_beaten(results: Results) -> list[str]:
    """One sentence, without its full stop, that no student beats hand-crafted features, or not the
    selected one; none if it does, or without features to compare with.

    A student is compared with the features of its own channels, on the data set that it is scored
    on, as in the table of differences: it beats them if it is distinguishable and better.
    """
    against: dict[str, Difference] = {}
    for difference in results.differences:
        if results.compared_with[difference.first][1] == difference.second:
            against[difference.first] = difference
    better = [d.first for d in against.values() if d.distinguishable and _points(d) > 0]
    selected = against.get(results.selected or "")
    if not against or (selected is not None and selected.first in better):
        return []
    if selected is None:
        compared = " or ".join(dict.fromkeys(named(results, d.second) for d in against.values()))
    else:
        compared = named(results, selected.second)
    if better:
        count = f"{len(better)} of {len(against)} students"
        if selected is None:
            return [f"{count} beat {compared}"]
        rest = f"{count} beat the features of their channels"
        by = f"The student selected by {results.sweep.objective.metric}"
        return [f"{by} does not beat {compared}; {rest}"]
    none = "No student beats"
    if any(_points(d) > 0 for d in against.values()):
        lacks = next((d.lacks for d in against.values() if d.lacks), "")
        none = f"With {lacks} no student is known to beat" if lacks else "No student clearly beats"
    if selected is not None:
        return [f"{none} {compared}"]
    points = sorted(map(_points, against.values()))
    what = test_accuracy(results)
    differ = f"the differences are {points[0]:+.1f} to {points[-1]:+.1f} points of {what}"
    return [f"{none} {compared}: {differ}"]


def _points(difference: Difference) -> float:
    return 100 * difference.comparison.difference


def named(results: Results, label: str) -> str:
    """`with_classifier`, with the mean accuracy on test."""
    found = results.accuracy(label, "test")
    assert found is not None
    return f"{with_classifier(results, label)} ({100 * found.mean:.1f} %)"


def with_classifier(results: Results, label: str) -> str:
    """The label of hand-crafted features, with the classifiers that their seeds have chosen."""
    fits = {name for row in results.by_label[label] for name in row.metrics}
    names = " or ".join(text for metric, text in CLASSIFIERS.items() if metric in fits)
    return f"{results.title(label)} with {names}" if names else results.title(label)
