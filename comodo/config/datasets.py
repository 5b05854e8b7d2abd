"""The settings of each kind of data set."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from comodo.config.base import ADDED_LATER, ExistingPath, Seed, Settings
from comodo.config.channels import (
    CHANNELS,
    QUANTITIES,
    SENSOR_NAME,
    WrittenChannels,
    expanded,
    quantity_of,
    sensor_of,
)
from comodo.config.imu_files import Columns, Preset, SensorName, TimeUnit

Units = tuple[str, str]
"""Of acceleration and angular velocity, from `imu.ACC_UNITS` and `imu.GYRO_UNITS`."""
G_AND_DEGREES: Units = ("g", "deg/s")
"""Of all prepared windows."""
ARIA_IMUS = ("left", "right")
ANYMO_SENSORS = ("head", "left_wrist", "right_wrist")
ARM_SENSORS = ("hand", "lower_arm", "upper_arm")
LIMB_SENSORS = {
    "right_arm": "right_wrist",
    "right_leg": "right_ankle",
    "left_leg": "left_ankle",
    "left_arm": "left_wrist",
}
"""Of WEAR: sensors by what its columns are named after."""


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


class _Dataset(Settings):
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

    @model_validator(mode="after")
    def _names_its_sensor(self) -> "_Dataset":
        if self.sensor is not None and any(map(sensor_of, self.channels)):
            raise ValueError("sensor: its channels already have a sensor's name; remove sensor")
        return self

    @property
    def imu_channels(self) -> tuple[str, ...]:
        """Names of the channels that its windows have, each one axis."""
        named = expanded(self.channels)
        return named if self.sensor is None else tuple(f"{self.sensor}.{c}" for c in named)

    @model_validator(mode="after")
    def _has_a_stride(self) -> "_Dataset":
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
    def _draws_from_train(self) -> "_Dataset":
        if self.windows_per_recording is not None and isinstance(self.split_by_group, FoldSplit):
            raise ValueError(
                "windows_per_recording: draws windows of the train split, which differs by fold; "
                "remove it, or split_by_group.folds"
            )
        return self


class SimulatedDataset(_Dataset):
    """Egocentric recordings made by a simulation; a demonstration, not data. A sensor named `head`
    is that of the camera, sensors of other names are at a hand."""

    kind: Literal["simulated"]
    """Simulated recordings."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    subjects: int = Field(10, ge=3)
    """Simulated people: a fifth of them in val, a fifth in test, the others in train."""
    recordings: int = Field(1, ge=1)
    """Recordings of each activity by each subject."""
    seconds: float = Field(60.0, gt=0)
    """Length of each recording in seconds."""
    labelled: float = Field(0.2, gt=0, le=1)
    """Share of the training recordings that carry their label."""
    seed: Seed = 0
    """Seed of the people, their motions and their splits: another seed is another data set."""


class FolderDataset(_Dataset):
    """The user's own recordings, listed in a CSV or Parquet manifest."""

    kind: Literal["folder"]
    """A manifest that names each recording."""
    path: ExistingPath
    """The manifest file."""
    root: ExistingPath | None = Field(None, exclude_if=lambda value: value is None)
    """Folder that the manifest's paths must not leave, also by `..` or link; by default its own."""
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


class GoproDataset(_Dataset):
    """A folder of MP4 files that carry their telemetry."""

    kind: Literal["gopro"]
    """Recordings of GoPro cameras."""
    path: ExistingPath
    """Folder that is searched for .mp4 files at any depth."""


class AriaDataset(_Dataset):
    """A folder of VRS files of Project Aria's glasses."""

    kind: Literal["aria"]
    """Needs `pip install comodo[cameras]`."""
    path: ExistingPath
    """Folder that is searched for .vrs files at any depth."""
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


class UtdMhadDataset(_Dataset):
    """UTD-MHAD: depth video and a body-worn IMU; odd subjects train, even subjects test."""

    kind: Literal["utd-mhad"]
    """UTD-MHAD in its own layout."""
    path: ExistingPath
    """Folder with Inertial/ and depth_h264/."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""


WindowTimes = Annotated[Literal["clock", "counted"], ADDED_LATER]


class Ego4dDataset(_Dataset):
    """Ego4D: videos and IMU files by uid, splits and activities from lists of uids."""

    PUBLISHED_UNITS = ("m/s^2", "rad/s")
    BY_PROTOCOL: ClassVar[dict[str, str]] = {"window_times": "counted"}

    kind: Literal["ego4d"]
    """Ego4D in the layout of its release."""
    video_folder: ExistingPath
    """Folder of `<uid>.mp4`: the release's full_scale, or smaller copies."""
    imu_folder: ExistingPath
    """Folder of `<uid>.csv`: the release's imu."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: uid, tab, activity."""
    window_times: WindowTimes = Field("clock", json_schema_extra={"x-published": "counted"})
    """When samples were: by the file's clock, or `counted` from the first one at the mean rate cut
    to whole Hz, as in the published code; by default as the sweep's protocol."""


