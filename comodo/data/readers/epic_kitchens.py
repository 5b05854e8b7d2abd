"""EPIC-KITCHENS-100 (Damen et al., IJCV 2022): cooking at home with a head-mounted GoPro. Only the
videos that were recorded for the extension, P01_101 and on, have sensors.

Layout, from the README of its download script (github.com/epic-kitchens/
epic-kitchens-download-scripts) and of its annotations (epic-kitchens-100-annotations):

    P01/videos/P01_101.MP4
    P01/meta_data/P01_101-accl.csv      Milliseconds, AcclX, AcclY, AcclZ
    P01/meta_data/P01_101-gyro.csv      Milliseconds, GyroX, GyroY, GyroZ
    EPIC_100_train.csv, EPIC_100_validation.csv, EPIC_100_verb_classes.csv

The authors wrote the sensors' files with gpmd2csv (github.com/JuanIrache/gopro-utils), whose
clock counts each packet of telemetry as 1 s and loses the last ones, so the IMU ends before the
video. It writes values as the telemetry has them: m/s^2, which is checked by gravity, and rad/s.

The label is the class of the verb. Actions overlap: where two verbs do, there is no label. Videos
of EPIC_100_validation.csv are test, as the labels of the authors' test videos are not public. The
person is the group.
"""

import itertools
import re
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from comodo.config.base import ExistingPath
from comodo.config.channels import expanded, quantity_of
from comodo.config.dataset_base import BaseDataset
from comodo.data.imu import (
    ACC_UNITS,
    GYRO_UNITS,
    ImuStream,
    checked_stream,
    join_sensors,
    unit_by_gravity,
)
from comodo.data.imu_tables import read_table
from comodo.data.intervals import checked
from comodo.data.recordings import DatasetError, Interval, Recording

if TYPE_CHECKING:
    import pandas as pd

LISTS = {"train": "EPIC_100_train.csv", "test": "EPIC_100_validation.csv"}
SENSORS = {"acc": ("accl", "Accl"), "gyro": ("gyro", "Gyro")}
"""What their files and columns are named after."""


class EpicKitchensDataset(BaseDataset):
    """EPIC-KITCHENS-100: cooking at home with a head-mounted GoPro; verbs are the classes."""

    kind: Literal["epic-kitchens"]
    """The videos of EPIC-KITCHENS-100 that have sensors, in the layout of its download script."""
    path: ExistingPath
    """Folder with P01/videos/ and P01/meta_data/."""
    annotations: ExistingPath
    """Folder with EPIC_100_train.csv, EPIC_100_validation.csv and EPIC_100_verb_classes.csv."""


class EpicKitchensReader:
    SETTINGS = EpicKitchensDataset

    def __init__(self, settings: EpicKitchensDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)
        self.annotations = Path(settings.annotations)

    def recordings(self) -> list[Recording]:
        rows = []
        for split, name in LISTS.items():
            actions = self._table(
                name, ["video_id", "start_timestamp", "stop_timestamp", "verb_class"]
            )
            for id, own in actions.groupby("video_id"):
                if not re.fullmatch(r"P\d\d_1\d\d", str(id)):
                    continue  # filmed before, without sensors
                person, labels = str(id)[:3], self._labels(own, name)
                folder = self.folder / person
                video = str(folder / "videos" / f"{id}.MP4")
                files = [
                    str(folder / "meta_data" / f"{id}-{file}.csv") for file, _ in SENSORS.values()
                ]
                rows.append(
                    Recording(
                        str(id),
                        video,
                        files[0],
                        split,
                        person,
                        beside=(files[1],),
                        intervals=labels,
                    )
                )
        if not any(Path(row.imu).is_file() for row in rows):
            fix = "path is the folder with P01/meta_data, of the download with --metadata"
            message = f"{self.folder}: has the accelerometer of no video in the lists; {fix}"
            raise DatasetError("dataset.no-files", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Of the sensors that `channels` lists."""
        wanted = set(map(quantity_of, expanded(self.settings.channels)))
        files = dict(zip(SENSORS, (recording.imu, *recording.beside), strict=True))
        parts, notes = dict[str, tuple[np.ndarray, np.ndarray]](), []
        for quantity in (q for q in SENSORS if q in wanted):
            columns = [f"{SENSORS[quantity][1]}{axis}" for axis in "XYZ"]
            kind = f"GoPro's telemetry with Milliseconds, {', '.join(columns)}"
            options = {"usecols": ["Milliseconds", *columns], "dtype": np.float64}
            table = read_table(files[quantity], kind, **options)
            values_N3 = table[columns].to_numpy()
            factor = GYRO_UNITS["rad/s"]
            if quantity == "acc":
                units = {"m/s^2": ACC_UNITS["m/s^2"]}
                factor, note = unit_by_gravity(values_N3, units, files[quantity])
                notes.append(note)
            parts[quantity] = table["Milliseconds"].to_numpy() / 1000, values_N3 * factor
        if len(parts) == len(SENSORS):
            stream = join_sensors(*parts["acc"], *parts["gyro"], recording.imu)
            return (replace(stream, notes=(*notes, *stream.notes)),)
        ((quantity, (time_N, values_N3)),) = parts.items()
        return (checked_stream(time_N, values_N3, files[quantity], notes, expanded([quantity])),)

    @cached_property
    def _verbs(self) -> dict[int, str]:
        table = self._table("EPIC_100_verb_classes.csv", ["id", "key"])
        return {int(id): str(key) for id, key in zip(table["id"], table["key"], strict=True)}

    def _labels(self, actions: "pd.DataFrame", name: str) -> tuple[Interval, ...]:
        try:
            columns = (actions[c] for c in ("start_timestamp", "stop_timestamp", "verb_class"))
            spans = [
                (_seconds(start), _seconds(end), self._verbs[verb])
                for start, end, verb in zip(*columns, strict=True)
            ]
            return checked(without_overlaps([span for span in spans if span[0] < span[1]]))
        except (KeyError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            message = f"{self.annotations / name}: {actions.video_id.iloc[0]}: {reason}"
            raise DatasetError("dataset.bad-line", message) from None

    def _table(self, name: str, columns: list[str]) -> "pd.DataFrame":
        import pandas as pd  # takes half a second

        file = self.annotations / name
        try:
            return pd.read_csv(file, usecols=columns)
        except (OSError, ValueError) as error:
            message = f"{file}: cannot be read as a table with {', '.join(columns)}: {error}"
            raise DatasetError("dataset.unreadable", message) from None


def _seconds(text: str) -> float:
    """Of `hours:minutes:seconds`. Raises ValueError."""
    hours, minutes, seconds = map(float, text.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def without_overlaps(spans: list[Interval]) -> list[Interval]:
    """The stretches in which all spans have one label."""
    changes = defaultdict[float, list[tuple[str, int]]](list)
    for start, end, label in spans:
        changes[start].append((label, 1))
        changes[end].append((label, -1))
    found: list[Interval] = []
    open_labels = defaultdict[str, int](int)
    times = sorted(changes)
    for time, until in itertools.pairwise(times):
        for label, change in changes[time]:
            open_labels[label] += change
        now = [label for label, count in open_labels.items() if count]
        if len(now) == 1:
            found.append((time, until, now[0]))
    return found
