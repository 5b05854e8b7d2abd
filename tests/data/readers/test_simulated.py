"""The simulated data set: its manifest, and files that are written when they are first read."""

from comodo.data.readers import simulated
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
