"""The names of metrics, as files, YAML and MLflow spell them, and those that can judge a sweep.
Does not know how a metric is computed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, RootModel

from comodo.config.base import as_list
from comodo.config.measures import DECLARED, OF_CLASSIFIER, Declaration, Measures
from comodo.core.settings import Settings

MIN_ALIGNED = 12
"""Windows with video of a split whose alignment is measured."""

# Metrics of an epoch.
TRAIN_LOSS = "train/loss"
LEARNING_RATE = "train/learning_rate"
GRAD_NORM = "train/grad_norm"
WINDOWS_PER_SECOND = "train/windows_per_second"
QUICK_ACCURACY = "val/quick_acc1"
"""By the nearest class mean; not comparable with the accuracy of a measure."""
ANCHOR_ACCURACY = "val/anchor_acc1"
"""By the nearest of the published anchors of `zero-shot`."""

_IN_FRONT = ("classifier", "direct")
_IN_COLUMN = {
    measure.replace("-", "_"): measure
    for measure in DECLARED
    if measure not in ("probe", *_IN_FRONT)
}


@dataclass(frozen=True)
class Metric:
    """One number measured of a student: `test/acc1`, `on/mmea/direct/test/acc1`, `probe/C`."""

    split: str
    """Empty for a metric without a split: the probe's C, the student's parameters."""
    name: str
    measure: str = "probe"
    """A measure, or `student` for what is known of that without one."""
    dataset: str = ""
    """Empty for the data set that the student was trained on."""

    @classmethod
    @cache
    def parse(cls, text: str) -> "Metric":
        """The metric with this name; the inverse of `str`."""
        dataset, measure = "", "probe"
        if text.startswith("on/"):
            _, dataset, text = text.split("/", 2)
        first, _, name = text.partition("/")
        if first in _IN_FRONT:
            measure = first
            first, _, name = name.partition("/")
        elif first == "student":
            first, measure = "", "student"
        part, _, rest = name.partition("/")
        if rest:
            measure, name = _IN_COLUMN.get(part, part), rest
        split = "" if first == "probe" else first
        return cls(split, name, measure, dataset)

    def __str__(self) -> str:
        if self.measure == "student":
            plain = f"student/{self.name}"
        else:
            plain = f"{self.split or 'probe'}/{self.column}"
            if self.measure in _IN_FRONT:
                plain = f"{self.measure}/{plain}"
        return f"on/{self.dataset}/{plain}" if self.dataset else plain

    @property
    def column(self) -> str:
        """The name without data set and split, as in a measure's table of predictions."""
        if self.measure in ("probe", "student", *_IN_FRONT):
            return self.name
        return f"{self.measure.replace('-', '_')}/{self.name}"


def accuracy(split: str, k: int = 1, measure: str = "probe", dataset: str = "") -> Metric:
    """Acc@k: the share of windows whose class is among the k most probable."""
    return Metric(split, f"acc{k}", measure, dataset)


PARAMETERS = str(Metric("", "parameters", "student"))


def _metrics_of(declared: Mapping[str, Declaration], nowhere: str) -> dict[str, str]:
    """The metrics of measures, each with its measure, but of those that are only on the data sets
    `nowhere`."""
    return {
        str(Metric(split, name, measure)): measure
        for measure, of in declared.items()
        for split in of.splits
        for name in of.metrics
        if of.datasets != nowhere
    }


def _own_metrics(declared: Mapping[str, Declaration]) -> dict[str, str]:
    return _metrics_of(declared, nowhere="others")


def _transfer_metrics(declared: Mapping[str, Declaration]) -> dict[str, str]:
    """Without those of a student's classifier, which knows the classes of its data set only."""
    found = _metrics_of(declared, nowhere="own").items()
    return {name: measure for name, measure in found if OF_CLASSIFIER not in name}


OWN_METRICS = {**_own_metrics(DECLARED), PARAMETERS: "probe"}
"""Metrics of a student on the data set that it was trained on, with the measure that gives them."""
TRANSFER_METRICS = _transfer_metrics(DECLARED)
"""The same on another data set, where their names begin with `on/<data set>/`."""


_OTHER_NAMES = {
    "accuracy": "acc1", "acc": "acc1", "top1": "acc1", "top-1": "acc1", "acc-1": "acc1",
    "acc@1": "acc1", "top3": "acc3", "acc@3": "acc3", "top5": "acc5", "top-5": "acc5",
    "acc@5": "acc5", "f1": "macro_f1", "f1-score": "macro_f1", "f1-macro": "macro_f1",
    "macro-f1": "macro_f1", "bacc": "balanced_accuracy", "recall": "balanced_accuracy",
    "macro-recall": "balanced_accuracy",
}  # fmt: skip
"""Metrics of a classification by what others call them; macro recall is balanced accuracy."""


def meant_metric(text: str, known: Collection[str]) -> str:
    """The known metric that `text` is another name of, such as `test/macro_f1` of `test/f1`; empty
    if there is none. Without a split it is that of val."""
    before, _, name = text.rpartition("/")
    name = name.lower().replace("_", "-")
    meant = f"{before or 'val'}/{_OTHER_NAMES.get(name, text.rpartition('/')[2])}"
    return meant if meant in known else ""


def metrics_of_student(others: Iterable[str], measures: Measures) -> dict[str, str]:
    """The metrics of a student on its own data set and on others, with the measure of each: also
    those of comodo's measures that are not asked for."""
    own = {name: measure.declared for name, measure in measures.own.items()}
    transfer = TRANSFER_METRICS | _transfer_metrics(own)
    return (
        OWN_METRICS
        | _own_metrics(own)
        | {
            str(replace(Metric.parse(metric), dataset=name)): measure
            for name in others
            for metric, measure in transfer.items()
        }
    )


def _is_cost(metric: str) -> bool:
    """Whether less of a metric is better."""
    measures = [_IN_COLUMN.get(part) for part in metric.split("/")[-2:-1]]
    return metric == PARAMETERS or any(m and not DECLARED[m].higher_is_better for m in measures)


class Objective(Settings):
    """One number to judge by, and which way is better."""

    metric: str = str(accuracy("val"))
    """An accuracy (`val/acc1`), macro F1 (`val/macro_f1`), any other measure (`test/few_shot/5`),
    one on another data set (`on/<data set>/test/acc1`), or `student/parameters`."""
    mode: Literal["max", "min"] = Field(
        default_factory=lambda data: "min" if _is_cost(data.get("metric", "")) else "max"
    )
    """Which values are better; by default `max`, for `student/parameters`, `calibration` and a
    measure of your own with `HIGHER_IS_BETTER = False` `min`."""

    @property
    def sign(self) -> int:
        """Multiplied by this, larger values are better."""
        return 1 if self.mode == "max" else -1


def _by_metric(value: Any) -> Any:
    """Objectives that are written as the names of their metrics alone, in full."""
    return [{"metric": one} if isinstance(one, str) else one for one in as_list(value)]


class Objectives(RootModel[tuple[Objective, ...]]):
    """One objective or several; the first one selects, and is used where only one can be. A metric
    alone, such as `val/macro_f1`, is one in its own direction."""

    model_config = ConfigDict(frozen=True)
    root: Annotated[
        tuple[Objective, ...],
        BeforeValidator(_by_metric, json_schema_input_type=str | Objective | list[str | Objective]),
        Field(min_length=1),
    ]

    @property
    def metric(self) -> str:
        return self.root[0].metric

    @property
    def mode(self) -> Literal["max", "min"]:
        return self.root[0].mode
