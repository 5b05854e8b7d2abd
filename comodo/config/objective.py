"""What a sweep is judged by: the names of all that can be measured, and which way is better."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, RootModel

from comodo.config.base import Settings

Measure = Literal[
    "probe", "linear", "knn", "few-shot", "zero-shot", "alignment", "classifier", "direct"
]

_PROBED = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")
_OF_BOTH_SPLITS: dict[Measure, tuple[str, ...]] = {
    "probe": _PROBED,
    "linear": ("linear/acc1",),
    "knn": ("knn/acc1",),
    "zero-shot": ("zero_shot/acc1", "zero_shot/acc3", "zero_shot/acc5"),
    "alignment": ("alignment/cka", "alignment/neighbours"),
}
_ONLY_OWN: tuple[Measure, ...] = ("zero-shot", "alignment", "classifier")
PARAMETERS = "student/parameters"
OWN_METRICS: dict[str, Measure] = {
    **{
        f"{split}/{name}": measure
        for measure, names in _OF_BOTH_SPLITS.items()
        for split in ("val", "test")
        for name in names
    },
    **{f"test/few_shot/{k}": "few-shot" for k in (1, 5, 10, 50, 100)},
    **{f"classifier/{s}/{name}": "classifier" for s in ("val", "test") for name in _PROBED},
    PARAMETERS: "probe",
}
"""Metrics of a student on the data set that it was trained on, with the measure that gives them."""
TRANSFER_METRICS: dict[str, Measure] = {
    **{k: v for k, v in OWN_METRICS.items() if v not in _ONLY_OWN and k != PARAMETERS},
    **{f"direct/{split}/{name}": "direct" for split in ("val", "test") for name in _PROBED},
}
"""The same on another data set, where they stand as `on/<data set>/<metric>`."""


class Objective(Settings):
    """One number to judge by, and which way is better."""

    metric: str = "val/acc1"
    """An accuracy (`val/acc1`), any other measure (`test/few_shot/5`), one on another data set
    (`on/<data set>/test/acc1`), or `student/parameters`."""
    mode: Literal["max", "min"] = Field(
        default_factory=lambda data: "min" if data.get("metric") == PARAMETERS else "max"
    )
    """Whether more or less of it is better; by default `max`, of `student/parameters` `min`."""

    @property
    def sign(self) -> int:
        """Times which more is better."""
        return 1 if self.mode == "max" else -1


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Objectives(RootModel[tuple[Objective, ...]]):
    """One objective or several; the first selects, and counts where only one can."""

    model_config = ConfigDict(frozen=True)
    root: Annotated[
        tuple[Objective, ...],
        BeforeValidator(_as_list, json_schema_input_type=Objective | list[Objective]),
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
        """Splits of the data set trained on whose labels some objective needs."""
        return {objective.metric.split("/")[0] for objective in self.root} & {"val", "test"}
