"""What the settings of all kinds of data sets have in common."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from comodo.config.base import Seed
from comodo.config.channels import (
    CHANNELS,
    SENSOR_NAME,
    WrittenChannels,
    expanded,
    sensor_of,
)
from comodo.core.settings import ADDED_LATER, Settings

Units = tuple[str, str]
"""Of acceleration and angular velocity, from `imu.ACC_UNITS` and `imu.GYRO_UNITS`."""
G_AND_DEGREES: Units = ("g", "deg/s")
"""Of all prepared windows."""


class GroupSplit(Settings):
    """Splits made by group (subject, capture), so that no group is in two of them: as close to the
    shares as the groups allow."""

    train: float = Field(0.7, gt=0, lt=1)
    """Share of the recordings."""
    val: float = Field(0.1, ge=0, lt=1)
    """Share of the recordings; 0 makes no val split."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the recordings."""
    seed: Seed = 0
    """Seed of the order in which groups are assigned to the splits."""

    @model_validator(mode="after")
    def _adds_up(self) -> "GroupSplit":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        return self


class FoldSplit(Settings):
    """Folds by group: each configuration is trained once for each fold, and the groups of each fold
    are the test split of one of these trials. The windows of a group without labels are in train in
    every fold."""

    folds: Annotated[int, Field(ge=2)] | Literal["all"]
    """Number of folds, stratified by class as far as the groups allow; `all`: one for each group
    (leave one group out)."""
    val: float = Field(0.1, ge=0, le=0.5)
    """Share of the labelled windows whose groups are the val split of a fold, out of the groups
    that are not its test split: at least one group; 0 makes no val split."""
    seed: Seed = 0
    """Seed of the order in which groups are assigned to folds and to val."""


def _kind_of_split(value: Any) -> str:
    has_folds = isinstance(value, FoldSplit) or (isinstance(value, dict) and "folds" in value)
    return "FoldSplit" if has_folds else "GroupSplit"


class NullClass(Settings):
    """The class of whatever is none of the activities."""

    label: str = Field(min_length=1)
    """Its name in the labels, in quotes: an unquoted `null` is no text in YAML."""
    windows: Literal["unlabelled", "drop"] = "unlabelled"
    """What its windows are: `unlabelled`, to distil with but not to measure on, or none, `drop`."""


SplitByGroup = Annotated[
    Annotated[GroupSplit, Tag("GroupSplit")] | Annotated[FoldSplit, Tag("FoldSplit")],
    Discriminator(_kind_of_split),
]


LabelShare = Annotated[float, Field(gt=0, le=1)]


class BaseDataset(Settings):
    PUBLISHED_UNITS: ClassVar[Units] = G_AND_DEGREES
    """In which the published code gives its windows to students."""
    BY_PROTOCOL: ClassVar[dict[str, str]] = {}
    """The settings that a sweep with `protocol: published` has by default."""
    FRAME: ClassVar[Literal["squeeze", "crop"]] = "crop"
    """How its frames became square for the published features."""

    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 5.0
    """Length of a window; `whole` takes each recording as one window."""
    imu_rate: float = Field(200.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    max_rejected: float = Field(0.2, ge=0, le=1)
    """Share of recordings (at encode: of windows) that may be unreadable before it is an error."""
    split_by_group: SplitByGroup | None = None
    """Splits made by group, in place of the data set's own: one by shares, or folds."""
    videos: Literal["original", "shrink"] = "original"
    """Whether teachers see the original files, or small copies that prepare makes once."""
    windows_per_recording: Annotated[int | None, ADDED_LATER] = Field(None, ge=1)
    """At most so many windows of each training recording, drawn as the published code does
    (`num_clips`): a fixed draw of all but the last. By default all; val and test keep all."""
    stride_seconds: Annotated[float | None, ADDED_LATER] = Field(None, gt=0)
    """From the start of a window to the start of the next; by default `window_seconds`. Windows
    overlap if it is less."""
    boundary: Annotated[Literal["majority", "drop"] | LabelShare, ADDED_LATER] = "majority"
    """A window over a boundary of labelled intervals has the label of its largest part, or none if
    that is unlabelled: in any case (`majority`), or where that part is at least a share of the
    window, such as 0.8; other windows are left out. `drop` is a share of 1."""
    null_class: Annotated[NullClass | None, ADDED_LATER] = None
    """A class that is none of the activities; by default every label is a class like any other."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = CHANNELS
    """The channels that windows have, such as `[acc]` without a gyroscope, or `[head.acc,
    left_wrist.acc, left_wrist.gyro_x]` of named sensors. A recording that lacks one is rejected."""
    sensor: Annotated[str | None, ADDED_LATER] = Field(None, pattern=f"^{SENSOR_NAME}$")
    """A name for the only sensor, such as `left_wrist`, so that its channels are those of students
    that were trained on several: `acc_x` becomes `left_wrist.acc_x`."""
    missing: Annotated[Literal["refuse", "zero"], ADDED_LATER] = "refuse"
    """What becomes of channels that a recording lacks, or that the data set lacks and a student
    which is measured on it sees: they are refused, or `zero` throughout."""
    kind: str
    """The name of its reader."""

    @property
    def recording_seconds(self) -> float | None:
        """Length of each of its recordings; None where only their files say it."""
        return None

    @model_validator(mode="after")
    def _names_its_sensor(self) -> "BaseDataset":
        if self.sensor is not None and any(map(sensor_of, self.channels)):
            raise ValueError("sensor: its channels already have a sensor's name; remove sensor")
        return self

    @property
    def imu_channels(self) -> tuple[str, ...]:
        """Names of the channels that its windows have, each one axis."""
        named = expanded(self.channels)
        return named if self.sensor is None else tuple(f"{self.sensor}.{c}" for c in named)

    @model_validator(mode="after")
    def _has_a_stride(self) -> "BaseDataset":
        if self.stride_seconds is None:
            return self
        if self.window_seconds == "whole":
            raise ValueError("stride_seconds: window_seconds: whole has no stride; remove one")
        if self.stride_seconds > self.window_seconds:
            raise ValueError(
                f"stride_seconds: {self.stride_seconds:g} s leave out what is between windows of "
                f"{self.window_seconds:g} s; lower it"
            )
        return self

    @model_validator(mode="after")
    def _draws_from_train(self) -> "BaseDataset":
        if self.windows_per_recording is not None and isinstance(self.split_by_group, FoldSplit):
            raise ValueError(
                "windows_per_recording: draws windows of the train split, which differs by fold; "
                "remove it, or split_by_group.folds"
            )
        return self