class EgoExo4dDataset(_Dataset):
    """Ego-Exo4D: the RGB video and the IMU of the Aria glasses of each take."""

    PUBLISHED_UNITS = ("m/s^2", "rad/s")
    BY_PROTOCOL: ClassVar[dict[str, str]] = {"window_times": "counted"}

    kind: Literal["egoexo4d"]
    """Ego-Exo4D in the layout of its release; needs `pip install comodo[cameras]`."""
    path: ExistingPath
    """Folder of the downloaded release, with takes.json and takes/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: take, tab, activity."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""
    window_times: WindowTimes = Field("clock", json_schema_extra={"x-published": "counted"})
    """When samples were: by the glasses' clock, or `counted` from the first one at the mean rate
    cut to whole Hz, as in the published code; by default as the sweep's protocol."""


class UestcMmeaDataset(_Dataset):
    """UESTC-MMEA-CL: clips of 32 activities, filmed from glasses with an IMU."""

    BY_PROTOCOL: ClassVar[dict[str, str]] = {"first_row": "drop"}
    FRAME = "squeeze"

    kind: Literal["uestc-mmea-cl"]
    """UESTC-MMEA-CL in the layout of its release."""
    path: ExistingPath
    """Folder with video/ and sensor/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: path, frames, IMU samples, class index."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(25.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensor has 25, at which a window
    has the file's own rows."""
    acc_unit: Annotated[Literal["1/16384 g", "1/8192 g"] | None, ADDED_LATER] = None
    """Unit of acceleration in all sensor files; by default found from gravity in all of them
    together."""
    first_row: Annotated[Literal["keep", "drop"], ADDED_LATER] = Field(
        "keep", json_schema_extra={"x-published": "drop"}
    )
    """Whether windows have the first row of their sensor file, which the published code reads as a
    header; by default as the sweep's protocol."""


