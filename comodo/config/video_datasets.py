"""The settings of public data sets with video."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.channels import (
    WrittenChannels,
)
from comodo.config.dataset_base import (
    BaseDataset,
    SplitByGroup,
)
from comodo.core.settings import ADDED_LATER

LIMB_SENSORS = {
    "right_arm": "right_wrist",
    "right_leg": "right_ankle",
    "left_leg": "left_ankle",
    "left_arm": "left_wrist",
}
"""Of WEAR: sensors by what its columns are named after."""


class UtdMhadDataset(BaseDataset):
    """UTD-MHAD: depth video and a body-worn IMU; odd subjects train, even subjects test."""

    CLASS = "comodo.data.readers.utd_mhad:UtdMhadReader"

    kind: Literal["utd-mhad"]
    """UTD-MHAD in its own layout."""
    path: ExistingPath
    """Folder with Inertial/ and depth_h264/."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""


WindowTimes = Annotated[Literal["clock", "counted"], ADDED_LATER]


class Ego4dDataset(BaseDataset):
    """Ego4D: videos and IMU files by uid, splits and activities from lists of uids."""

    CLASS = "comodo.data.readers.ego4d:Ego4dReader"
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


class EgoExo4dDataset(BaseDataset):
    """Ego-Exo4D: the RGB video and the IMU of the Aria glasses of each take."""

    CLASS = "comodo.data.readers.egoexo4d:EgoExo4dReader"
    PUBLISHED_UNITS = ("m/s^2", "rad/s")
    BY_PROTOCOL: ClassVar[dict[str, str]] = {"window_times": "counted"}

    kind: Literal["egoexo4d"]
    """Ego-Exo4D in the layout of its release; needs `pip install projectaria-tools`."""
    path: ExistingPath
    """Folder of the downloaded release, with takes.json and takes/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: take, tab, activity."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""
    window_times: WindowTimes = Field("clock", json_schema_extra={"x-published": "counted"})
    """When samples were: by the glasses' clock, or `counted` from the first one at the mean rate
    cut to whole Hz, as in the published code; by default as the sweep's protocol."""


class UestcMmeaDataset(BaseDataset):
    """UESTC-MMEA-CL: clips of 32 activities, filmed from glasses with an IMU."""

    CLASS = "comodo.data.readers.uestc_mmea:UestcMmeaReader"
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


class HdEpicDataset(BaseDataset):
    """HD-EPIC: cooking at home with Project Aria glasses, unlabelled here."""

    CLASS = "comodo.data.readers.hd_epic:HdEpicReader"

    kind: Literal["hd-epic"]
    """HD-EPIC in the layout of its download script; needs `pip install projectaria-tools`."""
    path: ExistingPath
    """Folder with Videos/ and VRS/."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""


class WearDataset(BaseDataset):
    """WEAR: workouts with an accelerometer at each wrist and ankle, and a head-mounted camera."""

    CLASS = "comodo.data.readers.wear:WearReader"

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


class EpicKitchensDataset(BaseDataset):
    """EPIC-KITCHENS-100: cooking at home with a head-mounted GoPro; verbs are the classes."""

    CLASS = "comodo.data.readers.epic_kitchens:EpicKitchensReader"

    kind: Literal["epic-kitchens"]
    """The videos of EPIC-KITCHENS-100 that have sensors, in the layout of its download script."""
    path: ExistingPath
    """Folder with P01/videos/ and P01/meta_data/."""
    annotations: ExistingPath
    """Folder with EPIC_100_train.csv, EPIC_100_validation.csv and EPIC_100_verb_classes.csv."""
