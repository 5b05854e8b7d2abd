"""A sweep's accuracies beside the paper's, in the layout of its tables, as lines of Markdown.

Which table, rows and columns there are follows from the configurations that have a published
number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from comodo.config import DistillingMethod, SupervisedMethod, TrialConfig
from comodo.config.metric import accuracy
from comodo.evaluation.results import Results, TrialRow
from comodo.evaluation.stats import Interval
from comodo.report import published
from comodo.report.published import Published, dataset_of, is_stand_in
from comodo.report.tables import cell, markdown, missing

PAPER_METHODS = ("supervised", "none", "l2", "infonce", "comodo")  # in the paper's order


@dataclass(frozen=True)
class _Line:
    """A row of a table: one configuration, whatever data set it was trained on."""

    name: str
    config: TrialConfig
    trained_on: str | None
    """Of a transfer; else each column's own."""
    rows: dict[str, TrialRow] = field(default_factory=dict)
    """By data set tested on, the first of its trials."""
    runs: dict[str, Published] = field(default_factory=dict)

    def other_queue(self, dataset: str) -> bool:
        """Whether the published run had another queue than the trial."""
        method = self.rows[dataset].trial.config.method
        return self.runs[dataset].queue_size != getattr(method, "queue_size", None)


def paper_tables(results: Results, command: str) -> list[str]:
    """Sections for the configurations tested on their own data set, and for transfer."""
    lines: dict[tuple[str | None, str], _Line] = {}
    queues = "method.queue_size" in results.names.keys
    for row in results.rows:
        config = row.trial.config
        name = results.names.configuration(row.trial, leave_out="dataset")
        for tested_on in row.trial.measured_on():
            trained_on = None if tested_on == config.dataset else config.dataset
            line = lines.setdefault((trained_on, name), _Line(name, config, trained_on))
            line.rows.setdefault(tested_on, row)
            run = published.find(results.sweep, config, tested_on)
            if run is not None:
                line.runs[tested_on] = run
                stand_in = is_stand_in(results.sweep.datasets[config.dataset])
                if line.other_queue(tested_on) and queues and not stand_in:
                    del line.runs[tested_on]  # among queues only the same is compared
    page = []
    known = [line for line in lines.values() if line.runs]
    for transfer in (False, True):
        if mine := [line for line in known if (line.trained_on is not None) == transfer]:
            page += _section(results, sorted(mine, key=_place(mine)), command)
    return page


def _place(lines: list[_Line]) -> Callable[[_Line], tuple[str, str, str, int]]:
    """Order of rows: as in table 4 if teachers vary, in table 3 of a transfer, else in table 1."""
    teachers = len({_teacher(line.config) for line in lines} - {"–"}) > 1

    def place(line: _Line) -> tuple[str, str, str, int]:
        method = PAPER_METHODS.index(line.config.method.name)
        if not teachers:
            return line.trained_on or "", "", "", method
        return "", published.student_name(line.config.student), _teacher(line.config), method

    return place


def _section(results: Results, lines: list[_Line], command: str) -> list[str]:
    titles = {name: str(dataset_of(name, results.sweep)) for line in lines for name in line.runs}
    columns = sorted(titles, key=lambda name: list(published.TITLES).index(titles[name]))
    page = [f"## Beside the paper's {_which(results, lines)}", "", *_cautions(results, lines)]
    names = _names(results, lines)
    for k in (1, 3, 5):
        header = list(names)
        for name in columns:
            header += [f"{published.TITLES[titles[name]]} Acc@{k}", "published", "difference"]
        rows = []
        for number, line in enumerate(lines):
            cells = [values[number] for values in names.values()]
            for name in columns:
                cells += _cells(results, line, name, k)
            rows.append(cells)
        page += markdown(header, rows)
    labels = {row.label for line in lines for row in line.rows.values()}
    return page + missing([row for row in results.rows if row.label in labels], command)


def _which(results: Results, lines: list[_Line]) -> str:
    """The table or figure that asks what these configurations ask."""
    if lines[0].trained_on is not None:
        return "Table 3"
    if len({_teacher(line.config) for line in lines} - {"–"}) > 1:
        return "Table 4"
    if len({line.config.student.pooling for line in lines}) > 1:
        return "Table 5"
    if "method.queue_size" in results.names.keys:
        return "Figure 3"
    return "Figure 4" if "l2" in {line.config.method.name for line in lines} else "Table 1"