class HaptDataset(_Dataset):
    """UCI HAPT: a phone's IMU without video, to measure students on."""

    kind: Literal["hapt"]
    """UCI HAPT in its own layout."""
    path: ExistingPath
    """Folder with RawData/, Train/ and Test/."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.56
    """Length of a window; `whole` takes each labelled interval as one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the phone has 50."""


class WharfDataset(_Dataset):
    """WHARF: one accelerometer at the right wrist, without video."""

    kind: Literal["wharf"]
    """WHARF in the layout of its release."""
    path: ExistingPath
    """Folder that is searched for Accelerometer-*.txt at any depth."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.5
    """Length of a window; `whole` takes each file as one. The shortest file has 2.56 s."""
    imu_rate: float = Field(32.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensor has 32."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = ("acc",)
    """The channels that windows have, of `[acc]`."""
    split_by_group: SplitByGroup
    """Splits by person, as the data set has none of its own: by shares, or folds."""


class WharDataset(_Dataset):
    """One of the 37 sets that the toolkit WHAR-Datasets parses into sessions, without video."""

    kind: Literal["whar"]
    """Sessions of WHAR-Datasets."""
    path: ExistingPath
    """The toolkit's folder of one data set, with metadata/ and sessions/."""
    columns: dict[str, str] = Field(min_length=1)
    """The column of each channel, such as `{hand.acc_x: hand_acc_x}`: one axis each, in the order
    that windows have by default."""
    acc_unit: Literal["g", "m/s^2"] | None = None
    """Of the accelerometers' columns, from the documentation of the data set."""
    gyro_unit: Literal["deg/s", "rad/s"] | None = None
    """Of the gyroscopes' columns, likewise."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    split_by_group: SplitByGroup
    """Splits by subject, as the toolkit stores none: by shares, or folds."""

    @model_validator(mode="before")
    @classmethod
    def _all_columns(cls, written: Any) -> Any:
        if isinstance(written, dict) and isinstance(written.get("columns"), dict):
            return {"channels": list(written["columns"]), **written}
        return written

    @model_validator(mode="after")
    def _units(self) -> "WharDataset":
        for channel in self.columns:
            if expanded((channel,)) != (channel,):
                raise ValueError(f"columns: '{channel}' is no single axis, such as {channel}_x")
            key = f"{quantity_of(channel)}_unit"
            if getattr(self, key) is None:
                raise ValueError(f"{key}: is required for {channel}; see the set's documentation")
        return self


class AnymoBenchDataset(_Dataset):
    """AnyMo-Bench: labelled windows of Nymeria with an IMU at the head and each wrist, no video."""

    kind: Literal["anymo-bench"]
    """AnyMo-Bench in its Parquet files."""
    path: ExistingPath
    """Folder of one configuration, with train-*.parquet and test-*.parquet."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = "whole"
    """Length of a window; `whole` takes each row as one, which has up to 5 s."""
    imu_rate: float = Field(60.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the files have 60."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = tuple(
        f"{sensor}.{quantity}" for sensor in ANYMO_SENSORS for quantity in QUANTITIES
    )
    """The channels that windows have: of the sensors head, left_wrist and right_wrist."""


class HdEpicDataset(_Dataset):
    """HD-EPIC: cooking at home with Project Aria glasses, unlabelled here."""

    kind: Literal["hd-epic"]
    """HD-EPIC in the layout of its download script; needs `pip install comodo[cameras]`."""
    path: ExistingPath
    """Folder with Videos/ and VRS/."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""


class ActRecTutDataset(_Dataset):
    """ActRecTut's gestures: accelerometers at hand, lower arm and upper arm, without video."""

    kind: Literal["actrectut"]
    """ActRecTut's gestures in the layout of its repository."""
    path: ExistingPath
    """Folder with subject1_gesture/ and, if you have it, subject2_gesture/."""
    groups: Literal["rounds", "people"] = "rounds"
    """What stays together in a split: a round of all gestures (about a minute), or a person."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.0
    """Length of a window; gestures take 2 to 8 s."""
    imu_rate: float = Field(32.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensors have 32."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = tuple(f"{s}.acc" for s in ARM_SENSORS)
    """The channels that windows have: of the sensors hand, lower_arm and upper_arm, `acc`. The
    gyroscopes' counts have no known unit."""
    split_by_group: SplitByGroup
    """Splits by `groups`, as the data set has none of its own: by shares, or folds."""


class WearDataset(_Dataset):
    """WEAR: workouts with an accelerometer at each wrist and ankle, and a head-mounted camera."""

    kind: Literal["wear"]
    """WEAR in the layout of its release."""
    path: ExistingPath
    """Folder of sbj_*.csv: the release's raw/inertial/50hz."""
    annotations: ExistingPath
    """Any one of the release's files annotations/60fps/wear_split_*.json: all list every label."""
    video_folder: ExistingPath | None = None
    """Folder of the videos, each named as its CSV file; by default there is no video."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 1.0
    """Length of a window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensors have 50."""
    channels: Annotated[WrittenChannels, ADDED_LATER] = tuple(
        f"{sensor}.acc" for sensor in LIMB_SENSORS.values()
    )
    """The channels that windows have: `acc` of right_wrist, right_ankle, left_ankle, left_wrist."""
    split_by_group: SplitByGroup
    """Splits by subject: `{folds: all}` leaves one out at a time, as the authors do."""


class EpicKitchensDataset(_Dataset):
    """EPIC-KITCHENS-100: cooking at home with a head-mounted GoPro; verbs are the classes."""

    kind: Literal["epic-kitchens"]
    """The videos of EPIC-KITCHENS-100 that have sensors, in the layout of its download script."""
    path: ExistingPath
    """Folder with P01/videos/ and P01/meta_data/."""
    annotations: ExistingPath
    """Folder with EPIC_100_train.csv, EPIC_100_validation.csv and EPIC_100_verb_classes.csv."""


DatasetConfig = Annotated[
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
    | EpicKitchensDataset,
    Field(discriminator="kind"),
]


def published_units(datasets: Mapping[str, DatasetConfig]) -> dict[str, Units]:
    """`PUBLISHED_UNITS` of each data set."""
    return {name: settings.PUBLISHED_UNITS for name, settings in datasets.items()}


def following(protocol: str, datasets: dict[str, Any], is_swept: bool) -> dict[str, Any]:
    """The data sets of a sweep file, as read from YAML, with the settings that `protocol` implies.

    Windows are made once for all trials of a sweep. So where its protocol `is_swept`, such a
    setting has to be written: raises ValueError for one that is not.
    """
    kinds = _kinds()
    filled = {}
    for name, written in datasets.items():
        kind = written.get("kind") if isinstance(written, dict) else None
        implied = kinds[kind].BY_PROTOCOL if isinstance(kind, str) and kind in kinds else {}
        for key, published in implied.items():
            if is_swept and key not in written:
                values = " or ".join([str(kinds[kind].model_fields[key].default), published])
                raise ValueError(
                    f"datasets.{name}.{key}: follows the protocol, which is swept, but windows are "
                    f"made once for all trials; write {values}"
                )
        filled[name] = {**implied, **written} if implied and protocol == "published" else written
    return filled


def _kinds() -> dict[Any, type[_Dataset]]:
    return {get_args(c.model_fields["kind"].annotation)[0]: c for c in _Dataset.__subclasses__()}


def channels_of_kind(kind: Any) -> tuple[str, ...]:
    """The channels of the windows of a kind of data set, unless its settings say otherwise."""
    settings = _kinds().get(kind) if isinstance(kind, str) else None
    return CHANNELS if settings is None else tuple(settings.model_fields["channels"].default)


def fold_split(settings: DatasetConfig) -> FoldSplit | None:
    """The data set's `split_by_group` if it makes folds."""
    shares = settings.split_by_group
    return shares if isinstance(shares, FoldSplit) else None
