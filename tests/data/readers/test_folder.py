"""The user's own manifest: what is read, what is refused, how groups make splits."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import CHANNELS
from comodo.config.datasets import FolderDataset, GroupSplit
from comodo.data.imu import ImuError, ImuStream, resample
from comodo.data.readers import list_recordings, split_by_group
from comodo.data.readers.folder import FolderReader
from comodo.data.recordings import DatasetError, Recording
from tests.data.test_clock_offset import film, head
from tests.errors import raises


def reader(path: Path, **settings: object) -> FolderReader:
    return FolderReader(FolderDataset(kind="folder", path=str(path), **settings))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("videos", "imu"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_csv_and_parquet_manifests_agree(files: Path) -> None:
    rows = pd.DataFrame(
        {
            "video": ["videos/b.mp4", "videos/a.mp4"],
            "imu": ["imu/b.npy", "imu/a.npy"],
            "label": ["walking", None],
            "split": ["train", "test"],
            "group": ["s1", "s2"],
            "imu_rate": [50.0, 100.0],
        }
    )
    rows.to_csv(files / "m.csv", index=False)
    rows.to_parquet(files / "m.parquet")
    listed = reader(files / "m.csv").recordings()
    assert listed == reader(files / "m.parquet").recordings()
    assert [(r.id, r.label, r.group, r.imu_rate) for r in listed] == [
        ("b", "walking", "s1", 50.0),
        ("a", None, "s2", 100.0),
    ]
    assert listed[1].video == str(files / "videos/a.mp4")


def test_a_parquet_manifest_of_any_types_is_read_or_refused(files: Path) -> None:
    rows = {"video": ["videos/a.mp4"], "imu": ["imu/a.csv"], "split": ["train"], "group": [[1, 2]]}
    pd.DataFrame(rows).to_parquet(files / "m.parquet")
    assert reader(files / "m.parquet").recordings()[0].group == "[1, 2]"
    pd.DataFrame({**rows, "imu_rate": [pd.Timestamp(0)]}).to_parquet(files / "m.parquet")
    with raises(DatasetError, "dataset.bad-row", "row 2"):
        reader(files / "m.parquet").recordings()


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("video,sensor\n", "dataset.bad-columns", ""),
        ("video,imu\n", "dataset.no-recordings", ""),
        ("video,imu,split\nvideos/a.mp4,imu/a.csv,training\n", "dataset.bad-row", "row 2: split"),
        ("video,imu,split\nvideos/a.mp4,,train\n", "dataset.bad-row", "row 2: imu is empty"),
        ("video,imu,split\nfilms/a.mp4,imu/a.csv,train\n", "dataset.missing-folder", "films"),
        (
            "video,imu,split\nvideos/a.mp4,imu/a.csv,train\nvideos/a.mp4,imu/b.csv,train\n",
            "dataset.duplicate-id",
            "'a'",
        ),
        (
            "video,imu,split,imu_rate\nvideos/a.mp4,imu/a.csv,train,fast\n",
            "dataset.bad-row",
            "row 2: could not convert",
        ),
        (
            "video,imu,split,imu_offset\nvideos/a.mp4,imu/a.csv,train,guess\n",
            "dataset.bad-row",
            "row 2: could not convert",
        ),
        (
            "video,imu,split,imu_offset\n,imu/a.csv,train,estimate\n",
            "dataset.bad-row",
            "row 2: an imu_offset of estimate",
        ),
    ],
)
def test_wrong_manifests_are_refused_with_their_place(
    files: Path, text: str, code: str, place: str
) -> None:
    (files / "m.csv").write_text(text)
    with raises(DatasetError, code, "m.csv", place):
        reader(files / "m.csv").recordings()


def test_npy_needs_rate_and_units_and_offset_shifts_the_clock(files: Path) -> None:
    np.save(files / "imu/a.npy", np.random.default_rng(0).normal(size=(20, 6)))
    recordings = {}
    for name, extra in {"bare": ",,,", "rate": "10,,,", "all": "10,g,deg/s,1.5"}.items():
        (files / "m.csv").write_text(
            "video,imu,split,imu_rate,acc_unit,gyro_unit,imu_offset\n"
            f"videos/a.mp4,imu/a.npy,train,{extra}\n"
        )
        recordings[name] = reader(files / "m.csv").recordings()[0]
    for name in ("bare", "rate"):
        with raises(ImuError, "imu.missing-unit", "a.npy"):
            reader(files / "m.csv").read_imu(recordings[name])
    stream = reader(files / "m.csv").read_imu(recordings["all"])
    assert stream.time_N[0] == 1.5


def write_phone_csv(path: Path, stream: ImuStream, started: int, unit: str) -> None:
    """A phone's log, its clock in whole milliseconds or nanoseconds since 1970."""
    ticks_N = started + np.rint(stream.time_N * {"ms": 1e3, "ns": 1e9}[unit]).astype(np.int64)
    columns = {f"time_{unit}": ticks_N}
    for i, name in enumerate(CHANNELS):
        columns[f"{name} [{'g' if i < 3 else 'deg/s'}]"] = stream.imu_NC[:, i]
    pd.DataFrame(columns).to_csv(path, index=False)


