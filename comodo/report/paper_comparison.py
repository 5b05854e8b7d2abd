"""Compares the sweep's test accuracies with the published ones, as lines of Markdown.

Does not know the paper's tables: each configuration and test data set with a published number
is a row, in the sweep's own order and under its own label.
"""

import math
from dataclasses import dataclass

from comodo.config import SupervisedMethod
from comodo.evaluation.results import Results, TrialRow
from comodo.report import published
from comodo.report.published import Published, is_stand_in
from comodo.report.tables import cell, markdown

TOP_K = (1, 3, 5)


@dataclass(frozen=True)
class _Pair:
    """A configuration on one test data set, and its published run."""

    row: TrialRow
    """The configuration's first finished trial; if none has finished, its first."""
    tested_on: str
    run: Published

    @property
    def other_queue(self) -> bool:
        return self.run.queue_size != getattr(self.row.trial.config.method, "queue_size", None)

    @property
    def published_by_classifier(self) -> bool:
        """Supervised students were published with their own classifier, except in transfer."""
        config = self.row.trial.config
        return isinstance(config.method, SupervisedMethod) and self.tested_on == config.dataset

    @property
    def by_classifier(self) -> bool:
        return self.published_by_classifier and "classifier/test/acc1" in self.row.metrics


def paper_comparison(results: Results) -> list[str]:
    """The section; no lines if none of the sweep's configurations was published."""
    pairs = _pairs(results)
    if not pairs:
        return []
    header = ["configuration", "tested on"]
    rows = [[pair.row.title, pair.tested_on] for pair in pairs]
    for k in TOP_K:
        header += [f"Acc@{k}", "published", "difference"]
        for row, pair in zip(rows, pairs, strict=True):
            row += _cells(results, pair, k)
    return ["## Compared with the paper", "", *_cautions(results, pairs), *markdown(header, rows)]


def _pairs(results: Results) -> list[_Pair]:
    queues_swept = "method.queue_size" in results.labels.keys
    pairs = []
    for label in dict.fromkeys(row.label for row in results.rows):
        trials = [*results.by_label.get(label, ()), *results.rows]
        row = next(row for row in trials if row.label == label)
        config = row.trial.config
        stand_in = is_stand_in(results.sweep.datasets[config.dataset])
        for tested_on in row.trial.measured_on():
            run = published.find(results.sweep, config, tested_on)
            if run is None:
                continue
            pair = _Pair(row, tested_on, run)
            # A sweep of queue sizes on real data is compared only where that size was published.
            if not (pair.other_queue and queues_swept and not stand_in):
                pairs.append(pair)
    return pairs


def _cells(results: Results, pair: _Pair, k: int) -> list[str]:
    """The sweep's accuracy with its interval, the published one, and the difference in points."""
    label, theirs = pair.row.label, pair.run.accuracy[k]
    ours = None
    if pair.by_classifier and label in results.by_label:
        ours = results.measure(label, f"classifier/test/acc{k}")
    elif label in results.by_label:
        ours = results.accuracy(label, "test", k, pair.tested_on)
    shown = f"{100 * theirs:.2f}"
    if pair.other_queue:
        shown += f" (queue {pair.run.queue_size:,})"
    if ours is None:
        return ["–", shown, "–"]
    difference = f"{100 * (ours.mean - theirs):+.1f}"
    if not math.isnan(ours.low):
        inside = ours.low <= theirs <= ours.high
        difference += ", not distinguishable" if inside else ", **outside**"
    return [cell(ours), shown, difference]


def _cautions(results: Results, pairs: list[_Pair]) -> list[str]:
    """What a reader has to know before comparing the numbers."""
    sweep = results.sweep
    used = dict.fromkeys(
        x for pair in pairs for x in (pair.row.trial.config.dataset, pair.tested_on)
    )
    lines = []
    if stand_ins := [name for name in used if is_stand_in(sweep.datasets[name])]:
        lines += [
            f"> **This comparison means nothing**: simulated data ({', '.join(stand_ins)}) stand "
            "in for the paper's recordings. It only shows what the table looks like.",
            "",
        ]
    lines += [
        "Test accuracy in percent, with the 95 % interval. *Outside*: the published value is "
        "outside this interval. *Not distinguishable*: it is inside.",
        "",
        "- Each published value is a single run without an interval, selected on the test split.",
        f"- This sweep follows the `{sweep.protocol}` protocol, with {len(sweep.seeds)} seeds.",
    ]
    if any(pair.other_queue for pair in pairs):
        queue = "the published run had this queue size, not the one of this sweep"
        lines.append(f"- A queue in brackets: {queue}.")
    by_probe = ", ".join(
        p.row.label for p in pairs if p.published_by_classifier and not p.by_classifier
    )
    if by_probe:
        how = "Measured with the probe here, published with the student's own classifier"
        lines.append(f"- {how}: {by_probe} (add `classifier` to `measures`).")
    if resplit := [name for name in used if sweep.datasets[name].split_by_group is not None]:
        lines.append(f"- Not the published splits, but split by group: {', '.join(resplit)}.")
    return [*lines, ""]
