"""The measures of a student: their settings, and what is known of each before it is computed: its
metrics, on which data sets, and what it needs. Does not know how a measure is computed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from comodo.config.base import FILLED_IN
from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.core.members import Members

SCORED_SPLITS = ("val", "test")
OF_MEASURING = ("seed",)
"""Arguments of an own measure's constructor that the measuring gives."""
FINE_TUNED_SHOTS = (1, 5, 10, 50)
"""Labelled windows of each class that a student is fine-tuned on; besides all of them."""
CALIBRATION = ("ece", "brier")
RANKS = (1, 5, 10)
"""The k of the shares of retrievals whose rank is at most k."""
PROMPT, CLASS_IN_PROMPT = "a video of a person doing {class}", "{class}"
OF_CLASSIFIER = "classifier_"
"""In front of the calibration of a student's own classifier, which is not that of the probe."""

_CLASSIFICATION = ("acc1", "acc3", "acc5", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Declaration:
    """What is known of a measure before it is computed."""

    metrics: tuple[str, ...]
    """The names of what it gives for each split."""
    function: str = ""
    """What computes it, `module:function`, from a `FrozenStudent`; of a measure that is no part of
    comodo empty."""
    splits: tuple[str, ...] = SCORED_SPLITS
    datasets: Literal["all", "own", "others"] = "all"
    """On which it is measured: the one that the student was trained on (`own`), others, or all."""
    needs_labels: bool = True
    """Of the data set that it is measured on; else it is also measured where there are too few."""
    teacher_splits: tuple[str, ...] = ()
    """The splits whose teacher features it reads, so only on data that the teacher has encoded."""
    needs_projectors: bool = False
    """Only of students that were trained with a teacher."""
    needs_classifier: bool = False
    """Whether it reads the classifier of a student that was trained with labels."""
    trains: bool = False
    """Whether it trains copies of the student."""
    keeps: Literal["classes", "scores", "calibration", "nothing"] = "scores"
    """What it stores of each window: the predicted class, or a score from 0 to 1 for each metric,
    which is their mean, or the columns of `calibration`."""
    higher_is_better: bool = True
    percent: bool = True
    """Whether its metrics are shares, which are shown in percent."""
    numbers: tuple[str, ...] = ()
    """Further metrics of it that are no shares, and can be no objectives."""

    def is_share(self, metric: str) -> bool:
        """Whether a metric, by its name within the measure, is shown in percent."""
        return self.percent and metric not in self.numbers


_WAYS = ("imu_to_video", "video_to_imu")
_EVALUATE = "comodo.evaluation.evaluate"
_SHARED_SPACE = "comodo.evaluation.shared_space"
BUILT_IN = {
    "probe": Declaration(_CLASSIFICATION, f"{_EVALUATE}:measure_probe", keeps="classes"),
    "linear": Declaration(("acc1",), f"{_EVALUATE}:measure_linear"),
    "knn": Declaration(("acc1",), f"{_EVALUATE}:measure_knn"),
    "few-shot": Declaration(
        ("1", "5", "10", "50", "100"), f"{_EVALUATE}:measure_few_shot", splits=("test",)
    ),
    "zero-shot": Declaration(
        ("acc1", "acc3", "acc5"),
        f"{_EVALUATE}:measure_zero_shot",
        datasets="own",
        teacher_splits=("train",),
        needs_projectors=True,
    ),
    "zero-shot-text": Declaration(
        _CLASSIFICATION,
        f"{_SHARED_SPACE}:measure_zero_shot_text",
        datasets="own",
        teacher_splits=("train",),
        needs_projectors=True,
        keeps="classes",
    ),
    "retrieval": Declaration(
        tuple(f"{way}_r{k}" for way in _WAYS for k in RANKS),
        f"{_SHARED_SPACE}:measure_retrieval",
        numbers=(*(f"{way}_median_rank" for way in _WAYS), "windows"),
        datasets="own",
        needs_labels=False,
        teacher_splits=SCORED_SPLITS,
        needs_projectors=True,
    ),
    "alignment": Declaration(
        ("cka", "neighbours"),
        f"{_EVALUATE}:measure_alignment",
        datasets="own",
        needs_labels=False,
        teacher_splits=SCORED_SPLITS,
        keeps="nothing",
    ),
    "classifier": Declaration(
        _CLASSIFICATION,
        f"{_EVALUATE}:measure_classifier",
        datasets="own",
        needs_classifier=True,
        keeps="classes",
    ),
    "direct": Declaration(
        _CLASSIFICATION, f"{_EVALUATE}:measure_direct", datasets="others", keeps="classes"
    ),
    "fine-tuned": Declaration(
        tuple(f"{frozen}{n}" for n in (*FINE_TUNED_SHOTS, "all") for frozen in ("", "frozen_")),
        "comodo.evaluation.fine_tuning:measure_fine_tuned",
        splits=("test",),  # val is for early stopping
        trains=True,
    ),
    "robustness": Declaration(
        ("clean", "rotated", "half_rate", "shifted", "noisy", "without_acc", "without_gyro"),
        "comodo.evaluation.robustness:measure_robustness",
    ),
    "calibration": Declaration(
        (*CALIBRATION, *(f"{OF_CLASSIFIER}{name}" for name in CALIBRATION)),
        f"{_EVALUATE}:measure_calibration",
        needs_classifier=True,
        keeps="calibration",
        higher_is_better=False,
    ),
}
"""The measures of this package. Another one is a function of a FrozenStudent in
`comodo.evaluation`, and an entry here."""
MEASURES = Members("comodo.measures", {name: of.function for name, of in BUILT_IN.items()})
"""Their functions by name; the classes of other packages and files are described in
docs/extending.md."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {"student", *(name.replace("-", "_") for name in BUILT_IN)}


class Measure(OwnCode):
    """A measure of a file, under any name, or of an installed package, under its name there. What
    it gives and needs are constants of the class, see docs/extending.md. Those of comodo have no
    settings, and are given by their names alone."""

    MEMBERS: ClassVar[Members] = MEASURES
    NAMED_BY: ClassVar[str] = "member"
    WRITTEN: ClassVar[str] = "name: mine"

    name: str
    """Begins its metrics: `test/<name>/<metric>`; small letters, digits and underscores."""
    member: Annotated[str, FILLED_IN] = CUSTOM
    """Filled in: `custom`, or the name in an installed package."""
    settings: dict[str, int | float | bool | str] = Field({})
    """Arguments of the class's constructor."""

    @model_validator(mode="after")
    def _is_known(self) -> "Measure":
        if self.is_built_in:
            if self.settings:
                raise ValueError(f"settings: {self.name} has none; remove them")
            return self
        known_member(self.member, MEASURES)
        if not re.fullmatch(_NAME, self.name):
            raise ValueError(f"name: {self.name} needs small letters, digits and underscores")
        if self.name in _TAKEN:
            raise ValueError(f"name: {self.name} is comodo's own; give this measure another")
        self.refuse_unknown(self.settings, OF_MEASURING)
        if (code := self.read_code) is not None:
            metrics = code.constants.get("METRICS")
            if not isinstance(metrics, tuple | list) or not metrics:
                fix = 'add the names of what it gives, such as METRICS = ("acc",)'
                raise ValueError(f"{code.name} of {code.file} has no list METRICS; {fix}")
            for metric in metrics:
                if not re.fullmatch(_NAME, str(metric)) or metric.endswith("_std"):
                    fix = "needs small letters, digits and underscores, and not _std at its end"
                    raise ValueError(f"METRICS of {code.name} of {code.file}: {metric!r} {fix}")
        return self

    @model_serializer(mode="wrap")
    def _by_name(self, dump: SerializerFunctionWrapHandler) -> Any:
        return self.name if self.is_built_in else dump(self)

    @property
    def is_built_in(self) -> bool:
        return self.member in BUILT_IN

    @property
    def declared(self) -> Declaration:
        """Of a class the constants in its text, as far as that is known."""
        if self.is_built_in:
            return BUILT_IN[self.name]
        code = self.read_code
        constants = {} if code is None else code.constants
        needs_teacher = bool(constants.get("NEEDS_TEACHER", False))
        return Declaration(
            tuple(constants.get("METRICS", ())),
            datasets="own" if needs_teacher else "all",
            needs_labels=bool(constants.get("NEEDS_LABELS", True)),
            teacher_splits=("train", *SCORED_SPLITS) if needs_teacher else (),
            higher_is_better=bool(constants.get("HIGHER_IS_BETTER", True)),
            percent=bool(constants.get("PERCENT", True)),
        )


def _named(value: Any) -> Any:
    """The measures of a list, each a name or a mapping with a name, as mappings; other values as
    they are."""
    if not isinstance(value, list):
        return value
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in value]
    return [
        {**entry, "member": CUSTOM if "file" in entry else entry["name"]}
        if isinstance(entry, Mapping) and "name" in entry
        else entry
        for entry in entries
    ]


