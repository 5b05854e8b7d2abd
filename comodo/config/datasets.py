"""The settings of each kind of data set."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from comodo.config.base import ExistingPath, Seed, Settings


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


class _Dataset(Settings):
    window_seconds: Annotated[float, Field(gt=0, le=3600)] | Literal["whole"] = 5.0
    """Length of a window; `whole` takes each recording as one window."""
    imu_rate: float = Field(200.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to."""
    max_rejected: float = Field(0.2, ge=0, le=1)
    """Share of recordings (at encode: of windows) that may be unreadable before it is an error."""
    split_by_group: GroupSplit | None = None
    """Splits made by group, in place of the data set's own."""
    videos: Literal["original", "shrink"] = "original"
    """Whether teachers see the original files, or small copies that prepare makes once."""


class SimulatedDataset(_Dataset):
    """Egocentric recordings made by a simulation; a demonstration, not data."""

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
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs. First generation: `right` at 1,000 Hz, `left` at 800 Hz;
    second: both at 800 Hz."""


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


class Ego4dDataset(_Dataset):
    """Ego4D: videos and IMU files by uid, splits and activities from lists of uids."""

    kind: Literal["ego4d"]
    """Ego4D in the layout of its release."""
    video_folder: ExistingPath
    """Folder of `<uid>.mp4`: the release's full_scale, or smaller copies."""
    imu_folder: ExistingPath
    """Folder of `<uid>.csv`: the release's imu."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: uid, tab, activity."""


class EgoExo4dDataset(_Dataset):
    """Ego-Exo4D: the RGB video and the IMU of the Aria glasses of each take."""

    kind: Literal["egoexo4d"]
    """Ego-Exo4D in the layout of its release; needs `pip install comodo[cameras]`."""
    path: ExistingPath
    """Folder of the downloaded release, with takes.json and takes/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: take, tab, activity."""
    imu: Literal["right", "left"] = "right"
    """Which of the glasses' two IMUs: right at 1,000 Hz, left at 800 Hz."""


class UestcMmeaDataset(_Dataset):
    """UESTC-MMEA-CL: clips of 32 activities, filmed from glasses with an IMU."""

    kind: Literal["uestc-mmea-cl"]
    """UESTC-MMEA-CL in the layout of its release."""
    path: ExistingPath
    """Folder with video/ and sensor/."""
    splits: ExistingPath
    """Folder of train.txt, val.txt and test.txt: path, frames, IMU samples, class index."""
    window_seconds: Literal["whole"] = "whole"
    """A clip is one window."""
    imu_rate: float = Field(25.0, gt=0, le=10_000)
    """Common rate in Hz that every IMU stream is resampled to; the sensor has 25."""


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


DatasetConfig = Annotated[
    SimulatedDataset
    | FolderDataset
    | GoproDataset
    | AriaDataset
    | UtdMhadDataset
    | Ego4dDataset
    | EgoExo4dDataset
    | UestcMmeaDataset
    | HaptDataset,
    Field(discriminator="kind"),
]
