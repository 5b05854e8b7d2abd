"""The simulated data set: its manifest, and files that are written when they are first read."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from comodo.data.intervals import checked
from comodo.data.readers import list_recordings, simulated
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.readers.simulated import (
    SimulatedDataset,
    SimulatedReader,
    simulated_recordings,
)
from comodo.data.recordings import Reader, Recording
from comodo.data.simulation import simulator
from comodo.data.simulation.scenarios import ACTIVITIES, NULL, plan_recordings
from comodo.data.slicing import slice_chunk


def test_manifest_hides_labels_and_gives_relative_paths() -> None:
    settings = SimulatedDataset(kind="simulated", subjects=4, seconds=5.0, labelled=0.1)
    made = simulated_recordings(settings)
    listed = simulated.manifest(made)
    assert list(listed[0]) == ["recording", "video", "imu", "label", "split", "group"]
    for recording, entry in zip(made, listed, strict=True):
        (row,) = recording.parts
        assert entry["video"] == f"videos/{row.id}.mp4"
        assert entry["imu"] == f"imu/{row.id}.csv"
        assert entry["label"] == (row.activity if row.labelled else "")
        assert (entry["split"], entry["group"]) == (row.split, row.subject)


def test_an_untrimmed_recording_has_all_activities_and_pauses_between() -> None:
    made = {"kind": "simulated", "subjects": 5, "recordings": 2, "seconds": 3.0, "labelled": 0.5}
    cut = SimulatedDataset.model_validate(made)
    settings = SimulatedDataset.model_validate(made | {"pause_seconds": 1.5})
    recordings = simulated_recordings(settings)
    assert recordings == simulated_recordings(settings)
    assert len({recording.id for recording in recordings}) == len(recordings) == 5 * 2
    orders = set()
    for recording in recordings:
        activities = [part.activity for part in recording.parts]
        assert sorted(activities[::2]) == sorted(ACTIVITIES)
        assert set(activities[1::2]) == {NULL} and len(activities) == 2 * len(ACTIVITIES) - 1
        orders.add(tuple(activities))
        assert len({(part.subject, part.split) for part in recording.parts}) == 1
        assert recording.ends[:3] == [3.0, 4.5, 7.5]
        assert recording.ends[-1] == settings.recording_seconds == 12 * 3.0 + 11 * 1.5
        assert [part.labelled for part in recording.parts[1::2]] == [
            part.labelled for part in recording.parts[:-1:2]
        ]
        whole = [i for i in recording.intervals if i[2] != NULL]
        assert all(end - start == 3.0 for start, end, _ in whole)
        assert checked(recording.intervals)  # none overlaps another
        if recording.parts[0].split != "train":
            assert len(recording.intervals) == len(recording.parts)
    assert len(orders) == len(recordings)
    # The same activities, motions and labels as of one recording each.
    parts = (part for recording in recordings for part in recording.parts[::2])
    alone = [recording.parts for recording in simulated_recordings(cut)]
    assert cut.recording_seconds == 3.0
    assert sorted(parts, key=lambda part: part.seed) == sorted(
        (row for (row,) in alone), key=lambda part: part.seed
    )


def test_files_are_written_when_they_are_first_read_and_then_left_alone(tmp_path: Path) -> None:
    settings = SimulatedDataset(kind="simulated", subjects=3, recordings=1, seconds=1.0)
    reader = SimulatedReader(settings, tmp_path)
    listed = reader.recordings()
    assert len(listed) == 3 * len(ACTIVITIES)
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
    rows = plan_recordings(3, 1, 10.0, 1.0, 0)
    for activity in ("chopping", "stirring", "hammering", "sawing"):
        moved = simulator.trajectory(next(row for row in rows if row.activity == activity))
        of_head, of_hand = (
            simulator.specific_force_g(body).std(axis=0).max()
            for body in (moved, simulator.hand_of(moved))
        )
        assert of_hand > 1.5 * of_head, activity


def windows_of(
    reader: Reader, chunk: list[Recording], settings: SimulatedDataset | FolderDataset
) -> dict[tuple[float, float], dict[str, Any]]:
    """The windows by their spans, of recordings that are parts of one file."""
    found = dict[tuple[float, float], dict[str, Any]]()
    for rows, about in slice_chunk(reader, chunk, settings, Path()):
        assert about.get("rejected") is None
        found |= {(row["start"], row["end"]): row for row in rows}
    return found


def test_windows_of_an_untrimmed_recording_are_those_of_the_spans_cut_out(tmp_path: Path) -> None:
    """Sensors at head and wrist; a person's activities of 2 s and pauses of 1 s. The same file is
    also listed by a manifest with a row for each interval."""
    windows: dict[str, Any] = {"window_seconds": 1.0, "stride_seconds": 0.5, "imu_rate": 50.0}
    windows |= {"channels": ("head.acc", "wrist.acc", "wrist.gyro_z"), "boundary": "drop"}
    made = {"kind": "simulated", "subjects": 3, "seconds": 2.0, "pause_seconds": 1.0}
    settings = SimulatedDataset.model_validate({**made, **windows})
    reader = SimulatedReader(settings, tmp_path)
    whole = next(r for r in list_recordings(settings, tmp_path) if r.split == "test")
    assert whole.intervals is not None and len(whole.intervals) == 23
    seven = whole.intervals[:7]  # of 11 s
    whole = replace(whole, end=seven[-1][1])
    untrimmed = windows_of(reader, [whole], settings)
    lines = ["recording,video,imu,label,split,group,start,end"]
    for start, end, label in seven:
        files = f"videos/{whole.id}.mp4,imu/{whole.id}.csv"
        lines.append(f"{start:g},{files},{label},test,{whole.group},{start},{end}")
    manifest = tmp_path / "cut.csv"
    manifest.write_text("\n".join(lines))
    folder = FolderDataset.model_validate({"kind": "folder", "path": str(manifest), **windows})
    listed = list_recordings(folder, tmp_path)
    cut = windows_of(FolderReader(folder), listed, folder)
    assert untrimmed.keys() == cut.keys() and len(cut) == 4 * 3 + 3
    for span, row in untrimmed.items():
        assert (row["label"], row["group"]) == (cut[span]["label"], cut[span]["group"])
        one, other = (np.reshape(r["imu"], (7, 50)) for r in (row, cut[span]))
        # Near the cuts the resampling filter has the samples beyond, or their reflection.
        apart = np.abs(one - other)[:, 15:-15].max(axis=1)
        assert apart[:6].max() < 0.03 and apart[6] < 2  # g, deg/s: the sensors' noise

    labels = Counter(row["label"] for row in untrimmed.values())
    each = {label: 3 for *_, label in seven[::2]}
    assert labels == {**each, "null": 3}
    windows |= {"stride_seconds": 1.0, "boundary": "majority"}
    windows["null_class"] = {"label": "null", "windows": "drop"}
    settings = SimulatedDataset.model_validate({**made, **windows})
    (chosen,) = (r for r in list_recordings(settings, tmp_path) if r.id == whole.id)
    rows = windows_of(reader, [replace(chosen, end=whole.end)], settings).values()
    assert Counter(row["label"] for row in rows) == dict.fromkeys(each, 2)
