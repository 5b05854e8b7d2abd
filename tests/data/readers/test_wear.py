"""WEAR, in files made with the headers of its documented layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError
from comodo.data.readers.wear import WearDataset, WearReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced, write_video
from tests.errors import raises

LIMBS = ("right_arm", "right_leg", "left_leg", "left_arm")
HEADER = ",".join(["sbj_id", *(f"{limb}_acc_{axis}" for limb in LIMBS for axis in "xyz"), "label"])


def make(folder: Path, gravity: float = 1.0, **settings: object) -> WearDataset:
    """Two subjects, 10 s each; the limb's number is in x."""
    inertial = folder / "raw/inertial/50hz"
    inertial.mkdir(parents=True)
    database = {}
    for subject in (0, 1):
        limbs_12 = [v * gravity for limb in range(4) for v in (0.1 * limb, 0.0, 1.0)]
        lines = []
        for row in range(500):
            values = [f"{v + row % 5 * 1e-3:.4f}" for v in limbs_12]
            lines.append(",".join([str(subject), *values, "null" if row < 250 else "jogging"]))
        (inertial / f"sbj_{subject}.csv").write_text("\n".join([HEADER, *lines]))
        annotation = {"label": "jogging", "segment": [5.0, 9.98], "label_id": 0}
        about = {"subset": "Training", "duration": 10.0, "fps": 60}
        database[f"sbj_{subject}"] = {**about, "annotations": [annotation]}
    annotations = folder / "wear_split_1.json"
    annotations.write_text(json.dumps({"version": "Wear", "database": database, "label_dict": {}}))
    options = {"annotations": str(annotations), "split_by_group": {"folds": "all"}, **settings}
    return WearDataset(kind="wear", path=str(inertial), **options)


def test_subjects_are_recordings_with_labels_of_the_json(tmp_path: Path) -> None:
    settings = make(tmp_path)
    rows = WearReader(settings).recordings()
    assert [(r.id, r.group, r.video, r.intervals) for r in rows] == [
        ("sbj_0", "sbj_0", "", ((5.0, 9.98, "jogging"),)),
        ("sbj_1", "sbj_1", "", ((5.0, 9.98, "jogging"),)),
    ]
    with pytest.raises(ValidationError, match="split_by_group"):
        own = {"path": settings.path, "annotations": settings.annotations}
        WearDataset(**{"kind": "wear", **own})


@pytest.mark.parametrize("gravity", [1.0, 9.80665])
def test_four_accelerometers_in_g(tmp_path: Path, gravity: float) -> None:
    reader = WearReader(make(tmp_path, gravity))
    streams = reader.read_imu(reader.recordings()[0])
    names = ["right_wrist", "right_ankle", "left_ankle", "left_wrist"]
    assert [stream.channels[0] for stream in streams] == [f"{name}.acc_x" for name in names]
    for limb, stream in enumerate(streams):
        assert stream.rate == pytest.approx(50)
        np.testing.assert_allclose(stream.imu_NC[0], [0.1 * limb, 0, 1], atol=1e-3)


def test_windows_of_chosen_limbs(tmp_path: Path) -> None:
    windows, rejected = sliced(make(tmp_path, channels=("left_wrist.acc",)))
    assert not rejected and len(windows) == 20
    assert {imu_CT.shape for imu_CT in windows.values()} == {(3, 50)}


def test_videos_have_the_subject_s_name(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    settings = make(tmp_path, video_folder=str(videos))
    with raises(DatasetError, "dataset.no-files", "no sbj_0.mp4"):
        WearReader(settings).recordings()
    for subject in (0, 1):
        write_video(videos / f"sbj_{subject}.MP4", 10)
    windows, rejected = sliced(settings)
    assert not rejected and len(windows) == 20
    (videos / "sbj_1.avi").touch()
    with raises(DatasetError, "dataset.no-files", "sbj_1.MP4, sbj_1.avi"):
        WearReader(settings).recordings()


def test_other_files_are_refused(tmp_path: Path) -> None:
    settings = make(tmp_path)
    reader = WearReader(settings)
    recording = reader.recordings()[0]
    Path(recording.imu).write_text("sbj_id,right_arm_acc_x\n0,1\n")
    with raises(ImuError, "imu.unreadable", "sbj_0.csv", "left_arm_acc_z"):
        reader.read_imu(recording)
    for content, code, reason in (
        ({"database": {"sbj_0": {}}}, "dataset.bad-line", "no usable annotations of sbj_0"),
        ({"database": []}, "dataset.unreadable", "database is no object"),
        ([], "dataset.unreadable", "TypeError"),
    ):
        Path(settings.annotations).write_text(json.dumps(content))
        with raises(DatasetError, code, "wear_split_1.json", reason):
            reader.recordings()
    elsewhere = settings.model_copy(update={"path": str(tmp_path)})
    Path(settings.annotations).write_text(json.dumps({"database": {}}))
    with raises(DatasetError, "dataset.no-files", "raw/inertial/50hz"):
        WearReader(elsewhere).recordings()
