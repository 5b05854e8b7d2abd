"""The settings of each kind of dataset."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from comodo.config.base import ExistingPath, Settings


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
