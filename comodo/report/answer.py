"""The sentence that answers a sweep's question, and what it rests on.

Does not know how the numbers are computed, nor where the sentences are shown.
"""

import math
from collections.abc import Mapping

from comodo.config import NoneMethod
from comodo.data.window_sets import WindowSet
from comodo.evaluation.results import Difference, Results
from comodo.evaluation.stats import Interval
from comodo.report.differences import from_selected, is_compared_with, p_of
from comodo.report.hand_crafted import not_beaten, with_classifier
from comodo.report.tables import star, test_accuracy

MAX_NAMED = 3  # configurations that a sentence names


def answer_sentences(results: Results) -> list[str]:
    """Without their full stops: that hand-crafted features are not beaten, if so, then the accuracy
    of the selected configuration and how it differs from all that it was compared with."""
    first = not_beaten(results)
    label = results.selected
    found = None if label is None else results.accuracy(label, "test")
    if label is None or found is None:
        return first
    differences = from_selected(results)
    references = [
        f"{_points(difference)} {name}{_clearness(difference)}"
        for other, difference in differences.items()
        if (name := _reference(results, other, short=bool(first)))
    ]
    parts = [", ".join(references)] if references else []
    own = [d for other, d in differences.items() if not is_compared_with(results, other)]
    parts += _against_others(results, own)
    shown = f"{results.title(label)} reaches {_percent(found)}"
    return [*first, f"{shown}: {'; '.join(parts)}" if parts else shown]


def _percent(found: Interval) -> str:
    text = f"{100 * found.mean:.1f} %"
    if math.isnan(found.low):
        return text
    return f"{text} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _points(difference: Difference) -> str:
    points = 100 * difference.comparison.difference
    return f"{abs(points):.1f} points {'over' if points >= 0 else 'below'}"


def _clearness(difference: Difference) -> str:
    """In brackets, p, and that the two cannot be told apart."""
    unclear = "" if difference.distinguishable or difference.lacks else "not distinguishable"
    says = ", ".join(filter(None, [unclear, p_of(difference)]))
    return f" ({says})" if says else ""


def _reference(results: Results, label: str, short: bool) -> str:
    """How the sentence names a reference of the selected student; empty for what is none, or one of
    another student. `short`: the sentence before has named hand-crafted features."""
    assert results.selected is not None
    of = results.by_label[results.selected][0].trial
    trial = results.by_label[label][0].trial
    untrained, features = results.compared_with[results.selected]
    if label == features:
        return "hand-crafted features" if short else with_classifier(results, label)
    if label == untrained:
        if of.config.student.source is not None:
            return "the student before this stage"
        pretrained = of.config.student.weights
        return f"the {'student as pretrained' if pretrained else 'untrained student'}"
    if trial.config.method.name == "supervised" and results.is_reference(trial):
        same = of.config.student.name == trial.config.student.name
        return "the student trained with labels" if same else ""
    return ""


def _against_others(results: Results, differences: list[Difference]) -> list[str]:
    """How the selected configuration differs from others that were searched."""
    if lacks := next((d.lacks for d in differences if d.lacks), ""):
        others = f"{len(differences)} other configuration{'s' * (len(differences) > 1)}"
        return [f"with {lacks} nothing follows about the {others}"]
    alike = [d for d in differences if not d.distinguishable]
    points = [(d, d.comparison.difference) for d in differences if d.distinguishable]
    groups = {
        "not distinguishable from": alike,
        "better than": [d for d, found in points if found > 0],
        "worse than": [d for d, found in points if found <= 0],
    }
    return [
        f"{says} {_listed(results, found, len(differences))}"
        for says, found in groups.items()
        if found
    ]


def _listed(results: Results, differences: list[Difference], of: int) -> str:
    if len(differences) > MAX_NAMED:
        return f"{len(differences)} of {of} other configurations"
    names = [results.title(d.second) for d in differences]
    if len({name.rpartition("=")[0] for name in names}) == 1:  # comodo queue_size=64 or 256
        names[1:] = [name.rpartition("=")[2] for name in names[1:]]
    *names, last = names
    return f"{', '.join(names)} or {last}" if names else last


def rests_on(results: Results, window_sets: Mapping[str, WindowSet]) -> list[str]:
    """What the answer was measured on, and how the configuration was selected, as sentences."""
    label = results.selected
    found = None if label is None else results.accuracy(label, "test")
    if label is None or found is None:
        return []
    groups = results.accuracy_by(label, "group")
    seeds = len({row.trial.seed for row in results.by_label[label]})
    count = "1 group (a person, capture or day)"
    if len(groups) > 1:
        count = f"{len(groups)} groups (people, captures or days)"
    measured = (
        f"{test_accuracy(results)} of {count}, "
        f"{groups.windows.sum():,} windows and {seeds} seed{'s' * (seeds > 1)}"
    )
    measured = measured[0].upper() + measured[1:]
    windows = window_sets.get(results.trained_on(label))
    trained = "" if windows is None else _trained_on(windows)
    compared = len([d for d in results.differences if d.p is not None])
    corrected = f"; p is corrected for {compared} comparisons" if compared > 1 else ""
    interval = "" if math.isnan(found.low) else "; in brackets the 95 % interval"
    sentences = [f"{measured}{trained}{interval}{corrected}"]
    if star(results) and results.title(label).endswith("*"):
        sentences.append(star(results))
    return sentences


def _trained_on(windows: WindowSet) -> str:
    counts = [of_fold.counts.get("train", 0) for of_fold in windows.splits]
    return f", trained on {max(counts):,} windows" if counts else ""


def highest_on_test(results: Results) -> str:
    """The configuration with the highest test accuracy, if that is not the selected one."""
    found = {
        label: accuracy.mean
        for label, rows in results.by_label.items()
        if (accuracy := results.accuracy(label, "test")) is not None
        and not results.is_reference(rows[0].trial)
        and not isinstance(rows[0].trial.config.method, NoneMethod)
    }
    best = max(found, key=lambda label: found[label], default=None)
    if best is None or results.selected is None or best == results.selected:
        return ""
    name = results.title(best)
    return f"{name} is highest on test ({100 * found[best]:.1f} %), which does not select"
