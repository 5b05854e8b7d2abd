"""UTD-MHAD, read from the shared recordings."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comodo.config import CHANNELS
from comodo.config.dataset_base import GroupSplit
from comodo.data.readers import list_recordings
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.readers.utd_mhad import UtdMhadDataset, UtdMhadReader
from comodo.data.recordings import DatasetError
from comodo.data.slicing import slice_chunk
from comodo.data.video import video_seconds
from tests.errors import raises


def test_splits_labels_and_streams(shared_data: Path) -> None:
    folder = shared_data / "utd_mhad"
    reader = UtdMhadReader(UtdMhadDataset(kind="utd-mhad", path=str(folder)))
    recordings = reader.recordings()
    assert Counter(r.split for r in recordings) == {"train": 431, "test": 430}
    assert len({r.label for r in recordings}) == 27
    train, test = ({r.group for r in recordings if r.split == s} for s in ("train", "test"))
    assert len(train) == len(test) == 4
    assert not train & test
    (stream,) = reader.read_imu(recordings[0])
    assert stream.time_N[-1] == pytest.approx(video_seconds(recordings[0].video))
    assert 0.5 < np.linalg.norm(stream.imu_NC[:, :3], axis=1).mean() < 2


def test_its_splits_can_be_made_anew(shared_data: Path) -> None:
    settings = UtdMhadDataset(
        kind="utd-mhad",
        path=str(shared_data / "utd_mhad"),
        split_by_group=GroupSplit(train=0.5, val=0.25, test=0.25),
    )
    recordings = list_recordings(settings, shared_data)
    groups = {s: {r.group for r in recordings if r.split == s} for s in ("train", "val", "test")}
    assert [len(members) for members in groups.values()] == [4, 2, 2]
    assert len(set().union(*groups.values())) == 8


def test_files_cut_to_the_accelerometer_give_the_windows_of_its_channels(
    shared_data: Path, tmp_path: Path
) -> None:
    """Bitwise: of six channels, of three of six, and of files that have only these three."""
    folder = str(shared_data / "utd_mhad")
    reader = UtdMhadReader(UtdMhadDataset(kind="utd-mhad", path=folder))
    listed = reader.recordings()[:40:4]
    whole, chosen = (
        UtdMhadDataset(kind="utd-mhad", path=folder, channels=channels)
        for channels in (CHANNELS, ("acc",))
    )
    for recording in listed:  # on the times that the reader gives
        (stream,) = reader.read_imu(recording)
        table = np.column_stack([stream.time_N, stream.imu_NC[:, :3]])
        header = "time_s,acc_x [g],acc_y [g],acc_z [g]"
        np.savetxt(
            tmp_path / f"{recording.id}.csv", table, "%.17g", ",", header=header, comments=""
        )
    rows = [{"imu": f"{r.id}.csv", "split": "train", "label": r.label} for r in listed]
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    cut = FolderDataset(
        kind="folder", path=str(tmp_path / "m.csv"), channels=("acc",), window_seconds="whole",
        imu_rate=50,
    )  # fmt: skip
    files = {r.id: r for r in FolderReader(cut).recordings()}
    for recording in listed:
        (six,), (three,), (alone,) = (
            [np.array(row["imu"]).reshape(count, -1) for row in rows]
            for count, (rows, _) in (
                (6, next(slice_chunk(reader, [recording], whole, tmp_path))),
                (3, next(slice_chunk(reader, [recording], chosen, tmp_path))),
                (3, next(slice_chunk(FolderReader(cut), [files[recording.id]], cut, tmp_path))),
            )
        )
        assert np.array_equal(six[:3], three)
        samples = min(three.shape[1], alone.shape[1])  # its window ends with the video
        assert np.array_equal(three[:, :samples], alone[:, :samples]) and samples > 50


def test_a_folder_that_is_not_it(tmp_path: Path) -> None:
    with raises(DatasetError, "dataset.no-files", str(tmp_path), "Inertial"):
        UtdMhadReader(UtdMhadDataset(kind="utd-mhad", path=str(tmp_path))).recordings()


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "Inertial").mkdir()
    for name in ("a1_s2_t3", "._a1_s2_t3"):
        (tmp_path / "Inertial" / f"{name}_inertial.mat").touch()
    reader = UtdMhadReader(UtdMhadDataset(kind="utd-mhad", path=str(tmp_path)))
    assert [recording.id for recording in reader.recordings()] == ["a1_s2_t3"]
