"""The measures of a student: their settings, and what is known of each before it is computed: its
metrics, on which data sets, and what it needs. Does not know how a measure is computed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
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

from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.core.members import Code, Members
from comodo.core.settings import FILLED_IN

SCORED_SPLITS = ("val", "test")
OF_MEASURING = ("seed",)
"""Arguments of an own measure's constructor that the measuring gives."""
PROMPT, CLASS_IN_PROMPT = "a video of a person doing {class}", "{class}"
OF_CLASSIFIER = "classifier_"
"""In front of the calibration of a student's own classifier, which is not that of the probe."""
MEASURES = Members(
    "comodo.measures",
    {
        "probe": "comodo.evaluation.measures.probe:measure_probe",
        "linear": "comodo.evaluation.measures.linear:measure_linear",
        "knn": "comodo.evaluation.measures.knn:measure_knn",
        "few-shot": "comodo.evaluation.measures.few_shot:measure_few_shot",
        "zero-shot": "comodo.evaluation.measures.zero_shot:measure_zero_shot",
        "zero-shot-text": "comodo.evaluation.measures.zero_shot_text:measure_zero_shot_text",
        "retrieval": "comodo.evaluation.measures.retrieval:measure_retrieval",
        "alignment": "comodo.evaluation.measures.alignment:measure_alignment",
        "classifier": "comodo.evaluation.measures.classifier:measure_classifier",
        "direct": "comodo.evaluation.measures.direct:measure_direct",
        "fine-tuned": "comodo.evaluation.measures.fine_tuned:measure_fine_tuned",
        "robustness": "comodo.evaluation.measures.robustness:measure_robustness",
        "calibration": "comodo.evaluation.measures.calibration:measure_calibration",
    },
)
"""The functions of comodo's measures by name; the classes of other packages and files are described
in docs/extending.md."""


@dataclass(frozen=True)
class Declaration:
    """What is known of a measure before its code is run: constants of its file, or of the class of
    another package or file, by the same names in capitals."""

    metrics: tuple[str, ...]
    """The names of what it gives for each split."""
    splits: tuple[str, ...] = SCORED_SPLITS
    datasets: Literal["all", "own", "others"] = "all"
    """On which it is measured: the one that the student was trained on (`own`), others, or all."""
    needs_labels: bool = True
    """Of the data set that it is measured on; else it is also measured where there are too few."""
    teacher_splits: tuple[str, ...] = ()
    """The splits whose teacher features it reads, so only on data that the teacher has encoded."""
    needs_projectors: bool = False
    """Only of students that were trained with a teacher."""
    needs_shared_space: bool = False
    """Whether it compares the embeddings of student and teacher."""
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

    @classmethod
    def of(cls, code: Code, keys: Iterable[str]) -> "Declaration":
        """These keys as the text of a measure has them. Its NEEDS_TEACHER means the data set that
        the student was trained on, and all splits, unless TEACHER_SPLITS says otherwise. Raises
        CodeError."""
        constants = code.constants
        found = {key: constants[key.upper()] for key in keys if key.upper() in constants}
        if constants.get("NEEDS_TEACHER", False):
            found = {"datasets": "own", "teacher_splits": ("train", *SCORED_SPLITS)} | found
        return cls(**found | {"metrics": tuple(found.get("metrics", ()))})

    def is_share(self, metric: str) -> bool:
        """Whether a metric, by its name within the measure, is shown in percent."""
        return self.percent and metric not in self.numbers


DECLARED = {
    name: Declaration.of(MEASURES.code(name), [each.name for each in fields(Declaration)])
    for name in MEASURES.built_in
}
"""What is known of those of this package."""
OWN_KEYS = ("metrics", "needs_labels", "higher_is_better", "percent")
"""What a class of another package or file may say, besides NEEDS_TEACHER."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {"student", *(name.replace("-", "_") for name in MEASURES.built_in)}


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
        return self.member in MEASURES.built_in

    @property
    def declared(self) -> Declaration:
        """Of a class the constants in its text, as far as that is known."""
        if self.is_built_in:
            return DECLARED[self.name]
        code = self.read_code
        return Declaration(()) if code is None else Declaration.of(code, OWN_KEYS)


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


_SHORT: Any = Literal[tuple(MEASURES.built_in)]
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
        return DECLARED.get(name) or self.declared.get(name)

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
