"""The settings of a sweep file."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, model_validator

from comodo.config.base import ConfigError, Seed
from comodo.config.datasets import DatasetConfig, following
from comodo.config.measures import PROMPT, Measures, Prompt
from comodo.config.measuring import directed, refuse_unfit_measures, refuse_unmeasured_objectives
from comodo.config.metric import Objective, Objectives, accuracy, metrics_of_student
from comodo.config.overrides import Recipe, apply_overrides, explained
from comodo.config.resources import Budget, EarlyStopping, Resources
from comodo.config.seen_channels import refuse_lacking_channels, with_channels
from comodo.config.shared_space import refuse_outside_shared_space
from comodo.config.space import Point, Range, Search, Space, canonical, flatten, plain
from comodo.config.teacher import TeacherConfig, refuse_pictures
from comodo.config.trial import Protocol, TrialConfig
from comodo.core.errors import nearest
from comodo.core.settings import Settings

Reference = Literal["none", "features", "supervised"]
DECISIVE = ("protocol", "dataset", "teacher")
"""Keys of a trial that decide what a teacher sees."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that becomes a folder and part of MLflow's names."""


def _references(data: dict[str, Any]) -> list[Reference]:
    always: list[Reference] = ["none", "features"]
    return [*always, "supervised"] if data.get("evaluate_on") else always


