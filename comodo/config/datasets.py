"""The settings of each kind of data set: of the user's own recordings, and all together."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from comodo.config.base import ExistingPath, ExistingPathOrUrl, Seed
from comodo.config.channels import (
    CHANNELS,
    QUANTITIES,
    sensor_of,
)
from comodo.config.dataset_base import (
    BaseDataset,
    FoldSplit,
    Units,
)
from comodo.config.imu_datasets import (
    ActRecTutDataset,
    AnymoBenchDataset,
    HaptDataset,
    WharDataset,
    WharfDataset,
)
from comodo.config.imu_files import Columns, Preset, SensorName, TimeUnit
from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.config.video_datasets import (
    Ego4dDataset,
    EgoExo4dDataset,
    EpicKitchensDataset,
    HdEpicDataset,
    UestcMmeaDataset,
    UtdMhadDataset,
    WearDataset,
)
from comodo.core.members import Members
from comodo.core.paths import is_url
from comodo.core.settings import ADDED_LATER

ARIA_IMUS = ("left", "right")


class SimulatedDataset(BaseDataset):
    """Egocentric recordings made by a simulation; a demonstration, not data. A sensor named `head`
    is that of the camera, sensors of other names are at a hand."""

    CLASS = "comodo.data.readers.simulated:SimulatedReader"

    kind: Literal["simulated"]
    """Simulated recordings."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    subjects: int = Field(10, ge=3)
    """Simulated people: a fifth of them in val, a fifth in test, the others in train."""
    recordings: int = Field(1, ge=1)
    """Recordings of each activity by each subject."""
    seconds: float = Field(60.0, gt=0)
    """Length of each activity in seconds."""
    labelled: float = Field(0.2, gt=0, le=1)
    """Share of the activities in training recordings that carry their label."""
    seed: Seed = 0
    """Seed of the people, their motions and their splits: another seed is another data set."""
    pause_seconds: Annotated[float | None, ADDED_LATER] = Field(None, gt=0)
    """Makes recordings untrimmed: all activities follow each other in one, with pauses of so many
    seconds, whose class is `null`. By default each activity is a recording."""


class FolderDataset(BaseDataset):
    """The user's own recordings, listed in a CSV or Parquet manifest."""

    CLASS = "comodo.data.readers.folder:FolderReader"

    kind: Literal["folder"]
    """A manifest that names each recording."""
    path: ExistingPathOrUrl
    """The manifest file, also in a bucket: `s3://bucket/recordings/manifest.csv`."""
    root: ExistingPathOrUrl | None = Field(None, exclude_if=lambda value: value is None)
    """Folder that the manifest's paths must not leave, also by `..` or link; by default its own.
    One in a bucket, `s3://bucket/recordings`, is for the manifest's URLs."""
    preset: Annotated[Preset | dict[SensorName, Preset] | None, ADDED_LATER] = None
    """The layout of IMU files that an app or a sensor exports; of several sensors by name."""
    columns: Annotated[Columns | None, ADDED_LATER] = None
    """Columns of IMU files: `{time: timestamp, acc_x: "Accel X"}`, or `left_wrist.acc_x` of one
    sensor; by default those named after channels. `comodo inspect --file` prints it. Where a row
    has one sensor's values: `{time: t, sensor: kind, acc: ACC, gyro: GYRO, x: x, y: y, z: z}`. Of
    files without a header, columns are "1", "2", ..."""
    time_unit: Annotated[TimeUnit | dict[SensorName, TimeUnit] | None, ADDED_LATER] = None
    """Unit of times for which the file gives none. Times in ISO 8601 need none."""
    acc_unit: Annotated[str | dict[SensorName, str] | None, ADDED_LATER] = None
    """Unit of acceleration in IMU files that give none: `g`, `mg` or `m/s^2`."""
    gyro_unit: Annotated[str | dict[SensorName, str] | None, ADDED_LATER] = None
    """Unit of rotation in IMU files that give none: `deg/s`, `rad/s`, or a thousandth of these."""

    @model_validator(mode="after")
    def _root_of_urls(self) -> "FolderDataset":
        if self.root is not None and is_url(self.path) and not is_url(self.root):
            raise ValueError("root: path is a URL, so name a URL that its files begin with")
        return self


class GoproDataset(BaseDataset):
    """A folder of MP4 files that carry their telemetry."""

    CLASS = "comodo.data.readers.gopro:GoproReader"

    kind: Literal["gopro"]
    """Recordings of GoPro cameras."""
    path: ExistingPathOrUrl
    """Folder that is searched for .mp4 files at any depth, also in a bucket."""


