"""Sessions as the toolkit WHAR-Datasets writes them (Burzer et al., UbiComp Companion 2025), which
parses 37 public sets of wearables into one layout. No video.

Layout, from its source (github.com/teco-kit/whar-datasets, processing/utils/caching.py):

    metadata/activity_df.csv      activity_id, activity_name
    metadata/session_df.csv       session_id, subject_id, activity_id
    sessions/sessions.parquet     session_id, timestamp, and a column for each channel

A session is a stretch of one activity. The layout says neither which column is which channel nor in
which unit it is: that differs by set, so the settings say it. The subject is the group.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from comodo.config.base import ExistingPath
from comodo.config.channels import expanded, quantity_of, sensor_of
from comodo.config.dataset_base import BaseDataset, SplitByGroup
from comodo.data.imu import ACC_UNITS, GYRO_UNITS, ImuError, ImuStream, checked_stream
from comodo.data.recordings import DatasetError, Recording

if TYPE_CHECKING:
    import pandas as pd


class WharDataset(BaseDataset):
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


class WharReader:
    SETTINGS = WharDataset

    def __init__(self, settings: WharDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)
        self.sessions = self.folder / "sessions" / "sessions.parquet"

    def recordings(self) -> list[Recording]:
        if not self.sessions.is_file():
            fix = "path is the folder of one data set, with metadata and sessions"
            raise DatasetError("dataset.no-files", f"{self.sessions}: no such file; {fix}")
        activities = self._table("activity_df.csv", ["activity_id", "activity_name"])
        sessions = self._table("session_df.csv", ["session_id", "subject_id", "activity_id"])
        names = dict(zip(activities.activity_id, activities.activity_name, strict=True))
        if unknown := sorted(set(sessions.activity_id) - set(names)):
            message = f"{self.folder / 'metadata'}: activity_df.csv lacks the activity {unknown[0]}"
            raise DatasetError("dataset.bad-line", message)
        return [
            Recording(
                f"session-{row.session_id:06d}",
                video="",
                imu=str(self.sessions),
                split="",
                group=f"subject {row.subject_id}",
                label=str(names[row.activity_id]),
            )
            for row in sessions.itertuples()
        ]

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Its first sample is at 0 s."""
        session, columns = int(recording.id.removeprefix("session-")), self.settings.columns
        try:
            table = pq.read_table(
                self.sessions,
                columns=["timestamp", *columns.values()],
                filters=[("session_id", "==", session)],
            )
            clock_ns_N = table["timestamp"].cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy()
            values = {c: table[name].to_numpy().astype(np.float64) for c, name in columns.items()}
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            has = f"a timestamp and {', '.join(columns.values())}"
            message = f"{recording.imu}: session {session} cannot be read as {has}: {error}"
            raise ImuError("imu.unreadable", message) from None
        time_N = (clock_ns_N - clock_ns_N[:1]) / 1e9
        factors = {
            "acc": ACC_UNITS.get(self.settings.acc_unit or ""),
            "gyro": GYRO_UNITS.get(self.settings.gyro_unit or ""),
        }
        streams = []
        for sensor in dict.fromkeys(map(sensor_of, columns)):
            channels = tuple(c for c in columns if sensor_of(c) == sensor)
            scaled = [values[c] * factors[quantity_of(c)] for c in channels]
            imu_NC = np.stack(scaled, axis=1)
            source = f"{recording.imu}, session {session}"
            streams.append(checked_stream(time_N, imu_NC, source, channels=channels))
        return tuple(streams)

    def _table(self, name: str, columns: list[str]) -> "pd.DataFrame":
        import pandas as pd  # takes half a second

        file = self.folder / "metadata" / name
        try:
            return pd.read_csv(file, usecols=columns).dropna()
        except (OSError, ValueError) as error:
            message = f"{file}: cannot be read as a table with {', '.join(columns)}: {error}"
            raise DatasetError("dataset.unreadable", message) from None
