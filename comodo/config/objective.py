"""What a sweep is judged by: the names of all metrics, and which way is better."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, RootModel

from comodo.config.base import Settings, as_list
from comodo.config.metric import PARAMETERS, Measure, Metric, accuracy

_SPLITS = ("val", "test")
_CLASSIFICATION = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
_NAMES: dict[Measure, tuple[str, ...]] = {
    "probe": _CLASSIFICATION,
    "linear": ("acc1",),
    "knn": ("acc1",),
    "zero-shot": ("acc1", "acc3", "acc5"),
    "alignment": ("cka", "neighbours"),
    "few-shot": ("1", "5", "10", "50", "100"),
    "classifier": _CLASSIFICATION,
    "direct": _CLASSIFICATION,
}


def _metrics_of(*measures: Measure) -> dict[str, Measure]:
    return {
        str(Metric(split, name, measure)): measure
        for measure in measures
        for split in (("test",) if measure == "few-shot" else _SPLITS)
        for name in _NAMES[measure]
    }


OWN_METRICS: dict[str, Measure] = {
    **_metrics_of("probe", "linear", "knn", "zero-shot", "alignment", "few-shot", "classifier"),
    PARAMETERS: "probe",
}
"""Metrics of a student on the data set that it was trained on, with the measure that gives them."""
TRANSFER_METRICS = _metrics_of("probe", "linear", "knn", "few-shot", "direct")
"""The same on another data set, where their names begin with `on/<data set>/`."""


class Objective(Settings):
    """One number to judge by, and which way is better."""

    metric: str = str(accuracy("val"))
    """An accuracy (`val/acc1`), any other measure (`test/few_shot/5`), one on another data set
    (`on/<data set>/test/acc1`), or `student/parameters`."""
    mode: Literal["max", "min"] = Field(
        default_factory=lambda data: "min" if data.get("metric") == PARAMETERS else "max"
    )
    """Whether larger or smaller values are better; by default `max`, for `student/parameters`
    `min`."""

    @property
    def sign(self) -> int:
        """Multiplied by this, larger values are better."""
        return 1 if self.mode == "max" else -1


class Objectives(RootModel[tuple[Objective, ...]]):
    """One objective or several; the first one selects, and is used where only one can be."""

    model_config = ConfigDict(frozen=True)
    root: Annotated[
        tuple[Objective, ...],
        BeforeValidator(as_list, json_schema_input_type=Objective | list[Objective]),
        Field(min_length=1),
    ]

    @property
    def metric(self) -> str:
        return self.root[0].metric

    @property
    def mode(self) -> Literal["max", "min"]:
        return self.root[0].mode

    @property
    def splits(self) -> set[str]:
        """Splits of the training data set whose labels an objective needs."""
        metrics = [Metric.parse(objective.metric) for objective in self.root]
        return {metric.split for metric in metrics if metric.split and not metric.dataset}
