"""The simulated data set: its manifest, and files that are written when they are first read."""

from pathlib import Path
from typing import Any

import numpy as np

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


def test_named_sensors_are_at_head_and_hand(tmp_path: Path) -> None:
    """The head's samples are those of a recording with one sensor, and a hand moves otherwise."""
    small: dict[str, Any] = {"kind": "simulated", "subjects": 3, "recordings": 1, "seconds": 5.0}
    several = SimulatedDataset(**small, channels=("head.acc", "wrist.acc", "wrist.gyro_z"))
    one = SimulatedReader(SimulatedDataset(**small), tmp_path / "one")
    two = SimulatedReader(several, tmp_path / "two")
    for chosen in two.recordings()[:12]:
        (alone,) = one.read_imu(next(r for r in one.recordings() if r.id == chosen.id))
        head, wrist = two.read_imu(chosen)
        assert head.channels == ("head.acc_x", "head.acc_y", "head.acc_z")
        assert wrist.channels == ("wrist.acc_x", "wrist.acc_y", "wrist.acc_z", "wrist.gyro_z")
        assert (head.imu_NC == alone.imu_NC[:, :3]).all() and (head.time_N == alone.time_N).all()
        assert not np.allclose(wrist.imu_NC[:, :3], head.imu_NC, atol=0.05)
        assert 0.8 < np.median(np.linalg.norm(wrist.imu_NC[:, :3], axis=1)) < 2.5


def test_a_hand_at_work_moves_more_than_the_head() -> None:
    rows = simulator.plan_recordings(3, 1, 10.0, 1.0, 0)
    for activity in ("chopping", "stirring", "hammering", "sawing"):
        moved = simulator.trajectory(next(row for row in rows if row.activity == activity))
        of_head, of_hand = (
            simulator.specific_force_g(body).std(axis=0).max()
            for body in (moved, simulator.hand_of(moved))
        )
        assert of_hand > 1.5 * of_head, activity
