"""ActRecTut's gestures (Bulling, Blanke, Schiele, ACM Computing Surveys 2014): two people with an
IMU at the right hand, lower arm and upper arm, 11 gestures in 26 rounds, labelled sample by sample.
No video.

Layout, from README.md and settings.m of its repository (github.com/andreas-bulling/ActRecTut):

    subject1_gesture/data.mat     data [N, 15], labels [N, 1]; 32 Hz

Columns are, for each IMU, the accelerometer's x, y, z and the gyroscope's x and y. Neither has a
documented unit. The accelerometers are in mg: the median length is 1,030, which is checked. The
gyroscopes are in counts of a converter. How gravity turns fits 0.6 to 1.9 deg/s in a count, about
axes that are not the accelerometer's: too vague to read them.

Rows are 1/32 s apart: the events of labels.dat are at the same distances. A sensor's last row is
repeated where it sent none; over `MAX_GAP_SECONDS` of that are a gap. The gestures have one order,
in which a round begins where it starts again; it is cut between gestures.
"""

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import ExistingPath
from comodo.config.channels import ACC_CHANNELS, WrittenChannels
from comodo.config.dataset_base import BaseDataset, SplitByGroup
from comodo.core.settings import ADDED_LATER
from comodo.core.store import fingerprint, key_of
from comodo.data.imu import (
    MAX_GAP_SECONDS,
    ImuError,
    ImuStream,
    checked_stream,
    refuse_missing,
    unit_by_gravity,
)
from comodo.data.intervals import checked
from comodo.data.recordings import DatasetError, Interval, Recording, visible

ARM_SENSORS = ("hand", "lower_arm", "upper_arm")
RATE_HZ = 32.0
GESTURES = (
    "null class", "open window", "drink", "water plant", "close window", "cut", "chop", "stir",
    "book", "forehand", "backhand", "smash",
)  # fmt: skip
"""Of the labels from 1 on."""
COLUMNS_OF_A_SENSOR = 5
MG = {"mg": 1e-3}


class ActRecTutDataset(BaseDataset):
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


class ActRecTutReader:
    SETTINGS = ActRecTutDataset

    def __init__(self, settings: ActRecTutDataset) -> None:
        self.settings = settings
        self.folder = Path(settings.path)

    def recordings(self) -> list[Recording]:
        rows = []
        for file in sorted(visible(self.folder, "subject*_gesture/data.mat")):
            match = re.fullmatch(r"subject(\d+)_gesture", file.parent.name)
            person = f"subject {match[1]}" if match else file.parent.name
            try:
                _, label_N = _content(str(file))
            except ImuError as error:
                raise DatasetError("dataset.unreadable", str(error)) from None
            for number, (first, end, intervals) in enumerate(_rounds(label_N), start=1):
                name = f"{person}, round {number:02d}"
                rows.append(
                    Recording(
                        name.replace(", ", "-").replace(" ", ""),
                        video="",
                        imu=str(file),
                        split="",
                        group=name if self.settings.groups == "rounds" else person,
                        start=first / RATE_HZ,
                        end=end / RATE_HZ,
                        intervals=intervals,
                    )
                )
        if not rows:
            fix = "path is the folder with subject1_gesture"
            message = f"{self.folder}: no subject*_gesture/data.mat; {fix}"
            raise DatasetError("dataset.no-files", message)
        return rows

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """The accelerometers of the whole file."""
        data_ND, _ = _content(recording.imu)
        time_N = np.arange(len(data_ND)) / RATE_HZ
        streams = []
        for place, sensor in enumerate(ARM_SENSORS):
            own_NC = data_ND[:, COLUMNS_OF_A_SENSOR * place :][:, :COLUMNS_OF_A_SENSOR]
            source = f"{recording.imu}, {sensor}"
            factor, note = unit_by_gravity(own_NC[:, :3], MG, source)
            sent_N = ~_held(own_NC)
            notes = [note]
            if held := int((~sent_N).sum()):
                notes.append(f"{sensor}: {held} rows repeat the last one it sent and are left out")
            channels = tuple(f"{sensor}.{channel}" for channel in ACC_CHANNELS)
            acc_N3 = own_NC[sent_N, :3] * factor
            streams.append(checked_stream(time_N[sent_N], acc_N3, source, notes, channels))
        return tuple(streams)


def _content(file: str) -> tuple[np.ndarray, np.ndarray]:
    """`data` and `labels` of a file. Raises ImuError."""
    refuse_missing(file)
    return _loaded(file, key_of(fingerprint(Path(file))))


@lru_cache(maxsize=2)  # which all rounds of a person share
def _loaded(file: str, version: str) -> tuple[np.ndarray, np.ndarray]:
    from scipy.io import loadmat  # slow to import

    try:
        content = loadmat(file)
        data_ND = np.asarray(content["data"], np.float64)
        label_N = np.asarray(content["labels"], np.int64).ravel()
    except Exception as error:  # SciPy raises many kinds for a damaged file
        reason = f"{type(error).__name__}: {error}"
        message = f"{file}: cannot be read as ActRecTut's: {reason}"
        raise ImuError("imu.unreadable", message) from None
    columns = COLUMNS_OF_A_SENSOR * len(ARM_SENSORS)
    is_known = np.isin(label_N, np.arange(len(GESTURES)) + 1).all()
    if data_ND.shape != (len(label_N), columns) or not len(label_N) or not is_known:
        has = f"data {data_ND.shape} and labels {label_N.shape}"
        fix = f"expected [N, {columns}] and N labels from 1 to {len(GESTURES)}"
        raise ImuError("imu.wrong-shape", f"{file}: {has}; {fix}")
    return data_ND, label_N


def _rounds(label_N: np.ndarray) -> Iterator[tuple[int, int, tuple[Interval, ...]]]:
    """First row, end and labels of each round."""
    bounds = [0, *(np.flatnonzero(np.diff(label_N)) + 1).tolist(), len(label_N)]
    spans = [(*span, int(label_N[span[0]])) for span in itertools.pairwise(bounds)]
    gestures = [span for span in spans if span[2] > 1]
    cuts = [0]
    for (_, stop, label), (start, _, after) in itertools.pairwise(gestures):
        if after <= label:
            cuts.append((stop + start) // 2)
    cuts.append(len(label_N))
    for first, end in itertools.pairwise(cuts):
        inside = [(max(s, first), min(e, end), n) for s, e, n in spans if s < end and first < e]
        labels = [(s / RATE_HZ, e / RATE_HZ, GESTURES[n - 1]) for s, e, n in inside]
        yield first, end, checked(labels)


def _held(own_NC: np.ndarray) -> np.ndarray:
    """Rows `[N]` in stretches of over MAX_GAP_SECONDS in which a sensor's row is repeated, apart
    from its first."""
    again_N = np.append([False], (np.diff(own_NC, axis=0) == 0).all(axis=1))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], again_N, [False]]).astype(int)))
    held_N = np.zeros(len(own_NC), bool)
    for start, end in edges.reshape(-1, 2):
        held_N[start:end] = end - start > MAX_GAP_SECONDS * RATE_HZ
    return held_N
