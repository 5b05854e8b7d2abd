"""The simulated data set: recordings for the demonstration, written when they are first read. Knows
nothing of how they are simulated."""

import csv
from pathlib import Path

from comodo.config import FolderDataset, SimulatedDataset
from comodo.core.store import atomic, is_present
from comodo.data.imu import ImuStream
from comodo.data.readers.folder import FolderReader
from comodo.data.recordings import Recording
from comodo.data.simulation.simulator import Scenario, plan_recordings, write_recording


class SimulatedReader:
    def __init__(self, settings: SimulatedDataset, folder: Path) -> None:
        s = settings
        rows = plan_recordings(s.subjects, s.recordings, s.seconds, s.labelled, s.seed)
        self._folder = folder
        self._rows = {row.id: row for row in rows}
        path = folder / "manifest.csv"
        if not is_present(path):
            for name in ("videos", "imu"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            lines = manifest(rows)
            with atomic(path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, lines[0])
                writer.writeheader()
                writer.writerows(lines)
        self._channels = s.channels
        files = FolderDataset.model_construct(kind="folder", path=str(path), channels=s.channels)
        self._files = FolderReader(files)

    def recordings(self) -> list[Recording]:
        return self._files.recordings()

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        """Reads the IMU file; writes it and the video first if they are missing."""
        if not (is_present(Path(recording.video)) and is_present(Path(recording.imu))):
            write_recording(self._rows[recording.id], self._folder, self._channels)
        return self._files.read_imu(recording)


def manifest(rows: list[Scenario]) -> list[dict[str, str]]:
    """Rows of manifest.csv; paths are relative to its folder, and a missing label is empty."""
    lines = []
    for row in rows:
        files = {"video": f"videos/{row.id}.mp4", "imu": f"imu/{row.id}.csv"}
        label = row.activity if row.labelled else ""
        about = {"label": label, "split": row.split, "group": row.subject}
        lines.append({"recording": row.id, **files, **about})
    return lines
