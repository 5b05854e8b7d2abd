"""The simulated data set: its manifest, and files that are written when they are first read."""

from pathlib import Path

from comodo.config import SimulatedDataset
from comodo.data.readers import simulated
from comodo.data.readers.simulated import SimulatedReader
from comodo.data.simulation import simulator


def test_manifest_hides_labels_and_gives_relative_paths() -> None:
    rows = simulator.plan_recordings(4, 1, 5.0, 0.1, 0)
    listed = simulated.manifest(rows)
    assert list(listed[0]) == ["recording", "video", "imu", "label", "split", "group"]
    for row, entry in zip(rows, listed, strict=True):
        assert entry["video"] == f"videos/{row.id}.mp4"
        assert entry["imu"] == f"imu/{row.id}.csv"
        assert entry["label"] == (row.activity if row.labelled else "")
        assert (entry["split"], entry["group"]) == (row.split, row.subject)


def test_files_are_written_when_they_are_first_read_and_then_left_alone(tmp_path: Path) -> None:
    settings = SimulatedDataset(kind="simulated", subjects=3, recordings=1, seconds=1.0)
    reader = SimulatedReader(settings, tmp_path)
    listed = reader.recordings()
    assert len(listed) == 3 * len(simulator.ACTIVITIES)
    assert not list(tmp_path.rglob("*.mp4"))
    chosen = listed[4]
    (stream,) = reader.read_imu(chosen)
    assert len(stream.time_N) == 100
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {str(path) for path in files} == {
        chosen.video, chosen.imu, str(tmp_path / "manifest.csv")
    }  # fmt: skip
    again = SimulatedReader(settings, tmp_path)
    assert again.recordings() == listed
    assert (again.read_imu(chosen)[0].imu_NC == stream.imu_NC).all()
    assert files == {path: path.stat().st_mtime_ns for path in files}
