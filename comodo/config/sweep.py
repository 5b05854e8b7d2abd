"""A whole sweep file: trials, search, resources; and how it is read."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, model_validator

from comodo.config.base import ConfigError, Settings, dotted_key, line_of, nearest, reason_of
from comodo.config.datasets import DatasetConfig
from comodo.config.trial import Protocol, TeacherConfig, TrialConfig


class Range(Settings):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.log and self.min <= 0:
            raise ValueError("a log range must begin above zero")
        return self

    def ends(self) -> list[float]:
        return [int(self.min), int(self.max)] if self.integer else [self.min, self.max]


Choices = Annotated[list[Any], Field(min_length=1)]


class Search(Settings):
    sampler: Literal["grid", "random", "tpe"] = "grid"
    space: dict[str, Choices | Range] = Field({})
    """Dotted keys of `trial` to lists of values, or to ranges (random and tpe)."""
    seed: int = 0

    @model_validator(mode="after")
    def _grid_has_no_ranges(self) -> "Search":
        ranges = [key for key, values in self.space.items() if isinstance(values, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"a grid needs a list of values for {ranges[0]}, not a range")
        return self


class Objective(Settings):
    metric: Literal["val/acc1", "val/acc3", "val/acc5", "test/acc1", "test/acc3", "test/acc5"] = (
        "val/acc1"
    )
    mode: Literal["max", "min"] = "max"


Measure = Literal["probe", "linear", "knn", "few-shot", "zero-shot", "alignment", "direct"]


Reference = Literal["none", "supervised"]


class EarlyStopping(Settings):
    """ASHA on epochs, judged by the quick validation accuracy."""

    name: Literal["asha"]
    grace_epochs: int = Field(3, ge=1)
    reduction_factor: float = Field(3, gt=1)


class Resources(Settings):
    workers: int = Field(1, ge=1)
    """Processes that train one student together; the batch is divided among them."""
    cpus_per_worker: float = Field(1, gt=0)
    gpus_per_worker: float = Field(0, ge=0)
    max_concurrent_trials: int | None = Field(None, ge=1)


class Budget(Settings):
    trials: int | None = Field(None, ge=1)
    """At most so many trials (configurations times seeds); needed by random and tpe."""


def _references(data: dict[str, Any]) -> list[Reference]:
    return ["none", "supervised"] if data.get("evaluate_on") else ["none"]


class Sweep(Settings):
    """A whole sweep file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    protocol: Protocol = "corrected"
    """The protocol of every trial; swept as `search.space.protocol`."""
    datasets: dict[str, DatasetConfig]
    trial: TrialConfig
    search: Search = Search()
    seeds: list[int] = Field([0], min_length=1)
    objective: Objective = Field(
        default_factory=lambda data: Objective(
            metric="test/acc1" if data.get("protocol") == "published" else "val/acc1"
        )
    )
    """As published, selection is by the test split, and the report says so."""
    measures: list[Measure] = Field(["probe"], min_length=1)
    """What is measured of each student; all share one extraction of features. `direct` fits the
    probe on the data set trained on and scores it on those of `evaluate_on`."""
    evaluate_on: list[str] = Field([])
    """Data sets, with or without video, that students are also measured on, beside their own."""
    references: list[Reference] = Field(default_factory=_references)
    """Also measured, for every student: untrained (or as pretrained), the line that each method has
    to beat; and trained with labels on the schedule of `trial`, beside which transfer is read."""
    label_map: dict[str, dict[str, str]] = Field({})
    """For `direct`: by data set, its classes to names that the data sets share. A class that is
    not listed keeps its own name; what both sets have then is compared."""
    early_stopping: EarlyStopping | None = None
    resources: Resources = Resources()
    budget: Budget = Budget()

    _folder: Path = PrivateAttr(Path("."))

    def with_values(self, values: dict[str, Any]) -> TrialConfig:
        """The trial with dotted keys replaced, checked anew.

        Raises:
            ConfigError: an unknown key or an impossible value, by its dotted name.
        """
        data = self.trial.model_dump(mode="json", exclude_unset=True)
        for key, value in values.items():
            *parents, last = key.split(".")
            place: Any = data
            for parent in parents:
                place = place.setdefault(parent, {}) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise ConfigError(f"search.space.{key}: trial has no such key")
            place[last] = value
        try:
            return TrialConfig.model_validate(data, context={"folder": self._folder})
        except ValidationError as error:
            problem = error.errors()[0]
            key, around = dotted_key(problem["loc"], data)
            swept = next((k for k in values if key.startswith(k) or k.startswith(key)), "")
            raise ConfigError(
                f"search.space.{swept}: trial.{key} with "
                f"{', '.join(f'{k}={v}' for k, v in values.items())}: {reason_of(problem, around)}"
            ) from None

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination of the listed values, in the file's order."""
        lists = [values for values in self.search.space.values() if isinstance(values, list)]
        for values in itertools.product(*lists):
            yield dict(zip(self.search.space, values, strict=True))

    @model_validator(mode="before")
    @classmethod
    def _protocol_of_the_trial(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("trial"), dict):
            trial = data["trial"]
            if "protocol" in data:
                return {**data, "trial": {"protocol": data["protocol"], **trial}}
            if "protocol" in trial:
                return {**data, "protocol": trial["protocol"]}
        return data

    @model_validator(mode="after")
    def _holds_together(self, info: ValidationInfo) -> "Sweep":
        self._folder = (info.context or {}).get("folder", Path("."))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each seed once")
        for key, span in self.search.space.items():
            if isinstance(span, Range) and key.split(".")[0] in ("dataset", "teacher"):
                raise ValueError(f"search.space.{key}: needs a list of values, not a range")
        self._evaluations_hold_together()
        trials = self.budget.trials
        if self.search.sampler != "grid":
            if trials is None:
                raise ValueError(f"budget.trials: the sampler {self.search.sampler} needs it")
            if trials < len(self.seeds):
                raise ValueError(
                    f"budget.trials: {trials} do not reach for {len(self.seeds)} seeds"
                )
        elif trials is not None and (size := len(list(self.grid())) * len(self.seeds)) > trials:
            raise ValueError(f"budget.trials: the grid has {size} trials, more than {trials}")
        for values in self.points():
            trial = self.with_values(values)
            if trial.dataset not in self.datasets:
                raise ValueError(
                    f"trial.dataset: '{trial.dataset}' is not under datasets"
                    + nearest(trial.dataset, self.datasets)
                )
        return self

    def _evaluations_hold_together(self) -> None:
        if "probe" not in self.measures:
            raise ValueError("measures: probe has to be among them, it gives the objective")
        if "direct" in self.measures and not self.evaluate_on:
            raise ValueError("measures: direct needs evaluate_on, the data sets to transfer to")
        if self.label_map and "direct" not in self.measures:
            raise ValueError("label_map: only the measure 'direct' uses it; add it to measures")
        for key, names in (("evaluate_on", self.evaluate_on), ("label_map", self.label_map)):
            for name in names:
                if name not in self.datasets:
                    raise ValueError(
                        f"{key}: '{name}' is not under datasets{nearest(name, self.datasets)}"
                    )

    def trained_on(self) -> list[tuple[str, TeacherConfig]]:
        """Every pair of data set and teacher that a trial may ask for."""
        lists = {
            key: values
            for key, values in self.search.space.items()
            if key.split(".")[0] in ("dataset", "teacher") and isinstance(values, list)
        }
        pairs = []
        for values in itertools.product(*lists.values()):
            config = self.with_values(dict(zip(lists, values, strict=True)))
            if (config.dataset, config.teacher) not in pairs:
                pairs.append((config.dataset, config.teacher))
        return pairs

    def points(self) -> Iterator[dict[str, Any]]:
        """The grid; of another search each value or end of each key once, the others at their
        first, which is enough to check every key."""
        if self.search.sampler == "grid":
            yield from self.grid()
            return
        ends = {
            key: values if isinstance(values, list) else values.ends()
            for key, values in self.search.space.items()
        }
        first = {key: values[0] for key, values in ends.items()}
        yield first
        for key, values in ends.items():
            for value in values[1:]:
                yield {**first, key: value}


def load_sweep(path: str | Path) -> Sweep:
    """Reads and checks a sweep file.

    Raises:
        ConfigError: with a line for each problem: file, line, dotted key, reason, mend.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        text = path.read_text()
        data = yaml.safe_load(text)
        tree = yaml.compose(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a sweep file is a mapping that begins with name:")
    try:
        return Sweep.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            if problem["type"] == "default_factory_not_called":
                continue  # the fault of another key, which is named
            key, around = dotted_key(problem["loc"], data)
            reason = reason_of(problem, around)
            if not key:  # checks of the whole file begin their text with the key
                key, _, reason = reason.partition(": ")
            lines.append(f"{path}:{line_of(key, tree)}: {key}: {reason}")
        raise ConfigError("\n".join(lines)) from None
