"""What a person meets of a sweep in MLflow: its description, and a view of its runs whose columns
and charts answer the sweep's question.

MLflow's pages keep such a view in a tag of the experiment, as their own `Save view` does. Writes
text alone; `tracker` puts it where it belongs.
"""

import json
import math
from typing import Any

from comodo.config import Sweep
from comodo.names import Names, rounded
from comodo.report.page import swept
from comodo.report.tables import accuracy_table, missing
from comodo.results import Results
from comodo.saved import Saved
from comodo.tracking.runs import SweepRuns

LONGEST_NOTE = 8000  # letters that MLflow keeps of a tag
MOST_AXES = 8  # of a parallel-coordinates plot that can still be read
MOST_COMPARED = 40  # runs that one address names
VIEW_NAME = "comodo: the swept keys"
TRIALS_ONLY = "tags.`comodo.trial` LIKE '%'"


def asked(sweep: Sweep) -> str:
    """The sweep's question, in one sentence."""
    keys = [f"{key} ({values})" for key, values in swept(sweep).items()]
    objectives = [f"{o.metric} ({o.mode})" for o in sweep.objectives]
    trained = dict.fromkeys(name for name, _ in sweep.trained_on())
    on = [name for name in sweep.evaluate_on if name not in trained]
    parts = [
        f"{' and '.join(objectives)} by {', '.join(keys)}" if keys else " and ".join(objectives),
        f"trained on {', '.join(trained)}",
        *([f"also tested on {', '.join(on)}"] if on else []),
        f"seeds {', '.join(map(str, sweep.seeds))}",
        f"protocol {sweep.protocol}",
    ]
    return "; ".join(parts) + "."


def beginning(sweep: Sweep, command: str) -> str:
    """The description of a sweep that runs."""
    return f"{asked(sweep)}\n\nTo run it, or go on with it: `{command}`"


def description(results: Results, saved: Saved, runs: SweepRuns) -> str:
    """The description of a sweep with results: the question, the pages that compare its runs, and
    the report's table of accuracies, the best first and as much of it as MLflow keeps."""
    first = results.sweep.objectives[0]

    def badness(label: str) -> float:
        found = results.objectives(label) if label in results.by_label else None
        return math.inf if found is None else -first.sign * found[0]

    labels = sorted(dict.fromkeys(row.label for row in results.rows), key=badness)
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
        of = f"the best {MOST_COMPARED} of {len(own)}" if len(own) > MOST_COMPARED else "all"
        pages.append(f"[compare {of}]({runs.compare_page(own[:MOST_COMPARED])})")
    simulated = [n for n, d in results.sweep.datasets.items() if d.kind == "simulated"]
    head = [
        beginning(results.sweep, saved.command),
        "",
        *([f"**A demonstration**, on simulated {', '.join(simulated)}.", ""] if simulated else []),
        f"Selected: **{results.selected}**." if results.selected else "None is selected.",
        *missing(results.rows, saved.command)[:1],
        "",
        f"See {', '.join(pages)}; files and figures are among the artifacts.",
        "",
    ]
    table = accuracy_table(results, labels)[:-1]
    left = len(table) - 2
    while left and len(_joined(head, table, left)) > LONGEST_NOTE:
        left -= 1
    return _joined(head, table, left)


def _joined(head: list[str], table: list[str], left: int) -> str:
    """The description with so many lines of its table."""
    cut = len(table) - 2 - left
    more = ["", f"And {cut} more, in report/report.html among the artifacts."] if cut else []
    return rounded("\n".join([*head, *table[: left + 2], *more]))


def saved_view(sweep: Sweep, created: float) -> str:
    """What the experiment's tag has to say for MLflow's pages to show the sweep's runs by what was
    swept: as a table with these columns, or in charts.

    created: seconds since 1970, of when the sweep was begun.
    """
    methods = {sweep.with_values(point).method.name for point in sweep.points()}
    axes = [*(["method.name"] if len(methods) > 1 else []), *Names(sweep).keys][:MOST_AXES]
    objectives = [objective.metric for objective in sweep.objectives]
    metrics = list(dict.fromkeys([*objectives, "val/acc1", "test/acc1"]))
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in axes),
        "params.`seed`",
        "attributes.`Dataset`",
        "attributes.`Description`",
    ]
    sections = [
        ("swept", "What was swept", 1),
        ("measured", "Measured", 3),
        ("learned", "Learning", 3),
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
            for name in ("train/loss", "val/quick_acc1")
        ),
    ]
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {"attributes.`Run Name`": 360, "params.`seed`": 60},
        "orderByKey": f"metrics.`{objectives[0]}`",
        "orderByAsc": sweep.objective.mode == "min",
        "searchFilter": TRIALS_ONLY,
        "isAccordionReordered": True,  # or the sections would be put in alphabetical order
        "compareRunSections": [
            {"uuid": id, "name": name, "columns": columns, "display": True, "isReordered": True}
            for id, name, columns in sections
        ],
        "compareRunCharts": [{**c, "deleted": False, "isGenerated": False} for c in charts],
    }
    envelope = {
        "name": VIEW_NAME,
        "createdAt": round(1000 * created),
        "state": json.dumps(state),
    }
    return json.dumps(envelope)