@pytest.mark.parametrize(("unit", "started"), [("ms", 1_763_640_000_123), ("ns", 10**18 + 7)])
def test_a_clock_of_its_own_and_its_known_offset(files: Path, unit: str, started: int) -> None:
    stream = head(8, 1)
    write_phone_csv(files / "imu/a.csv", stream, started, unit)
    begin = started / {"ms": 1e3, "ns": 1e9}[unit]
    (files / "m.csv").write_text(
        f"video,imu,split,imu_offset\nvideos/a.mp4,imu/a.csv,train,{0.5 - begin!r}\n"
    )
    folder = reader(files / "m.csv")
    read = folder.read_imu(folder.recordings()[0])
    # A float of seconds since 1970 is exact to a quarter of a microsecond.
    np.testing.assert_allclose(read.time_N, stream.time_N + 0.5, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        resample(read, 2.5, 5, 50), resample(stream, 2, 5, 50), rtol=0, atol=2e-3
    )


def test_an_offset_estimated_from_the_video(files: Path) -> None:
    stream = head(50, 1)
    film(files / "videos/a.mp4", stream, start=4.56, seconds=35)
    film(files / "videos/other.mp4", head(50, 2), start=0, seconds=35)
    write_phone_csv(files / "imu/a.csv", stream, 1_763_640_000_123, "ms")
    (files / "m.csv").write_text(
        "video,imu,split,imu_offset\nvideos/a.mp4,imu/a.csv,train,estimate\n"
        "videos/other.mp4,imu/a.csv,train,estimate\n"
    )
    folder = reader(files / "m.csv")
    right, other = folder.recordings()
    read = folder.read_imu(right)
    np.testing.assert_allclose(read.time_N, stream.time_N - 4.56, rtol=0, atol=0.05)
    assert re.fullmatch(
        r"imu_offset estimated: the IMU starts at -4.5\d s of the video, correlation 0.\d\d",
        read.notes[0],
    )
    with raises(ImuError, "imu.unreliable-offset", "a.csv", "other.mp4"):
        folder.read_imu(other)


def test_split_by_group_in_the_sweep_file(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    manifest = make_folder(tmp_path, recordings=12, seconds=0.5)
    shares = GroupSplit(train=0.5, val=0.25, test=0.25)
    settings = FolderDataset(kind="folder", path=str(manifest), split_by_group=shares)
    recordings = list_recordings(settings, tmp_path)
    assert [r.id for r in recordings] == sorted(r.id for r in recordings)
    splits_of: dict[str, set[str]] = {}
    for recording in recordings:
        splits_of.setdefault(recording.group, set()).add(recording.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert {recording.split for recording in recordings} == {"train", "val", "test"}


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=20),
    seed=st.integers(0, 1000),
)
def test_groups_are_never_torn_and_every_split_gets_one(sizes: list[int], seed: int) -> None:
    recordings = [
        Recording(f"{g}-{i}", "v", "i", "", f"g{g}") for g, n in enumerate(sizes) for i in range(n)
    ]
    shares = GroupSplit(train=0.6, val=0.2, test=0.2, seed=seed)
    first = split_by_group(recordings, shares)
    assert first == split_by_group(recordings, shares)
    assert {r.split for r in first} == {"train", "val", "test"}
    assert len({(r.group, r.split) for r in first}) == len(sizes)


def test_too_few_groups() -> None:
    with raises(DatasetError, "dataset.too-few-groups", "split_by_group"):
        split_by_group(
            [Recording("a", "", "", "", "g1"), Recording("b", "", "", "", "g2")], GroupSplit()
        )
