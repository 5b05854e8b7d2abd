"""The simulated data set: recordings for the demonstration, written when they are first read. Knows
nothing of how they are simulated."""

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from comodo.config.base import Seed
from comodo.config.dataset_base import BaseDataset
from comodo.core.settings import ADDED_LATER
from comodo.core.store import atomic, is_present
from comodo.data.imu import ImuStream
from comodo.data.intervals import checked
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.recordings import Recording
from comodo.data.simulation.scenarios import (
    ACTIVITIES,
    NULL,
    Scenario,
    SimulatedRecording,
    plan_recordings,
)


class SimulatedDataset(BaseDataset):
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
    """Length of each activity in seconds."""
    labelled: float = Field(0.2, gt=0, le=1)
    """Share of the activities in training recordings that carry their label."""
    seed: Seed = 0
    """Seed of the people, their motions and their splits: another seed is another data set."""
    pause_seconds: Annotated[float | None, ADDED_LATER] = Field(None, gt=0)
    """Makes recordings untrimmed: all activities follow each other in one, with pauses of so many
    seconds, whose class is `null`. By default each activity is a recording."""

    @property
    def recording_seconds(self) -> float:
        if self.pause_seconds is None:
            return self.seconds
        return len(ACTIVITIES) * (self.seconds + self.pause_seconds) - self.pause_seconds


class SimulatedReader:
    SETTINGS = SimulatedDataset

    def __init__(self, settings: SimulatedDataset, folder: Path) -> None:
        made = simulated_recordings(settings)
        self._folder, self._settings = folder, settings
        self._made = {recording.id: recording for recording in made}
        path = folder / "manifest.csv"
        if not is_present(path):
            for name in ("videos", "imu"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            lines = manifest(made)
            with atomic(path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, lines[0])
                writer.writeheader()
                writer.writerows(lines)
        channels = settings.channels
        files = FolderDataset.model_construct(kind="folder", path=str(path), channels=channels)
        self._files = FolderReader(files)

    def recordings(self) -> list[Recording]:
        listed = self._files.recordings()
        if self._settings.pause_seconds is None:
            return listed
        return [replace(r, intervals=checked(self._made[r.id].intervals)) for r in listed]

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Reads the IMU file; writes it and the video first if they are missing."""
        if not (is_present(Path(recording.video)) and is_present(Path(recording.imu))):
            # Imports PyAV and SciPy: a second that reading settings need not wait.
            from comodo.data.simulation.simulator import write_recording

            write_recording(self._made[recording.id], self._folder, self._settings.channels)
        return self._files.read_imu(recording)


def simulated_recordings(settings: SimulatedDataset) -> list[SimulatedRecording]:
    """The recordings of a data set: one for each activity or, with `pause_seconds`, one with all
    activities in an order of its own. A pause has a label if the activity before it has one."""
    s = settings
    rows = plan_recordings(s.subjects, s.recordings, s.seconds, s.labelled, s.seed)
    if s.pause_seconds is None:
        return [SimulatedRecording(row.id, (row,)) for row in rows]
    together: defaultdict[str, list[Scenario]] = defaultdict(list)
    for row in rows:
        together[f"{row.subject}_{row.id.rpartition('_')[2]}"].append(row)
    made = []
    for id, of_one in together.items():
        order = np.random.default_rng([of_one[0].seed, 3]).permutation(len(of_one))
        parts = []
        for row in (of_one[i] for i in order):
            other = {"activity": NULL, "seconds": s.pause_seconds, "seed": row.seed + 2**31}
            parts += [row, replace(row, **other)]
        made.append(SimulatedRecording(id, tuple(parts[:-1])))
    return made


def manifest(recordings: list[SimulatedRecording]) -> list[dict[str, str]]:
    """Rows of manifest.csv; paths are relative to its folder, and the label is empty if it is
    missing, or if there are several."""
    lines = []
    for made in recordings:
        row = made.parts[0]
        files = {"video": f"videos/{made.id}.mp4", "imu": f"imu/{made.id}.csv"}
        label = row.activity if row.labelled and len(made.parts) == 1 else ""
        about = {"label": label, "split": row.split, "group": row.subject}
        lines.append({"recording": made.id, **files, **about})
    return lines