class AriaDataset(BaseDataset):
    """A folder of VRS files of Project Aria's glasses."""

    CLASS = "comodo.data.readers.aria:AriaReader"

    kind: Literal["aria"]
    """Needs `pip install projectaria-tools`."""
    path: ExistingPathOrUrl
    """Folder that is searched for .vrs files at any depth, also in a bucket."""
    imu: Literal["right", "left", "both"] = "right"
    """Which of the glasses' two IMUs; `both`: as sensors `left` and `right`, whose channels are
    `left.acc`, `right.gyro_x` and so on, by default all. First generation: `right` at 1,000 Hz,
    `left` at 800 Hz; second: both at 800 Hz."""

    @model_validator(mode="before")
    @classmethod
    def _both(cls, written: Any) -> Any:
        if isinstance(written, dict) and written.get("imu") == "both":
            every = [f"{sensor}.{c}" for sensor in ARIA_IMUS for c in QUANTITIES]
            return {"channels": every, **written}
        return written

    @model_validator(mode="after")
    def _names_both(self) -> "AriaDataset":
        wrong = [c for c in self.channels if (sensor_of(c) != "") != (self.imu == "both")]
        if wrong and self.imu == "both":
            raise ValueError(f"channels: write {' or '.join(f'{s}.{wrong[0]}' for s in ARIA_IMUS)}")
        if wrong:
            raise ValueError(f"imu: {wrong[0]} is a channel of a named sensor; write imu: both")
        return self


BuiltInDataset = (
    SimulatedDataset
    | FolderDataset
    | GoproDataset
    | AriaDataset
    | UtdMhadDataset
    | Ego4dDataset
    | EgoExo4dDataset
    | UestcMmeaDataset
    | HaptDataset
    | WharfDataset
    | WharDataset
    | AnymoBenchDataset
    | HdEpicDataset
    | ActRecTutDataset
    | WearDataset
    | EpicKitchensDataset
)
KINDS: dict[str, type[BaseDataset]] = {
    get_args(of.model_fields["kind"].annotation)[0]: of for of in get_args(BuiltInDataset)
}
"""The settings of comodo's kinds of data sets, by kind."""
READERS = Members("comodo.readers", {kind: of.CLASS for kind, of in KINDS.items()})
"""The classes of readers by kinds of data sets; those of other packages and files are described in
docs/extending.md."""


class OwnDataset(BaseDataset, OwnCode):
    """Recordings that a class of a file reads, or of an installed package: of that the kind is the
    name there."""

    MEMBERS: ClassVar[Members] = READERS
    NAMED_BY: ClassVar[str] = "reader"
    WRITTEN: ClassVar[str] = f"kind: {CUSTOM}"

    kind: Literal["custom"]
    """A reader of your own, see docs/extending.md."""
    reader: str = CUSTOM
    """Filled in: `custom`, or the name in an installed package."""
    path: ExistingPath
    """File or folder that the reader is given."""
    settings: dict[str, int | float | bool | str] = Field({})
    """Further arguments of the class's constructor."""

    @field_validator("reader")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known_member(name, READERS)

    @model_validator(mode="after")
    def _takes_its_settings(self) -> "OwnDataset":
        self.refuse_unknown(self.settings, ("path",))
        return self


def _of_installed(written: Any) -> Any:
    """A data set whose kind is the name of an installed package's reader, as an OwnDataset."""
    kind = written.get("kind") if isinstance(written, dict) else None
    if isinstance(kind, str) and kind != CUSTOM and READERS.is_installed(kind):
        return {**written, "kind": CUSTOM, "reader": kind}
    return written


DatasetConfig = Annotated[
    BuiltInDataset | OwnDataset,
    Field(discriminator="kind"),
    BeforeValidator(_of_installed),
]


def published_units(datasets: Mapping[str, DatasetConfig]) -> dict[str, Units]:
    """`PUBLISHED_UNITS` of each data set."""
    return {name: settings.PUBLISHED_UNITS for name, settings in datasets.items()}


def following(protocol: str, datasets: dict[str, Any], is_swept: bool) -> dict[str, Any]:
    """The data sets of a sweep file, as read from YAML, with the settings that `protocol` implies.

    Windows are made once for all trials of a sweep. So where its protocol `is_swept`, such a
    setting has to be written: raises ValueError for one that is not.
    """
    filled = {}
    for name, written in datasets.items():
        kind = written.get("kind") if isinstance(written, dict) else None
        of_kind = KINDS.get(kind) if isinstance(kind, str) else None
        implied = {} if of_kind is None else of_kind.BY_PROTOCOL
        for key, published in implied.items():
            if of_kind is not None and is_swept and key not in written:
                values = " or ".join([str(of_kind.model_fields[key].default), published])
                raise ValueError(
                    f"datasets.{name}.{key}: follows the protocol, which is swept, but windows are "
                    f"made once for all trials; write {values}"
                )
        filled[name] = {**implied, **written} if implied and protocol == "published" else written
    return filled


def channels_of_kind(kind: Any) -> tuple[str, ...]:
    """The channels of the windows of a kind of data set, unless its settings say otherwise."""
    settings = KINDS.get(kind) if isinstance(kind, str) else None
    return CHANNELS if settings is None else tuple(settings.model_fields["channels"].default)


def fold_split(settings: DatasetConfig) -> FoldSplit | None:
    """The data set's `split_by_group` if it makes folds."""
    shares = settings.split_by_group
    return shares if isinstance(shares, FoldSplit) else None
