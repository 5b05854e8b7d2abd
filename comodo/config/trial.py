"""The settings of a trial: teacher, student, training, protocol."""

from collections.abc import Collection, Container
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from comodo.config.augment import Augmentation
from comodo.config.methods import (
    Head,
    InfonceMethod,
    L2Method,
    MethodConfig,
    MethodName,
    SupervisedMethod,
    method_settings,
)
from comodo.config.own_code import CUSTOM
from comodo.config.student import FAMILIES, STUDENT_PRESETS, STUDENTS, StudentConfig
from comodo.config.teacher import TEACHER_PRESETS, TEACHERS, TeacherConfig, as_published
from comodo.core.errors import nearest
from comodo.core.settings import ADDED_LATER, Settings

Protocol = Literal["corrected", "published"]
"""`published` computes what the published code does where it differs from the paper."""


def _by_protocol(corrected: Any, published: Any) -> Any:
    """A field whose default follows the trial's protocol."""
    return Field(
        default_factory=lambda data: (
            published if data.get("protocol") == "published" else corrected
        ),
        json_schema_extra={"default": corrected, "x-published": published},
    )


def _family(family: str, presets: dict[str, dict[str, Any]], from_scratch: bool) -> str:
    """What to write where the name of a family is in place of that of a model."""
    known = [name for name, model in presets.items() if model["name"] == family]
    if not known:
        return f"'{family}' needs keys of its own: {{name: {family}, ...}}"
    ways = [f"{{name: {family}}}, which starts from scratch"] if from_scratch else []
    ways += [f"{' or '.join(known)}, with its weights"]
    return f"'{family}' is a family of models; write {', or '.join(ways)}"


