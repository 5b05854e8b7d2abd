"""The settings of a student: its encoder, weights or size, and channels."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from comodo.config.base import CHECKPOINT_SUFFIXES, Weights, name_or_path
from comodo.config.channels import CHANNELS, WrittenChannels, expanded
from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.config.source import Source, Sources
from comodo.core.errors import nearest
from comodo.core.members import Code, Members
from comodo.core.settings import ADDED_LATER

STUDENTS = Members(
    "comodo.students",
    {
        "mantis": "comodo.models.mantis:MantisEncoder",
        "mantis-v2": "comodo.models.mantis:MantisV2Encoder",
        "moment": "comodo.models.moment:MomentEncoder",
        "chronos-bolt": "comodo.models.chronos:ChronosEncoder",
        "cnn": "comodo.models.cnn:CnnEncoder",
        "tinyhar": "comodo.models.tinyhar:TinyHarEncoder",
        "dlinear": "comodo.models.baselines:DLinearEncoder",
        "informer": "comodo.models.baselines:InformerEncoder",
        "timesnet": "comodo.models.baselines:TimesNetEncoder",
        "hand-crafted": "comodo.models.hand_crafted:HandCraftedEncoder",
    },
)
"""The classes of students by name; those of other packages and files are described in
docs/extending.md."""
OWN_SAMPLES = 256
"""Samples that windows are resized to for classes of other packages and files, unless their
SAMPLES says otherwise."""


@dataclass(frozen=True)
class Family:
    """What is known of students of a name before their code is run: constants of the class, by the
    same names in capitals."""

    size: Collection[str] | None = ()
    """Keys of `size`, arguments of the class's constructor; None: it takes any."""
    samples: int | None = None
    """Samples that windows are resized to, unless weights say otherwise; None: to none."""
    tiny: dict[str, int | float] = field(default_factory=dict)
    """Its `size` in smoke runs."""
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings by short names."""
    published: dict[str, Any] = field(default_factory=dict)
    """Defaults of settings with `protocol: published`, where they differ."""
    options: tuple[str, ...] = ()
    """Further settings that it has."""
    joint: bool = False
    """Whether it takes all channels together; there are no weights for it."""
    only_labels: bool = False
    """Whether it is a classifier, which is trained with labels only."""
    checkpoints: bool = False
    """Whether `weights` may be a checkpoint of the published code."""

    @classmethod
    def of(cls, name: str) -> "Family":
        """That of one of this package's students."""
        constants = STUDENTS.code(name).constants
        known = {each.name: each.name.upper() for each in fields(cls)}
        return cls(**{key: constants[name] for key, name in known.items() if name in constants})

    @classmethod
    def of_own(cls, code: Code) -> "Family":
        """That of a class of another package or file, which takes the channels' number and its
        size."""
        taken, samples = code.arguments, code.constants.get("SAMPLES", OWN_SAMPLES)
        size = None if taken is None else [key for key in taken if key != "channels"]
        return cls(size, samples, code.constants.get("TINY", {}), joint=True)


FAMILIES = {name: Family.of(name) for name in STUDENTS.built_in}
"""Those of this package."""
STUDENT_PRESETS = {
    short: of for family in FAMILIES.values() for short, of in family.presets.items()
}
OPTIONS = sorted({option for family in FAMILIES.values() for option in family.options})
"""Settings that only some families have."""
MANTIS_LAYERS = 6
"""Of Mantis, unless `size.transf_depth` says otherwise."""


def family_of(name: str) -> Family:
    """The family of a student that is known by its name. Raises CodeError."""
    return FAMILIES.get(name) or Family.of_own(STUDENTS.code(name))


def families_with(option: str) -> list[str]:
    """Names of the families that have a setting, or for which a constant is true."""
    return [
        name
        for name, family in FAMILIES.items()
        if option in family.options or getattr(family, option, False)
    ]


def _known_names(schema: dict[str, Any]) -> None:
    schema["enum"] = [*STUDENTS.names(), CUSTOM]


def _written_source(value: str | None, info: ValidationInfo) -> str | None:
    return None if value is None else name_or_path(value, info)


