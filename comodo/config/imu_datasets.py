"""The settings of public data sets without video."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from comodo.config.base import ExistingPath
from comodo.config.channels import (
    QUANTITIES,
    WrittenChannels,
    expanded,
    quantity_of,
)
from comodo.config.dataset_base import (
    BaseDataset,
    SplitByGroup,
)
from comodo.core.settings import ADDED_LATER

ANYMO_SENSORS = ("head", "left_wrist", "right_wrist")
ARM_SENSORS = ("hand", "lower_arm", "upper_arm")


class HaptDataset(BaseDataset):
    """UCI HAPT: a phone's IMU at the waist, without video."""

    CLASS = "comodo.data.readers.hapt:HaptReader"

    kind: Literal["hapt"]
    """UCI HAPT in its own layout."""
    path: ExistingPath
    """Folder with RawData/, Train/ and Test/."""
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 2.56
    """Length of a window; `whole` takes each labelled interval as one window."""
    imu_rate: float = Field(50.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the phone has 50."""


class WharfDataset(BaseDataset):
    """WHARF: one accelerometer at the right wrist, without video."""

    CLASS = "comodo.data.readers.wharf:WharfReader"

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


class WharDataset(BaseDataset):
    """One of the 37 sets that the toolkit WHAR-Datasets parses into sessions, without video."""

    CLASS = "comodo.data.readers.whar:WharReader"

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


class AnymoBenchDataset(BaseDataset):
    """AnyMo-Bench: labelled windows of Nymeria with an IMU at the head and each wrist, no video."""

    CLASS = "comodo.data.readers.anymo_bench:AnymoBenchReader"

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


class ActRecTutDataset(BaseDataset):
    """ActRecTut's gestures: accelerometers at hand, lower arm and upper arm, without video."""

    CLASS = "comodo.data.readers.actrectut:ActRecTutReader"

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
