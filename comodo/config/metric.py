"""The names of metrics: those measured on a student, and those that training reports each epoch.

Knows how a name is spelt in files, YAML and MLflow, not how a metric is computed.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

Measure = Literal[
    "probe", "linear", "knn", "few-shot", "zero-shot", "alignment", "classifier", "direct"
]

# Metrics of an epoch.
TRAIN_LOSS = "train/loss"
LEARNING_RATE = "train/learning_rate"
GRAD_NORM = "train/grad_norm"
WINDOWS_PER_SECOND = "train/windows_per_second"
QUICK_ACCURACY = "val/quick_acc1"
"""By the nearest class mean; not comparable with the accuracy of a measure."""

_IN_FRONT = ("classifier", "direct")
_IN_COLUMN: dict[str, Measure] = {
    measure.replace("-", "_"): measure
    for measure in get_args(Measure)
    if measure not in ("probe", *_IN_FRONT)
}


@dataclass(frozen=True)
class Metric:
    """One number measured of a student: `test/acc1`, `on/mmea/direct/test/acc1`, `probe/C`."""

    split: str
    """Empty for a metric without a split: the probe's C, the student's parameters."""
    name: str
    measure: Measure | Literal["student"] = "probe"
    dataset: str = ""
    """Empty for the data set that the student was trained on."""

    @classmethod
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
        if rest and part in _IN_COLUMN:
            measure, name = _IN_COLUMN[part], rest
        split = "" if first == "probe" else first
        return cls(split, name, cast(Measure, measure), dataset)

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
        part = self.measure.replace("-", "_")
        return f"{part}/{self.name}" if part in _IN_COLUMN else self.name


def accuracy(split: str, k: int = 1, measure: Measure = "probe", dataset: str = "") -> Metric:
    """Acc@k: the share of windows whose class is among the k most probable."""
    return Metric(split, f"acc{k}", measure, dataset)


PARAMETERS = str(Metric("", "parameters", "student"))