def _names(results: Results, lines: list[_Line]) -> dict[str, list[str]]:
    """The columns that name the rows: those of the paper that differ, and what else does."""
    columns: dict[str, list[str]] = {
        "trained on": [line.trained_on or "" for line in lines],
        "student": [published.student_name(line.config.student) for line in lines],
        "teacher": [_teacher(line.config) for line in lines],
        "pooling": [line.config.student.pooling for line in lines],
    }
    shown = {name: cells for name, cells in columns.items() if len({*cells} - {"–"}) > 1}
    shown["method"] = [published.method_title(line.config) for line in lines]
    if len(set(zip(*shown.values(), strict=True))) < len(lines):
        shown["configuration"] = [line.name for line in lines]
    return shown


def _teacher(config: TrialConfig) -> str:
    if not isinstance(config.method, DistillingMethod):
        return "–"
    name = config.teacher.name
    return {"timesformer": "TimeSformer", "videomae": "VideoMAE"}.get(name, name)


def _cells(results: Results, line: _Line, dataset: str, k: int) -> list[str]:
    """Mine with its interval, the published, and the difference with its verdict."""
    row, run = line.rows.get(dataset), line.runs.get(dataset)
    mine = None
    if row is not None and row.label in results.by_label:
        mine = _accuracy(results, row.label, dataset, k)
    if run is None:
        return [cell(mine), "–", "–"]
    theirs = f"{100 * run.accuracy[k]:.2f}"
    if line.other_queue(dataset):
        theirs += f" (queue {run.queue_size:,})"
    if mine is None:
        return ["–", theirs, "–"]
    difference = f"{100 * (mine.mean - run.accuracy[k]):+.1f}"
    if not math.isnan(mine.low):
        inside = mine.low <= run.accuracy[k] <= mine.high
        difference += ", not distinguishable" if inside else ", **outside**"
    return [cell(mine), theirs, difference]


def _accuracy(results: Results, label: str, dataset: str, k: int) -> Interval | None:
    if _by_classifier(results.by_label[label][0], dataset):
        return results.measure(label, str(accuracy("test", k, "classifier")))
    return results.accuracy(label, "test", k, dataset)


def _by_classifier(row: TrialRow, dataset: str) -> bool:
    """Whether the student's own classifier was measured, as the published supervised ones were."""
    supervised = isinstance(row.trial.config.method, SupervisedMethod)
    own = dataset == row.trial.config.dataset
    return supervised and own and str(accuracy("test", measure="classifier")) in row.metrics


def _cautions(results: Results, lines: list[_Line]) -> list[str]:
    """What has to be known before the numbers are compared."""
    sweep, said = results.sweep, []
    used = dict.fromkeys(name for line in lines for name in line.runs)
    stand_ins = [name for name in used if is_stand_in(sweep.datasets[name])]
    if stand_ins:
        said.append(
            f"> **This comparison means nothing**: {', '.join(stand_ins)} "
            f"{'is a' if len(stand_ins) == 1 else 'are'} simulated stand-in"
            f"{'s' * (len(stand_ins) > 1)}, not the recordings of the paper. It shows what the "
            "table will look like."
        )
    said.append(
        "Percent; mean over seeds with the 95 % interval, then what was published. *outside*: the "
        "published value lies outside your interval; *not distinguishable*: within. Every "
        "published value is a single run, selected on the test split, without an interval of its "
        f"own; trials here follow the {sweep.protocol} protocol."
    )
    supervised = [
        row
        for line in lines
        if isinstance(line.config.method, SupervisedMethod) and line.trained_on is None
        for first in line.rows.values()
        for row in results.by_label.get(first.label, [])[:1]
    ]
    if supervised:
        by_probe = [r.label for r in supervised if not _by_classifier(r, r.trial.config.dataset)]
        said.append(
            "Supervised students were published by their own classifier, and are measured by it "
            "here."
            if not by_probe
            else "Supervised students were published by their own classifier; here "
            f"{', '.join(by_probe)} are measured by the probe (add `classifier` to `measures`)."
        )
    if any(line.other_queue(name) for line in lines for name in line.runs):
        said.append("Where no run with the same queue was published, the queue stands beside it.")
    if anew := [name for name in used if sweep.datasets[name].split_by_group is not None]:
        said.append(f"**{', '.join(anew)}: split anew by group**, so not the published splits.")
    return [line for sentence in said for line in (sentence, "")]
