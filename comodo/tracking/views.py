"""A sweep's view in MLflow: the columns and charts of its runs that answer the sweep's question.

MLflow's pages store such a view in a tag of the experiment, as their own `Save view` does. Only
writes the text; `tracker` sets the tag.
"""

import json
from typing import Any

from comodo.config import Sweep
from comodo.config.metric import QUICK_ACCURACY, TRAIN_LOSS, accuracy
from comodo.search.labels import Labels

MAX_AXES = 8  # of a parallel-coordinates plot that can still be read
VIEW_NAME = "comodo: the swept keys"
TRIALS_ONLY = "tags.`comodo.trial` LIKE '%'"


def saved_view(sweep: Sweep, created: float) -> str:
    """The tag of the experiment for a table and charts of the sweep's runs by the swept keys.

    created: when the sweep began, in seconds since 1970.
    """
    methods = {sweep.with_values(point).method.name for point in sweep.points()}
    axes = [*(["method.name"] if len(methods) > 1 else []), *Labels(sweep).keys][:MAX_AXES]
    objectives = [objective.metric for objective in sweep.objectives]
    metrics = list(dict.fromkeys([*objectives, str(accuracy("val")), str(accuracy("test"))]))
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
            for name in (TRAIN_LOSS, QUICK_ACCURACY)
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
    envelope = {"name": VIEW_NAME, "createdAt": round(1000 * created), "state": json.dumps(state)}
    return json.dumps(envelope)