class Sweep(Settings):
    """A sweep file."""

    name: Name
    """The sweep's name in store, report and MLflow: letters, digits, dot, dash, underscore."""
    protocol: Protocol = "corrected"
    """The protocol of every trial; swept as `search.space.protocol`."""
    datasets: dict[Name, DatasetConfig]
    """Data sets by names of your choice; `kind` says how each is read."""
    trial: TrialConfig
    """What is trained, and how, unless the search or a recipe says otherwise."""
    recipes: list[Recipe] = Field([])
    """Settings that belong to a data set, a method or a model, such as `{when: {method.name:
    supervised}, set: {epochs: 40}}`. Later recipes override earlier ones."""
    search: Search = Search()
    """Which configurations are tried."""
    seeds: list[Seed] = Field([0], min_length=1)
    """Each configuration is trained once with each seed (and fold); its score is the mean. One seed
    cannot tell a difference from chance, `[0, 1, 2]` can."""
    objective: Objectives = Field(
        default_factory=lambda data: Objectives.model_validate(
            {"metric": str(accuracy("test" if data.get("protocol") == "published" else "val"))}
        )
    )
    """What selects the best configuration; by default `val/acc1`. With `protocol: published` it is
    `test/acc1`: selection by the test split, and the report says so."""
    measures: Measures = Measures.model_validate(["probe"])
    """What is measured of each student; all share one extraction of features. `direct` fits the
    probe on the data set trained on and scores it on those of `evaluate_on`; `classifier` scores
    students trained with labels by their own classifier. `fine-tuned` trains copies of the student
    on labels, which can take longer than its training. For dlinear, informer and timesnet only
    `classifier`, requested or not, and its `calibration` are measured. `[alignment]` alone needs no
    labels; one of its metrics is then the objective. Your own: `{name: my_measure, file:
    my_measure.py, class: Mine}`, see docs/extending.md."""
    evaluate_on: list[str] = Field([])
    """Data sets, with or without video, that students are measured on besides their own; on these
    only, by an objective such as `on/<data set>/val/acc1`, if their own has no labels."""
    references: list[Reference] = Field(default_factory=_references)
    """Also measured for every student: `none`, the student untrained (or as pretrained), which each
    method has to beat; `features`, hand-crafted features of the channels that the student sees,
    with logistic regression or a random forest, which cost seconds; `supervised`, the student
    trained with labels on the schedule of `trial`, to compare transfer with. By default `[none,
    features]`, with `evaluate_on` all."""
    label_map: dict[str, dict[str, str]] = Field({})
    """For `direct`: for each data set, the common names of its classes. Others keep their own; the
    classes that both data sets then have are compared."""
    prompt: Prompt = PROMPT
    """For `zero-shot-text`: the text of a class, with its name in place of `{class}`."""
    early_stopping: EarlyStopping | None = None
    """By default every trial runs all its epochs."""
    resources: Resources = Resources()
    """What a trial needs from the machine or cluster; not part of any key."""
    budget: Budget = Budget()
    """When the sweep stops."""
    allow_code: list[str] = Field([])
    """Python files whose code may run, as `file` of a custom student: list only files that you have
    read. Without that no file that a sweep file names is run, see docs/extending.md."""

    _context: dict[str, Any] = PrivateAttr({})
    """The validation context, for trials that are created later."""
    _configs: dict[str, TrialConfig] = PrivateAttr(default_factory=dict)
    """What `with_values` made."""

    @property
    def folder(self) -> Path:
        """Folder of the sweep file."""
        return Path(self._context.get("folder", "."))

    @property
    def overrides(self) -> dict[str, Any]:
        """Keys of the sweep file that the command line set, with their values."""
        return dict(self._context.get("overrides", {}))

    @property
    def asked(self) -> dict[str, dict[str, int]]:
        """By the last part of a key and what a smoke run has: what its file has there."""
        return dict(self._context.get("asked", {}))

    @property
    def code(self) -> dict[str, str]:
        """The texts of `allow_code`, by the names there, as they were when the sweep was read."""
        return dict(self._context.get("code", {}))

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.objective.root

    @cached_property
    def space(self) -> Space:
        return Space(self.search.space, self.trial.model_dump(mode="json"))

    @cached_property
    def metrics(self) -> dict[str, str]:
        """The metrics of every student, each with the measure that gives it."""
        own = {name for name, _ in self.trained_on()}
        return metrics_of_student((n for n in self.evaluate_on if n not in own), self.measures)

    def with_values(self, values: Point) -> TrialConfig:
        """The trial with dotted keys replaced, without settings that a new method or model lacks.
        Raises ConfigError, its code the dotted key, for an unknown key or an invalid value. It is
        made once: plans and reports ask for each configuration again and again."""
        if (known := self._configs.get(repr(values))) is not None:
            return known
        data = self.trial.model_dump(mode="json", exclude_unset=True)
        apply_overrides(data, values, "search.space.")
        trial = self._checked(data, values)
        flat = flatten(trial.model_dump(mode="json")) if self.recipes else {}
        for number, recipe in enumerate(self.recipes):
            if recipe.fits(flat):
                apply_overrides(data, recipe.set, f"recipes.{number}.set.")
                trial = self._checked(data, values)
        self._configs[repr(values)] = trial
        return trial

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)  # other settings, other trials
        copied._configs = {}
        return copied

    def supervised_like(self, config: TrialConfig) -> TrialConfig:
        """The trial that trains the same student on the same data set with labels."""
        student = config.student.model_dump(mode="json", exclude_unset=True)
        values = {"dataset": config.dataset, "student": student, "method": "supervised"}
        return self.with_values(values)

    def _checked(self, data: dict[str, Any], values: Point) -> TrialConfig:
        try:
            trial = TrialConfig.model_validate(data, context=self._context)
            return with_channels(trial, self.datasets, values)
        except ValidationError as error:
            raise explained(error, data, values, self.search.space, self.recipes) from None

    def grid(self) -> Iterator[Point]:
        """Every point, first those of `start_with`, then in the file's order."""
        starts = self.search.start_with

        def position(point: Point) -> int:
            return [*(start.items() <= point.items() for start in starts), True].index(True)

        return iter(sorted(self.space.points(), key=position))

    @model_validator(mode="before")
    @classmethod
    def _protocol_of_the_trial(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, dict) and isinstance(data.get("trial"), dict):
            trial = data["trial"]
            if "protocol" in data:
                own = trial.get("protocol", data["protocol"])
                if own != data["protocol"] and not (info.context or {}).get("read_back"):
                    raise ValueError(f"protocol: trial.protocol is {own!r}; keep one of the two")
                return {**data, "trial": {"protocol": data["protocol"], **trial}}
            if "protocol" in trial:
                return {**data, "protocol": trial["protocol"]}
        return data

    @model_validator(mode="before")
    @classmethod
    def _data_of_the_protocol(cls, data: Any, info: ValidationInfo) -> Any:
        """Sweeps that were run are read as they were, also by earlier versions."""
        if not isinstance(data, dict) or (info.context or {}).get("read_back"):
            return data
        trial: dict[str, Any] = data["trial"] if isinstance(data.get("trial"), dict) else {}
        search: dict[str, Any] = data["search"] if isinstance(data.get("search"), dict) else {}
        if not isinstance(data.get("datasets"), dict):
            return data
        protocol = str(trial.get("protocol") or data.get("protocol") or "corrected")
        is_swept = "protocol" in (search.get("space") or {})
        return {**data, "datasets": following(protocol, data["datasets"], is_swept)}

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo) -> "Sweep":
        self._context = info.context or {}
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: list each seed once")
        for key, span in self.search.space.items():
            if isinstance(span, Range) and key.split(".")[0] in ("dataset", "teacher"):
                raise ValueError(f"search.space.{key}: needs a list of values, not a range")
        self._merge_spellings()
        if not self._context.get("read_back"):  # earlier versions left such a key out
            self.space.refuse_unmet()
        self._check_search()
        self._check_recipes()
        self._check_evaluation()
        labels = "supervised" in self.references
        for values in (*self.points(), *self.space.fractions()):
            trial = self.with_values(values)
            self._refuse_unknown_dataset("trial.dataset", trial.dataset)
            if trial.student.name == "hand-crafted":
                fix = "name another; references: [features] compares it with these"
                raise ValueError(f"trial.student: no method trains hand-crafted features; {fix}")
            refuse_outside_shared_space(trial, self.measures)
            refuse_lacking_channels(trial, {n: self.datasets[n] for n in self.evaluate_on})
            if trial.teacher is not None:
                refuse_pictures(trial.teacher, trial.dataset, self.datasets[trial.dataset])
            elif reader := self.measures.teacher_reader:
                raise ValueError(f"trial.teacher: {reader} needs one; name it here")
            labels = labels or trial.method.has_classifier
        if "classifier" in self.measures and not labels:
            raise ValueError("measures: classifier needs the method, term or reference supervised")
        refuse_unmeasured_objectives(self.objectives, self.metrics, self.measures, self.datasets)
        object.__setattr__(self, "objective", directed(self.objective, self.metrics, self.measures))
        return self

    def _merge_spellings(self) -> None:
        """Keeps the first of a key's values that mean the same trial under each protocol."""
        space = Space(self.search.space, self.trial.model_dump(mode="json"))
        for key, span in self.search.space.items():
            around = space.where_active(key)
            if isinstance(span, Range) or around is None:
                continue
            kept: dict[str, Any] = {}
            for value in span.values:
                values, meant = {**around, key: value}, canonical({key: value})
                with suppress(ConfigError):  # raised again where all keys have values
                    meant = "".join(
                        self._meaning(values, protocol) for protocol in get_args(Protocol)
                    )
                kept.setdefault(meant, value)
            span.values[:] = kept.values()

    def _meaning(self, values: Point, protocol: str) -> str:
        """The trial with these values and a default protocol, without recipes, as JSON."""
        data = {**self.trial.model_dump(mode="json", exclude_unset=True), "protocol": protocol}
        apply_overrides(data, values, "search.space.")
        return json.dumps(plain(self._checked(data, values).meant))

    def _check_search(self) -> None:
        for start in self.search.start_with:
            try:
                self.space.check(start)
            except ValueError as error:
                raise ValueError(f"search.start_with: {error}") from None
        if self.name in self.search.warm_start:
            raise ValueError("search.warm_start: a sweep learns from its own trials anyway")
        if self.search.hopeless_below is not None and len(self.objectives) > 1:
            raise ValueError("search.hopeless_below: needs a single objective")
        trials = self.budget.trials
        if self.search.sampler != "grid":
            if trials is None:
                raise ValueError(f"budget.trials: the sampler {self.search.sampler} needs it")
            if trials < len(self.seeds):
                raise ValueError(f"budget.trials: {trials} are fewer than {len(self.seeds)} seeds")
        elif trials is not None and (size := len(list(self.grid())) * len(self.seeds)) > trials:
            raise ValueError(f"budget.trials: the grid has {size} trials, more than {trials}")

    def _check_recipes(self) -> None:
        for number, recipe in enumerate(self.recipes):
            try:
                recipe.check(list(self.datasets), self.search.space)
            except ValueError as error:
                raise ValueError(f"recipes.{number}.{error}") from None
        if not self.recipes or self.search.sampler != "grid":
            return  # other searches try only some of the combinations
        configs = [self.with_values(point) for point in self.points()]
        if "supervised" in self.references:
            configs += [self.supervised_like(config) for config in configs]
        flats = [flatten(config.model_dump(mode="json")) for config in configs]
        for number, recipe in enumerate(self.recipes):
            if not any(map(recipe.fits, flats)):
                raise ValueError(f"recipes.{number}.when: no configuration meets this")

    def _check_evaluation(self) -> None:
        refuse_unfit_measures(self.measures, self.evaluate_on, self.label_map)
        for key, names in (("evaluate_on", self.evaluate_on), ("label_map", self.label_map)):
            for name in names:
                self._refuse_unknown_dataset(key, name)

    def _refuse_unknown_dataset(self, key: str, name: str) -> None:
        if name not in self.datasets:
            raise ValueError(f"{key}: '{name}' is not under datasets{nearest(name, self.datasets)}")

    def used(self) -> list[str]:
        """The data sets that students are trained or measured on."""
        return list(dict.fromkeys([*(name for name, _ in self.trained_on()), *self.evaluate_on]))

    def trained_on(self) -> list[tuple[str, TeacherConfig | None]]:
        """Every pair of data set and teacher that a trial may have."""
        keys = [key for key in self.search.space if key.split(".")[0] in DECISIVE]
        configs = map(self.with_values, self.space.points(keys))
        return list(dict.fromkeys((config.dataset, config.teacher) for config in configs))

    def encoded(self) -> dict[tuple[str, TeacherConfig], str]:
        """Of `trained_on` the pairs whose features some trial reads, each with the first reader:
        `the method comodo`, or `the measure alignment`."""
        models = ("method", "method.name", "student", "student.name")
        keys = [
            key
            for key in self.search.space
            if key.split(".")[0] in DECISIVE or key in models or key.startswith("method.terms")
        ]
        found: dict[tuple[str, TeacherConfig], str] = {}
        for config in map(self.with_values, self.space.points(keys)):
            reader = config.method.teacher_reader or self.measures.teacher_reader
            if reader and config.teacher is not None:
                found.setdefault((config.dataset, config.teacher), reader)
        return found

    def points(self) -> Iterator[Point]:
        """All points of a grid. For another search its first points, and points with each value or
        end of each key: enough to check every key."""
        if self.search.sampler == "grid":
            yield from self.grid()
        else:
            yield from self.space.corners()
            yield from map(self.space.filled, self.search.start_with)