_SHORT: Any = Literal[tuple(BUILT_IN)]
_WRITTEN: Any = Annotated[list[_SHORT | Measure], Field(min_length=1)]


class Measures(RootModel[list[Measure]]):
    """What is measured of each student."""

    model_config = ConfigDict(frozen=True)
    root: Annotated[
        list[Measure],
        Field(min_length=1),
        BeforeValidator(_named, json_schema_input_type=_WRITTEN),
    ]

    @model_validator(mode="after")
    def _has_each_once(self) -> "Measures":
        for name in self.own:
            if self.names.count(name) > 1:
                raise ValueError(f"{name} is the name of several; give each its own")
        return self

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(measure.name for measure in self.root)

    @property
    def own(self) -> dict[str, Measure]:
        """Those of files and of installed packages, by name."""
        return {each.name: each for each in self.root if not each.is_built_in}

    def known(self, name: str) -> Declaration | None:
        """What is known of a measure, also of one of comodo's that is not asked for; None for what
        is known of a student without any."""
        return BUILT_IN.get(name) or self.declared.get(name)

    @cached_property
    def declared(self) -> dict[str, Declaration]:
        """What is known of each, by name."""
        return {measure.name: measure.declared for measure in self.root}

    @property
    def need_labels(self) -> bool:
        """Whether any needs labels of the data set that it is measured on."""
        return any(declared.needs_labels for declared in self.declared.values())

    @property
    def teacher_reader(self) -> str:
        """The first that reads the teacher's features whatever the student was trained with: `the
        measure alignment`; empty if none does."""
        for name, declared in self.declared.items():
            if declared.teacher_splits and not declared.needs_projectors:
                return f"the measure {name}"
        return ""


def _names_the_class(template: str) -> str:
    if template.count(CLASS_IN_PROMPT) != 1:
        raise ValueError(f"needs {CLASS_IN_PROMPT} once, where the name of the class goes")
    return template


Prompt = Annotated[str, AfterValidator(_names_the_class)]
"""The text of a class, with CLASS_IN_PROMPT in place of its name."""


def prompts_of(classes: Iterable[str], template: str) -> list[str]:
    """The text of each class, whose name is written with spaces for underscores."""
    return [template.replace(CLASS_IN_PROMPT, name.replace("_", " ")) for name in classes]