def _preset(
    presets: dict[str, dict[str, Any]],
    settings: type[Settings],
    families: Collection[str],
    installed: Container[str] = (),
) -> BeforeValidator:
    """A known model may be given by its name alone."""
    schema: Any = Literal[tuple(presets)] | settings

    def expand(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value in families and value not in presets:
            raise ValueError(_family(value, presets, "size" in settings.model_fields))
        if value in presets:
            return presets[value]
        if value in installed:
            return {"name": value}
        raise ValueError(f"unknown name '{value}'{nearest(value, presets)}")

    return BeforeValidator(expand, json_schema_input_type=schema)


_PRESET_OF_TEACHER = _preset(TEACHER_PRESETS, TeacherConfig, [*TEACHERS.built_in, CUSTOM], TEACHERS)
_PRESET_OF_STUDENT = _preset(STUDENT_PRESETS, StudentConfig, [*FAMILIES, CUSTOM], STUDENTS)
_Drawn = Annotated[Literal["seed", "published"], ADDED_LATER]


class TrialConfig(Settings):
    """One student, trained by one method on one data set; the sweep adds the seed."""

    protocol: Protocol = "corrected"
    """Whether to follow the paper or its code, see docs/method.md; by default the sweep's."""
    dataset: str
    """Name of the data set, under `datasets`, to train on."""
    teacher: Annotated[TeacherConfig | None, _PRESET_OF_TEACHER] = None
    """Name of a preset, or settings. Needed by the methods comodo, infonce and l2, also as terms,
    and by the measure `alignment`."""
    student: Annotated[StudentConfig, _PRESET_OF_STUDENT]
    """Name of a preset, or settings."""
    method: Annotated[
        MethodConfig,
        BeforeValidator(method_settings, json_schema_input_type=MethodName | MethodConfig),
    ]
    """Name of the method, with default settings, or settings; `{terms: [...]}` is a weighted sum of
    losses."""
    augment: Annotated[Augmentation, ADDED_LATER] = Augmentation()
    """Random changes of the training windows; by default none."""
    epochs: int = Field(20, ge=1)
    """Passes over the training windows; published 20."""
    batch_size: int = Field(128, ge=2)
    """Windows of a step, over all workers; published 128."""
    learning_rate: float = Field(3e-4, gt=0)
    """Peak of AdamW's learning rate, which falls to zero after `warmup`; published 3e-4."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's weight decay."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from zero."""
    schedule: Literal["steps", "cosine", "published"] = _by_protocol("steps", "published")
    """After `warmup` the learning rate falls linearly over the real `steps`, or over them as half a
    `cosine`; `published` falls linearly and counts the queue's samples as steps too, so that a
    longer queue means a lower learning rate."""
    last_window: Literal["keep", "drop"] = _by_protocol("keep", "drop")
    """Whether to train on the last full window of a recording; the published code drops it for
    training but not for the probe."""
    imu_units: Annotated[Literal["g, deg/s", "published"], ADDED_LATER] = _by_protocol(
        "g, deg/s", "published"
    )
    """Units that students see; `published`: m/s^2 and rad/s on Ego4D and EgoExo4D."""
    probe_mask: bool = _by_protocol(True, False)
    """Whether MOMENT gets a mask of the padding in the probe, as in training; published: no."""
    probe_ties: Literal["middle", "smallest"] = _by_protocol("middle", "smallest")
    """Which of equally good values of the probe's C is used: the one nearest to 1; as published,
    the smallest, with which the class probabilities can fall to chance if labels are few."""
    queue_windows: _Drawn = _by_protocol("seed", "published")
    """Training windows that fill the queue: drawn by the trial's `seed`, or `published`: the same
    for every trial, in the order of the data set."""
    probe_windows: _Drawn = _by_protocol("seed", "published")
    """Which 10,000 training windows the probe is fitted on, if there are more: drawn by the trial's
    `seed`, standardised by at most 50,000; `published`: the same for every trial, standardised by
    all."""
    zero_shot_anchors: Annotated[Literal["medoid", "first"], ADDED_LATER] = _by_protocol(
        "medoid", "first"
    )
    """The video of each class for `zero-shot`: the train window closest to its class's mean, or the
    `first` val window; with that, as published, it is measured after every epoch too."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Precision of the training; weights and measurements are float32. `bf16` is autocast; `tf32`
    rounds the factors of matrix products on GPUs that support it, and is float32 elsewhere."""

    @model_validator(mode="after")
    def _baselines_learn_from_labels(self) -> "TrialConfig":
        if self.student.is_baseline and not isinstance(self.method, SupervisedMethod):
            raise ValueError(
                f"method: {self.student.name} is a classifier, which only the method 'supervised' "
                f"trains, not '{self.method.name}'; to sweep it with other students, give trial "
                "the method supervised and sweep the methods under when: {student.name: [...]}"
            )
        return self

    @model_validator(mode="after")
    def _distils_from_a_teacher(self) -> "TrialConfig":
        if self.teacher is None and (reader := self.method.teacher_reader):
            fix = "name one, such as efficientnet-lite0, or use the method supervised or none"
            reason = f"{reader} learns from a teacher; {fix}"
            error = PydanticCustomError("value_error", "{reason}", {"reason": reason})
            at_key = InitErrorDetails(type=error, loc=("teacher",), input=None)
            raise ValidationError.from_exception_data("TrialConfig", [at_key])
        return self

    @model_validator(mode="after")
    def _changes_for_views(self) -> "TrialConfig":
        if self.method.needs_views and self.augment == Augmentation():
            views = next(n for n, loss in self.method.losses.items() if loss.needs_views)
            reason = f"the term {views} compares two random changes of a window; set at least one"
            reason += ", such as {rotation: 15, noise: 0.1}"
            error = PydanticCustomError("value_error", "{reason}", {"reason": reason})
            at_key = InitErrorDetails(type=error, loc=("augment",), input=None)
            raise ValidationError.from_exception_data("TrialConfig", [at_key])
        return self

    @model_validator(mode="after")
    def _published_parts(self) -> "TrialConfig":
        """As published, teachers see other frames, `infonce` and `l2` have a linear head, and some
        students are trained and measured in another way."""
        if self.protocol == "published":
            if self.teacher is not None:
                object.__setattr__(self, "teacher", as_published(self.teacher))
            student = dict(self.student.family.published)
            if self.student.source is not None:  # the rest comes with the weights
                student = {key: student[key] for key in ("train_encoder",) if key in student}
            if not self.method.needs_teacher:
                student.pop("train_encoder", None)  # only learning from a teacher was published so
            self._by_default("student", student)
            if isinstance(self.method, InfonceMethod | L2Method):
                self._by_default("method", {"head": Head(kind="linear")})
            elif isinstance(self.method, SupervisedMethod) and self.student.name == "mantis":
                self._by_default("method", {"layer_norm": True})
        return self

    @property
    def meant(self) -> dict[str, Any]:
        """The settings as JSON, the same however the student that it starts from is named."""
        content = self.model_dump(mode="json")
        if (start := self.student.start) is not None:
            content["student"]["from"] = start.identity
        return content

    def _by_default(self, part: str, values: dict[str, Any]) -> None:
        """Gives settings of the student or method that are not set these values."""
        settings = getattr(self, part)
        unset = {key: values[key] for key in values if key not in settings.model_fields_set}
        settings = settings.model_copy(update=unset)
        settings.model_fields_set.difference_update(unset)  # they follow a change of the protocol
        object.__setattr__(self, part, settings)
