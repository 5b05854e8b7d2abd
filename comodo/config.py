"""The sweep file: every key, its default, its limits and its error.

Knows neither torch nor Ray, so that a wrong file is refused at once. Nothing here looks inside a
recording; that the named files exist is all that is checked.
"""

import difflib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

Channel = Literal["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)


class ConfigError(ValueError):
    """A sweep file that cannot be run; the text names the file, the key and the mend."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _existing_path(value: str, info: ValidationInfo) -> str:
    """Expands `~` and `$VARIABLES`, resolves against the sweep file's folder, must exist."""
    expanded = os.path.expandvars(os.path.expanduser(value))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ValueError(f"the environment variable {unset[1]} is not set; export {unset[1]}=...")
    path = (Path((info.context or {}).get("folder", ".")) / expanded).resolve()
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a path that does")
    return str(path)


def _hub_id_or_folder(value: str, info: ValidationInfo) -> str:
    """A hub id stays as it is; what begins like a path must exist."""
    return _existing_path(value, info) if value[:1] in "./~$" else value


ExistingPath = Annotated[str, AfterValidator(_existing_path)]
Weights = Annotated[str, AfterValidator(_hub_id_or_folder)]
"""A hub id, or a folder written as a path: ./here, ~/there, /there, $THERE."""


# ---------------------------------------------------------------- datasets


class GroupSplit(Settings):
    """Splits made by group (subject, capture), so that no group stands in two of them."""

    train: float = Field(0.7, gt=0, lt=1)
    val: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _adds_up(self) -> "GroupSplit":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        return self


class _Dataset(Settings):
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 5.0
    """Length of a window; `whole` takes each recording as one window."""
    imu_rate: float = Field(200.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    max_rejected: float = Field(0.2, ge=0, le=1)
    """Share of recordings (at encode: of windows) that may be unreadable before it is an error."""


class SimulatedDataset(_Dataset):
    """Egocentric recordings made by a simulation; a demonstration, not data."""

    kind: Literal["simulated"]
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    subjects: int = Field(10, ge=3)
    recordings: int = Field(1, ge=1)
    """Recordings of each subject doing each activity."""
    seconds: float = Field(60.0, gt=0)
    labelled: float = Field(0.2, gt=0, le=1)
    """Share of the training recordings that carry their label."""
    seed: int = 0


class FolderDataset(_Dataset):
    """The user's own recordings, listed in a CSV or Parquet manifest."""

    kind: Literal["folder"]
    path: ExistingPath
    """The manifest file."""
    split_by_group: GroupSplit | None = None


class GoproDataset(_Dataset):
    """A folder of MP4 files that carry their telemetry."""

    kind: Literal["gopro"]
    path: ExistingPath
    split_by_group: GroupSplit | None = None


class UtdMhadDataset(_Dataset):
    """UTD-MHAD: depth video and a body-worn IMU; odd subjects train, even subjects test."""

    kind: Literal["utd-mhad"]
    path: ExistingPath
    window_seconds: Literal["whole"] = "whole"
    imu_rate: float = Field(50.0, gt=0, le=10_000)


DatasetConfig = Annotated[
    SimulatedDataset | FolderDataset | GoproDataset | UtdMhadDataset, Field(discriminator="kind")
]


# ---------------------------------------------------------------- the trial

Protocol = Literal["corrected", "published"]
"""`published` computes what the published code does where that parts from the paper."""


def _by_protocol(corrected: Any, published: Any) -> Any:
    """A field whose default follows the trial's protocol."""
    return Field(
        default_factory=lambda data: published if data.get("protocol") == "published" else corrected
    )


TEACHER_PRESETS: dict[str, dict[str, Any]] = {
    "timesformer-base-k400": {
        "name": "timesformer",
        "weights": "facebook/timesformer-base-finetuned-k400",
    },
    "videomae-base-k400": {
        "name": "videomae",
        "weights": "MCG-NJU/videomae-base-finetuned-kinetics",
    },
    "efficientnet-lite0": {"name": "efficientnet-lite0"},
}
STUDENT_PRESETS: dict[str, dict[str, Any]] = {
    "mantis-8m": {"name": "mantis", "weights": "paris-noah/Mantis-8M"},
    "mantis-v2": {"name": "mantis-v2", "weights": "paris-noah/MantisV2"},
    "moment-small": {"name": "moment", "weights": "AutonLab/MOMENT-1-small"},
    "moment-base": {"name": "moment", "weights": "AutonLab/MOMENT-1-base"},
    "moment-large": {"name": "moment", "weights": "AutonLab/MOMENT-1-large"},
    **{
        f"chronos-bolt-{size}": {"name": "chronos-bolt", "weights": f"amazon/chronos-bolt-{size}"}
        for size in ("tiny", "mini", "small", "base")
    },
}


def _preset(presets: dict[str, dict[str, Any]]) -> BeforeValidator:
    """A known model may be given by its name alone."""

    def expand(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in presets:
            raise ValueError(f"unknown name '{value}'{_nearest(value, presets)}")
        return presets[value]

    return BeforeValidator(expand)


class TeacherConfig(Settings):
    """The frozen video encoder."""

    name: Literal["timesformer", "videomae", "efficientnet-lite0", "precomputed"]
    weights: Weights | None = None
    revision: str | None = None
    frames: int | None = Field(None, ge=1, le=256)
    """Frames for each window; by default what the teacher was trained with."""
    precision: Literal["float32", "bf16"] = "float32"
    path: ExistingPath | None = None
    """`precomputed`: an .npz or Parquet file of features."""
    ids: str = "id"
    """`precomputed`: name of the array or column of window or recording ids."""
    features: str = "feature"
    """`precomputed`: name of the array or column of features."""

    @model_validator(mode="after")
    def _complete(self) -> "TeacherConfig":
        if self.name in ("timesformer", "videomae") and self.weights is None:
            raise ValueError(f"{self.name} needs weights: a hub id or a local folder")
        if (self.name == "precomputed") != (self.path is not None):
            raise ValueError("path belongs to the teacher 'precomputed', which needs it")
        return self


class StudentConfig(Settings):
    """The IMU encoder that is trained."""

    name: Literal["mantis", "mantis-v2", "moment", "chronos-bolt"]
    weights: Weights | None = None
    """Without weights the encoder starts from scratch at `size`."""
    revision: str | None = None
    size: dict[str, int | float] = {}
    pooling: Literal["concat", "mean"] = "concat"
    channels: tuple[Channel, ...] = Field(CHANNELS, min_length=1)

    @model_validator(mode="after")
    def _size_is_from_scratch(self) -> "StudentConfig":
        if self.weights is not None and self.size:
            raise ValueError("size is for students from scratch; leave out weights or size")
        return self


class Head(Settings):
    """The student's projector, and whether the teacher has one: an MLP, random and frozen.

    By default `mlp` on both sides, or one `linear` layer from student to feature size with the
    teacher's feature taken as it is.
    """

    kind: Literal["mlp", "linear"] = "mlp"
    teacher_projector: bool = Field(default_factory=lambda data: data.get("kind") == "mlp")
    hidden_dim: int = Field(2048, ge=1)
    output_dim: int = Field(128, ge=1)
    """Without a teacher's projector the output has the size of the feature."""


class ComodoMethod(Settings):
    name: Literal["comodo"]
    queue_size: int = Field(1024, ge=1)
    teacher_temperature: float = Field(0.1, gt=0)
    student_temperature: float = Field(0.05, gt=0)
    hold_out_queue: bool = True
    """Whether the windows that fill the queue join the training from the second epoch only."""
    head: Head = Head()


class InfonceMethod(Settings):
    name: Literal["infonce"]
    temperature: float = Field(0.1, gt=0)
    symmetric: bool = False
    head: Head = Head()


class L2Method(Settings):
    name: Literal["l2"]
    head: Head = Head()


class NoneMethod(Settings):
    """The student as it starts, untrained or as pretrained."""

    name: Literal["none"]


MethodConfig = Annotated[
    ComodoMethod | InfonceMethod | L2Method | NoneMethod, Field(discriminator="name")
]


def _method_by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class TrialConfig(Settings):
    """One student, trained by one method on one dataset; the seed is added by the sweep."""

    protocol: Protocol = "corrected"
    dataset: str
    teacher: Annotated[TeacherConfig, _preset(TEACHER_PRESETS)]
    student: Annotated[StudentConfig, _preset(STUDENT_PRESETS)]
    method: Annotated[MethodConfig, BeforeValidator(_method_by_name)]
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from zero."""
    schedule: Literal["steps", "published"] = _by_protocol("steps", "published")
    """The learning rate follows the real `steps`; as `published`, the queue's samples are counted
    as steps too, so that a longer queue means a lower learning rate."""
    last_window: Literal["keep", "drop"] = _by_protocol("keep", "drop")
    """As published, the last full window of a recording is dropped for training, not for the
    probe."""
    probe_mask: bool = _by_protocol(True, False)
    """Whether the probe tells MOMENT what is padding, as training does; published: no."""
    precision: Literal["float32", "bf16"] = "float32"

    @model_validator(mode="after")
    def _published_heads(self) -> "TrialConfig":
        """`infonce` and `l2` as published have a linear head."""
        method = self.method
        if (
            self.protocol == "published"
            and isinstance(method, InfonceMethod | L2Method)
            and "head" not in method.model_fields_set
        ):
            method = method.model_copy(update={"head": Head(kind="linear")})
            method.model_fields_set.discard("head")  # it follows the protocol, if that changes
            object.__setattr__(self, "method", method)
        return self


# ---------------------------------------------------------------- the search


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
    space: dict[str, Choices | Range] = {}
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


class Sweep(Settings):
    """A whole sweep file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    protocol: Protocol = "corrected"
    """The protocol of every trial; swept as `search.space.protocol`."""
    datasets: dict[str, DatasetConfig]
    trial: TrialConfig
    search: Search = Search()
    seeds: list[int] = Field([0], min_length=1)
    untrained: bool = True
    """Also probe every student untrained, the line that each method has to beat."""
    objective: Objective = Field(
        default_factory=lambda data: Objective(
            metric="test/acc1" if data.get("protocol") == "published" else "val/acc1"
        )
    )
    """As published, selection is by the test split, and the report says so."""
    early_stopping: EarlyStopping | None = None
    resources: Resources = Resources()
    budget: Budget = Budget()

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
            return TrialConfig.model_validate(data)
        except ValidationError as error:
            problem = error.errors()[0]
            key, around = _key_of(problem["loc"], data)
            swept = next((k for k in values if key.startswith(k) or k.startswith(key)), "")
            raise ConfigError(
                f"search.space.{swept}: trial.{key} with "
                f"{', '.join(f'{k}={v}' for k, v in values.items())}: {_reason(problem, around)}"
            ) from None

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination of the listed values, in the file's order."""
        lists = [values for values in self.search.space.values() if isinstance(values, list)]
        for values in itertools.product(*lists):
            yield dict(zip(self.search.space, values, strict=True))

    @model_validator(mode="before")
    @classmethod
    def _protocol_of_the_trial(cls, data: Any) -> Any:
        if isinstance(data, dict) and "protocol" in data and isinstance(data.get("trial"), dict):
            data = {**data, "trial": {"protocol": data["protocol"], **data["trial"]}}
        return data

    @model_validator(mode="after")
    def _holds_together(self) -> "Sweep":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each seed once")
        if self.search.sampler != "grid" and self.budget.trials is None:
            raise ValueError(f"budget.trials: the sampler {self.search.sampler} needs it")
        for values in self.points():
            trial = self.with_values(values)
            if trial.dataset not in self.datasets:
                raise ValueError(
                    f"trial.dataset: '{trial.dataset}' is not under datasets"
                    + _nearest(trial.dataset, self.datasets)
                )
        return self

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


# ---------------------------------------------------------------- reading a file


def load_sweep(path: str | Path) -> Sweep:
    """Reads and checks a sweep file.

    Raises:
        ConfigError: with a line for each problem: file, line, dotted key, reason, mend.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    text = path.read_text()
    try:
        data = yaml.safe_load(text)
        tree = yaml.compose(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a sweep file is a mapping that begins with name:")
    try:
        return Sweep.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key, around = _key_of(problem["loc"], data)
            reason = _reason(problem, around)
            if not key:  # checks of the whole file begin their text with the key
                key, _, reason = reason.partition(": ")
            lines.append(f"{path}:{_line_of(key, tree)}: {key}: {reason}")
        raise ConfigError("\n".join(lines)) from None


def _key_of(location: tuple[int | str, ...], data: Any) -> tuple[str, Any]:
    """The dotted key as the user wrote it (pydantic's union tags are left out), and the mapping
    or list that it stands in."""
    parts: list[str] = []
    around = data
    for i, part in enumerate(location):
        if isinstance(data, dict) and part not in data and i + 1 < len(location):
            continue
        if isinstance(data, (str, int, float)) or str(part).startswith(("list[", "constrained")):
            continue
        parts.append(str(part))
        around = data
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
    return ".".join(parts), around


def _line_of(key: str, node: yaml.Node | None) -> int:
    """Line of the deepest part of a dotted key that stands in the file."""
    line = 1
    while key and isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if key == name.value or key.startswith(name.value + "."):
                line, node, key = name.start_mark.line + 1, value, key[len(name.value) + 1 :]
                break
        else:
            break
    return line


def _reason(problem: Any, around: Any) -> str:
    """Pydantic's message, with the nearest valid name for an unknown key."""
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_nearest(str(problem['loc'][-1]), _keys_beside(around))}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("value_error", "missing") or isinstance(problem["input"], dict):
        return str(message)
    return f"{message}, not {problem['input']!r}"


def _keys_beside(around: dict[str, Any]) -> set[str]:
    """The keys of those settings classes that a mapping is most like."""
    models: list[type[Settings]] = [Settings]
    for model in models:  # grows while it is walked
        models.extend(model.__subclasses__())
    shared = {model: len(model.model_fields.keys() & around.keys()) for model in models}
    alike = [model for model in models if shared[model] == max(shared.values())]
    return {key for model in alike for key in model.model_fields}


def _nearest(name: str, valid: Any) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(valid))}"
