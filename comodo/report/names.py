"""How people name keys and metrics: `queue size` for `method.queue_size`, `test Acc@1` for
`test/acc1`. For figures and papers; the page also has the keys that one writes into a file.
"""

import re
from typing import Any

from comodo.config import Sweep
from comodo.config.metric import PARAMETERS, Metric
from comodo.search.labels import channels_name

SPLITS = {"val": "validation"}
NAMES = {"dataset": "data set", "macro_f1": "macro F1", "cka": "CKA", "ece": "ECE"}
SAID_BY_THE_REST = {"method", "terms", "name", "kind"}
"""Parts of a dotted key that its other parts make clear."""


def key_name(key: str) -> str:
    """`method.queue_size`: queue size; `teacher.name`: teacher."""
    parts = key.split(".")
    left = [part for part in parts if part not in SAID_BY_THE_REST] or parts[:1]
    return " ".join(NAMES.get(part, part.replace("_", " ")) for part in left)


def value_name(key: str, value: Any) -> str:
    """The value of a key; drawn numbers with three digits."""
    if key == "student.channels" and isinstance(value, list):
        return channels_name(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def metric_name(name: str) -> str:
    """`val/acc1`: validation Acc@1; `on/watch/test/macro_f1`: test macro F1 on watch."""
    if name == PARAMETERS:
        return "parameters of the student"
    metric = Metric.parse(name)
    measured = NAMES.get(metric.name, metric.name.replace("_", " "))
    if metric.name.startswith("acc") and metric.name[3:].isdecimal():
        measured = f"Acc@{metric.name[3:]}"
    elif metric.measure == "retrieval":
        measured = re.sub(r"\br(\d+)$", r"R@\1", measured.replace("imu", "IMU"))
    measure = "" if metric.measure == "probe" else metric.measure
    on = f"on {metric.dataset}" if metric.dataset else ""
    split = SPLITS.get(metric.split, metric.split)
    return " ".join(filter(None, [split, measure, measured, on]))


def scale_of(name: str, sweep: Sweep) -> int:
    """By what a metric is multiplied where it is shown: shares by 100, as they are in percent."""
    metric = Metric.parse(name)
    known = sweep.measures.known(metric.measure)
    return 100 if known is not None and known.is_share(metric.name) else 1


def metric_axis(name: str, scale: int = 100) -> str:
    """`metric_name` with its unit, in which figures show it."""
    return f"{metric_name(name)} (%)" if scale == 100 else metric_name(name)
