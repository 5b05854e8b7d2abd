"""Views of MLflow's pages: the columns and charts of a sweep's configurations and of its trials, by
the swept keys. Only writes the texts; `tracking` stores them.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from comodo.config import Sweep
from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS, Metric, accuracy
from comodo.config.space import flatten
from comodo.evaluation.results import Results
from comodo.search.labels import Labels, folds_asked
from comodo.tracking.configurations import CONFIGURATION
from comodo.tracking.runs import SWEEP_RUN, TRIAL

MAX_AXES = 8  # of a parallel-coordinates plot that can still be read
NAMES = {False: "comodo: configurations", True: "comodo: trials"}
SELECTED, INTERVAL = "selected", "interval"  # in names of tags, which can be columns
SECTIONS = (("swept", "What was swept", 1), ("measured", "Measured", 3), ("learned", "Learning", 3))
"""Of the charts: key, title, and number of columns."""


def absent_values(results: Results) -> dict[str, str]:
    """A value for each swept key that some configurations lack, which none has: MLflow's parallel
    coordinates leave out configurations without one, and of a column of numbers also those with a
    text."""
    flats = [
        flatten(rows[0].trial.config.model_dump(mode="json"))
        for rows in results.by_label.values()
        if not results.is_reference(rows[0].trial)
    ]
    values = {key: [f[key] for f in flats if f.get(key) is not None] for key in results.labels.keys}
    return {key: stand_in(of) for key, of in values.items() if 0 < len(of) < len(flats)}


def stand_in(values: list[Any]) -> str:
    """`absent`, or for numbers one below them: 0, if all are above it."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return "absent"
    low, high = min(values), max(values)
    return "0" if low > 0 else f"{low - ((high - low) / 10 or 1):g}"


def axis(key: str, absent: Mapping[str, str]) -> str:
    """The parameter with a key's value, or what stands for an absent one: `queue_size or 0`."""
    if key not in absent:
        return key
    end = key.split(".")[-1]
    is_unique = sum(other.split(".")[-1] == end for other in absent) == 1
    return f"{end if is_unique else key} or {absent[key]}"


def shown_metrics(results: Results) -> list[str]:
    """The objectives and accuracies that have columns."""
    unlabelled = {name for row in results.rows for name in row.trial.evaluation.unlabelled}
    return _metrics(results.sweep, unlabelled)


def _metrics(sweep: Sweep, unlabelled: Collection[str]) -> list[str]:
    objectives = [objective.metric for objective in sweep.objectives]
    scored = [Metric.parse(name).dataset for name in objectives]
    if any(name not in unlabelled for name, _ in sweep.trained_on()):
        scored.append("")
    if "probe" not in sweep.measures:
        scored = []
    measured = [accuracy(split, dataset=on) for on in scored for split in ("val", "test")]
    return list(dict.fromkeys([*objectives, *map(str, measured)]))


def _axes(sweep: Sweep) -> list[str]:
    methods = {sweep.with_values(point).method.name for point in sweep.points()}
    return [*(["method.name"] if len(methods) > 1 else []), *Labels(sweep).keys][:MAX_AXES]


def configurations_view(results: Results, created: float, parent: str) -> str:
    """As `trials_view`, of the configurations."""
    sweep, axes, metrics = results.sweep, _axes(results.sweep), shown_metrics(results)
    absent = absent_values(results)
    objective = sweep.objectives[0].metric
    columns = [
        f"tags.`{SELECTED}`",
        *(c for name in metrics for c in (f"metrics.`{name}`", f"tags.`{name} {INTERVAL}`")),
        *(f"params.`{key}`" for key in axes),
        "attributes.`Description`",
    ]
    parallel = {
        "type": "PARALLEL",
        "uuid": "parallel",
        "metricSectionId": "swept",
        "displayName": f"{objective} by what was swept",
        "selectedParams": [axis(key, absent) for key in axes],
        "selectedMetrics": [objective],
        "showAllRuns": True,
    }
    condition = f"tags.`{SWEEP_RUN}` = '{parent}' and tags.`{CONFIGURATION}` != ''"
    return _view(False, sweep, created, condition, columns, [parallel, *_bars(metrics)])


def trials_view(
    sweep: Sweep, created: float, parent: str, unlabelled: Collection[str] = frozenset()
) -> str:
    """The tag of the experiment in which MLflow's pages keep a view, as their own `Save view` does:
    a table and charts of the sweep's trials by the swept keys. `created`: when the sweep began, in
    seconds since 1970; `parent`: the sweep's run; `unlabelled`: data sets to train on that students
    are not measured on."""
    metrics = _metrics(sweep, unlabelled)
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in _axes(sweep)),
        "params.`seed`",
        *(["params.`fold`"] if folds_asked(sweep) else []),
        "attributes.`Dataset`",
        "attributes.`Description`",
    ]
    lines = [
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
    ]
    condition = f"tags.`{SWEEP_RUN}` = '{parent}' and tags.`{TRIAL}` != ''"
    return _view(True, sweep, created, condition, columns, [*_bars(metrics), *lines])


def _bars(metrics: list[str]) -> list[dict[str, Any]]:
    return [
        {"type": "BAR", "uuid": f"bar-{name}", "metricSectionId": "measured", "metricKey": name}
        for name in metrics
    ]


def _view(
    trials: bool,
    sweep: Sweep,
    created: float,
    condition: str,
    columns: list[str],
    charts: list[dict[str, Any]],
) -> str:
    used = {chart["metricSectionId"] for chart in charts}
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {
            "attributes.`Run Name`": 360,
            "params.`seed`": 60,
            f"tags.`{SELECTED}`": 80,
        },
        "orderByKey": f"metrics.`{sweep.objectives[0].metric}`",
        "orderByAsc": sweep.objectives[0].mode == "min",
        "searchFilter": condition,
        "isAccordionReordered": True,  # or the sections would be put in alphabetical order
        "compareRunSections": [
            {"uuid": id, "name": name, "columns": width, "display": True, "isReordered": True}
            for id, name, width in SECTIONS
            if id in used
        ],
        "compareRunCharts": [{**c, "deleted": False, "isGenerated": False} for c in charts],
    }
    envelope = {
        "name": NAMES[trials],
        "createdAt": round(1000 * created),
        "state": json.dumps(state),
    }
    return json.dumps(envelope)
