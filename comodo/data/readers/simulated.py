"""The simulated data set: recordings for the demonstration, written when they are first read. Knows
nothing of how they are simulated."""

import csv
from dataclasses import replace
from pathlib import Path

from comodo.config import FolderDataset, SimulatedDataset
from comodo.core.store import atomic, is_present
from comodo.data.imu import ImuStream
from comodo.data.intervals import checked
from comodo.data.readers.folder import FolderReader
from comodo.data.recordings import Recording
from comodo.data.simulation.scenarios import SimulatedRecording, simulated_recordings
from comodo.data.simulation.simulator import write_recording


class SimulatedReader:
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
            write_recording(self._made[recording.id], self._folder, self._settings.channels)
        return self._files.read_imu(recording)


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