def _named_or_from(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [key]} for key in ("name", "from")]
    schema["required"].remove("name")


class StudentConfig(OwnCode):
    """The IMU encoder that is trained."""

    model_config = ConfigDict(json_schema_extra=_named_or_from)

    MEMBERS: ClassVar[Members] = STUDENTS

    source: Annotated[str | None, AfterValidator(_written_source), ADDED_LATER] = Field(
        None, alias="from", exclude_if=lambda value: value is None
    )
    """Starts from a student that was trained already, in place of `name`, `weights` and `size`: a
    sweep of the same store (its best configuration, the same seed and fold), a trial's key, or a
    folder that `comodo export` wrote, as a path or a hub id. See docs/searching.md."""
    name: str = Field(json_schema_extra=_known_names)
    """Family of the encoder; needed without `from`. `hand-crafted` is what the reference `features`
    measures; `custom` is the class of a file. Installed packages may have others."""
    weights: Weights | None = None
    """Without weights the encoder starts from scratch at `size`. For mantis and moment also a file,
    `model.pth`, as the published code writes it: its encoder is used, its projector is not."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`."""
    size: dict[str, int | float] = Field({})
    """For students from scratch or from a file: arguments of the family's constructor, such as
    hidden_dim; by default those of Mantis-8M, MOMENT-1-small and chronos-bolt-tiny."""
    pooling: Literal["concat", "mean"] = "concat"
    """How the features of the channels, each encoded by itself, are combined."""
    channels: WrittenChannels = CHANNELS
    """The IMU channels that the student sees, in this order; `acc`, or `left_wrist.gyro`, means all
    axes of it. By default all of the data set that it is trained on."""
    return_transf_layer: int | None = Field(None, ge=0, exclude_if=lambda value: value is None)
    """Mantis: the transformer layer, counted from 0, whose tokens are the feature; later layers are
    left out. By default the last."""
    output_token: Literal["cls_token", "mean_token", "combined"] = Field(
        "cls_token", exclude_if=lambda value: value == "cls_token"
    )
    """Mantis: the feature is the class token, the mean of the other tokens, or both (`combined`,
    twice as wide), which its library recommends for layers before the last."""
    padding: Annotated[Literal["window", "batch"], ADDED_LATER] = "window"
    """MOMENT pads windows shorter than 512 samples to 512. Of longer ones each is padded to whole
    patches (`window`), or all windows to the longest of their batch (`batch`), so that a feature
    depends on the batch; with `protocol: published` `batch` by default."""
    averaged_patches: Annotated[Literal["real", "all"], ADDED_LATER] = "real"
    """MOMENT's feature is the mean of the patches of `real` samples only, or of `all`, also those
    of masked padding; with `protocol: published` `all` by default."""
    train_encoder: Annotated[bool, ADDED_LATER] = True
    """Whether the encoder is trained, or only the head, with the encoder in evaluation mode; with
    `protocol: published` no teacher trains chronos-bolt, as its weights were in no optimizer."""

    _start: Source | None = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_source(
        cls, data: Any, check: ModelWrapValidatorHandler["StudentConfig"], info: ValidationInfo
    ) -> "StudentConfig":
        """The settings with those of the student that `from` names; they do not count as set."""
        name = data.get("from") if isinstance(data, dict) else None
        sources: Sources | None = (info.context or {}).get("sources")
        if not isinstance(name, str) or (sources is None and "name" in data):
            return check(data)  # as recorded with a trial
        try:
            source = (Sources({}) if sources is None else sources)[name_or_path(name, info)]
            code = _allowed(source, (info.context or {}).get("code"))
        except ValueError as error:
            _refuse("from", str(error), name)
        theirs = source.student | code
        filled = {key: value for key, value in theirs.items() if key not in data}
        found = check({**data, **filled})
        mine = found.model_dump(mode="json") | {"channels": list(expanded(found.channels))}
        for key in data.keys() - {"from", "train_encoder", "code"}:
            if mine.get(key) != (given := theirs.get(key)):
                decides = f"which has {given}" if given is not None else "which decides it"
                fault = f"the student starts from {source.title}, {decides}"
                _refuse(key, f"{fault}; remove {key}", data[key])
        if found.code != (was := theirs.get("code")):
            fault = f"{source.title} was trained with {was} of '{found.name}', now {found.code}"
            _refuse("from", f"{fault}; install the package that it was trained with", name)
        found.model_fields_set.difference_update(filled, {"class_name"})
        found._start = source
        return found

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known_member(name, STUDENTS)

    @model_validator(mode="after")
    def _fits_together(self) -> "StudentConfig":
        family = self.family
        for key in self.size:
            if family.size is not None and key not in family.size:
                raise ValueError(f"size.{key}: unknown{nearest(key, family.size)}")
        if self.is_checkpoint and not family.checkpoints:
            names = " and ".join(families_with("checkpoints"))
            raise ValueError(
                f"weights: {self.weights} is a file, which only {names} can be loaded from; give a "
                "hub id or a folder"
            )
        if self.weights is not None and not self.is_checkpoint and self.size:
            raise ValueError("size is for students from scratch; remove weights or size")
        for found in self.options:
            if found not in family.options:
                names = " and ".join(families_with(found))
                raise ValueError(f"{found}: only for {names}; remove {found}")
        layers, layer = self.size.get("transf_depth", MANTIS_LAYERS), self.return_transf_layer
        scratch = self.weights is None and self.source is None
        if scratch and layer is not None and layer >= layers:
            raise ValueError(f"return_transf_layer: {layer} is not one of 0..{layers - 1}")
        if family.joint and self.weights is not None:
            raise ValueError(f"weights: {self.name} starts from scratch; remove weights")
        if family.joint and self.pooling != "concat":
            raise ValueError(f"pooling: {self.name} takes all channels together; remove pooling")
        if self.is_baseline and not self.train_encoder:
            raise ValueError(f"train_encoder: {self.name} starts from scratch; remove it")
        return self

    @property
    def start(self) -> Source | None:
        """What `from` names; None without it, and where only what was recorded is known."""
        return self._start

    @property
    def network(self) -> "StudentConfig":
        """The same with random weights, of one that starts from another."""
        return self.model_copy(update={"source": None})

    @property
    def family(self) -> Family:
        """What is known of its class."""
        if self.name in FAMILIES:
            return FAMILIES[self.name]
        code = self.read_code
        return Family(None, joint=True) if code is None else Family.of_own(code)

    @property
    def samples(self) -> int | None:
        """Samples that it resizes windows to, unless its weights say otherwise; None: to none."""
        default = self.family.samples
        return None if default is None else int(self.size.get("seq_len", default))

    @property
    def options(self) -> dict[str, Any]:
        """The settings of OPTIONS that are not at their defaults."""
        return self.model_dump(include=set(OPTIONS), exclude_defaults=True)

    @property
    def is_checkpoint(self) -> bool:
        """Whether `weights` is a file rather than a hub id or a folder."""
        return self.weights is not None and self.weights.endswith(CHECKPOINT_SUFFIXES)

    @property
    def is_baseline(self) -> bool:
        """Whether it is a classifier, which is trained with labels only."""
        return self.family.only_labels


def _allowed(source: Source, texts: Mapping[str, str] | None) -> dict[str, str]:
    """The `file` of `allow_code` with the code that a source was trained with, if that is of a
    file. Raises ValueError if none has it."""
    if texts is None or (file := source.student.get("file")) is None:
        return {}
    for name, text in texts.items():
        if Code(name, "", text).digest == source.student["code"]:
            return {"file": name}
    raise ValueError(
        f"the network of {source.title} is code of the file {file}, which is run only if the sweep "
        f"file allows it; read it, then add allow_code: [{file}], the file with that code (SHA-256 "
        f"{source.student['code']})"
    )


def _refuse(key: str, reason: str, value: Any) -> NoReturn:
    """Raises ValidationError at one of the settings."""
    error = PydanticCustomError("value_error", "{reason}", {"reason": reason})
    at_key = InitErrorDetails(type=error, loc=(key,), input=value)
    raise ValidationError.from_exception_data("StudentConfig", [at_key])
