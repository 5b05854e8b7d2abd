"""What MLflow's pages show of a sweep: its question, its description, and a view with the columns
and charts of its runs that answer the question. Only writes the texts; `tracking` stores them.
"""

import json
from collections.abc import Collection
from typing import Any

from comodo.config import Sweep
from comodo.config.datasets import fold_split
from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS, Metric, accuracy
from comodo.core.markdown import as_code, as_text
from comodo.evaluation.results import Results
from comodo.evaluation.sweep_record import SweepRecord
from comodo.report.accuracy import accuracy_table, ranked
from comodo.report.answer import answer_sentences
from comodo.report.tables import markdown, missing
from comodo.search.labels import Labels, rounded, swept_keys
from comodo.tracking.runs import PARENT, SweepRuns

MAX_NOTE_LETTERS = 8000  # MLflow cuts a longer tag
MAX_COMPARED_RUNS = 40  # more make the address of the page too long
MAX_AXES = 8  # of a parallel-coordinates plot that can still be read
VIEW_NAME = "comodo: the swept keys"
SECTIONS = (("swept", "What was swept", 1), ("measured", "Measured", 3), ("learned", "Learning", 3))
"""Of the charts: key, title, and number of columns."""


def sweep_question(sweep: Sweep) -> str:
    """The sweep's question, in one sentence of Markdown."""
    keys = [f"{key} ({values})" for key, values in swept_keys(sweep).items()]
    objectives = [f"{o.metric} ({o.mode})" for o in sweep.objectives]
    trained = dict.fromkeys(name for name, _ in sweep.trained_on())
    on = [name for name in sweep.evaluate_on if name not in trained]
    parts = [
        f"{' and '.join(objectives)} by {', '.join(keys)}" if keys else " and ".join(objectives),
        f"trained on {', '.join(trained)}",
        *([f"also tested on {', '.join(on)}"] if on else []),
        f"seeds {', '.join(map(str, sweep.seeds))}",
        *(f"{name} in folds: {folds}" for name, folds in folds_asked(sweep).items()),
        f"protocol {sweep.protocol}",
    ]
    return as_text("; ".join(parts)) + "."


def folds_asked(sweep: Sweep) -> dict[str, int | str]:
    """The number of folds, or `all`, of the data sets trained on, of those that have folds."""
    found = {name: fold_split(sweep.datasets[name]) for name, _ in sweep.trained_on()}
    return {name: split.folds for name, split in found.items() if split is not None}


def running_description(sweep: Sweep, command: str) -> str:
    """The description while the sweep is running."""
    return f"{sweep_question(sweep)}\n\nTo run or continue it: {as_code(command)}"


def finished_description(results: Results, record: SweepRecord, runs: SweepRuns) -> str:
    """The description of a sweep with results: the question, links to pages that compare its runs,
    and the table of accuracies, best first, cut to the length that MLflow keeps."""
    labels = ranked(results)
    own = [
        run
        for label in labels
        for row in results.by_label.get(label, ())
        if not results.is_reference(row.trial) and (run := runs.trials.get(row.trial.key))
    ]
    pages = [
        f"[runs with the swept keys]({runs.runs_page()})",
        f"[parallel coordinates]({runs.runs_page(charts=True)})",
    ]
    if len(own) > 1:
        compared = own[:MAX_COMPARED_RUNS]
        of = "all" if compared == own else f"the best {MAX_COMPARED_RUNS} of {len(own)}"
        pages.append(f"[compare {of}]({runs.compare_page(compared)})")
    datasets = results.sweep.datasets.items()
    simulated = ", ".join(name for name, settings in datasets if settings.kind == "simulated")
    selected = (
        f"Selected: **{as_text(results.title(results.selected))}**."
        if results.selected
        else "None is selected."
    )
    paragraphs = [
        running_description(results.sweep, record.command),
        *([f"**A demonstration** on simulated data ({simulated})."] if simulated else []),
        *(f"**{as_text(sentence)}.**" for sentence in answer_sentences(results)),
        "\n".join([selected, *missing(results.rows, record.command)[:1]]),
        f"See {', '.join(pages)}; files and figures are among the artifacts.",
    ]
    head = [line for paragraph in paragraphs for line in (paragraph, "")]
    header, rows = accuracy_table(results, labels)
    for cut in range(len(rows) + 1):
        more = f"{cut} more configurations are in report/report.html among the artifacts."
        lines = [*head, *markdown(header, rows[: len(rows) - cut]), *([more] if cut else [])]
        text = rounded("\n".join(lines), results.digits).rstrip("\n")
        if len(text) <= MAX_NOTE_LETTERS:
            break
    return text


def saved_view(
    sweep: Sweep, created: float, parent: str, unlabelled: Collection[str] = frozenset()
) -> str:
    """The tag of the experiment in which MLflow's pages keep a view, as their own `Save view` does:
    a table and charts of the sweep's runs by the swept keys. `created`: when the sweep began, in
    seconds since 1970; `parent`: the sweep's run; `unlabelled`: data sets to train on that students
    are not measured on."""
    methods = {sweep.with_values(point).method.name for point in sweep.points()}
    axes = [*(["method.name"] if len(methods) > 1 else []), *Labels(sweep).keys][:MAX_AXES]
    objectives = [objective.metric for objective in sweep.objectives]
    scored = [Metric.parse(name).dataset for name in objectives]
    if any(name not in unlabelled for name, _ in sweep.trained_on()):
        scored.append("")
    if "probe" not in sweep.measures:
        scored = []
    measured = [accuracy(split, dataset=on) for on in scored for split in ("val", "test")]
    metrics = list(dict.fromkeys([*objectives, *map(str, measured)]))
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in axes),
        "params.`seed`",
        *(["params.`fold`"] if folds_asked(sweep) else []),
        "attributes.`Dataset`",
        "attributes.`Description`",
    ]
    charts: list[dict[str, Any]] = [
        {
            "type": "PARALLEL",
            "uuid": "parallel",
            "metricSectionId": "swept",
            "displayName": f"{objectives[0]} by what was swept",
            "selectedParams": axes,
            "selectedMetrics": [objectives[0]],
            "showAllRuns": True,
        },
        *(
            {"type": "BAR", "uuid": f"bar-{name}", "metricSectionId": "measured", "metricKey": name}
            for name in metrics
        ),
        *(
            {
                "type": "LINE",
                "uuid": f"line-{name}",
                "metricSectionId": "learned",
                "metricKey": name,
                "selectedMetricKeys": [name],
                "xAxisKey": "step",
                "scaleType": "linear",
            }
            for name in (TRAIN_LOSS, QUICK_ACCURACY)
        ),
    ]
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {"attributes.`Run Name`": 360, "params.`seed`": 60},
        "orderByKey": f"metrics.`{objectives[0]}`",
        "orderByAsc": sweep.objective.mode == "min",
        "searchFilter": f"tags.`{PARENT}` = '{parent}'",
        "isAccordionReordered": True,  # or the sections would be put in alphabetical order
        "compareRunSections": [
            {"uuid": id, "name": name, "columns": columns, "display": True, "isReordered": True}
            for id, name, columns in SECTIONS
        ],
        "compareRunCharts": [{**c, "deleted": False, "isGenerated": False} for c in charts],
    }
    envelope = {"name": VIEW_NAME, "createdAt": round(1000 * created), "state": json.dumps(state)}
    return json.dumps(envelope)
