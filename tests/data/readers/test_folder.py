"""The user's own manifest: what is read, what is refused, how groups make splits."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comodo.config import CHANNELS
from comodo.config.dataset_base import GroupSplit
from comodo.data.imu import ImuError, ImuStream, resample
from comodo.data.readers import list_recordings, listing_notes
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.recordings import DatasetError
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


def test_rows_that_are_parts_of_files_and_label_files(files: Path) -> None:
    (files / "l.csv").write_text("imu_start_ms,imu_end_ms,label\n0,5000,walk\n")
    (files / "m.csv").write_text(
        "video,imu,start,end,label,labels,split,imu_offset\n"
        "videos/a.mp4,imu/a.csv,0,60.5,walk,,train,1.5\n"
        "videos/a.mp4,imu/a.csv,60.5,,,l.csv,test,1.5\n"
        ",imu/b.csv,,9,,,test,\n"
        ",imu/c.csv,,,,l.csv,test,\n"
    )
    one, two, three, four = reader(files / "m.csv").recordings()
    assert [r.id for r in (one, two, three, four)] == ["a_0_60.5", "a_60.5_end", "b_start_9", "c"]
    assert [r.span for r in (one, two)] == [(0, 60.5), (60.5, float("inf"))]
    assert one.group == two.group == "videos/a.mp4" and three.group == "imu/b.csv"
    assert (one.label, one.intervals, two.label) == ("walk", None, None)
    assert two.intervals == ((1.5, 6.5, "walk"),)
    assert (three.intervals, four.intervals) == (None, ((0.0, 5.0, "walk"),))
    assert (four.is_part, four.group) == (False, "c")


@pytest.mark.parametrize(
    ("text", "code", "places"),
    [
        ("imu,split,start,end\nimu/a.csv,train,5,5\n", "bad-row", ["row 2: start is 5, end is 5"]),
        ("imu,split,start\nimu/a.csv,train,soon\n", "bad-row", ["row 2: could not convert start"]),
        (
            "imu,split,label,labels\nimu/a.csv,train,walk,l.csv\n",
            "bad-row",
            ["row 2: has both label and labels"],
        ),
        (
            "imu,split,labels\nimu/a.csv,train,walking\n",
            "bad-row",
            ["row 2: labels: no file", "walking", "column label"],
        ),
        (
            "imu,split,labels\nimu/a.csv,train,../x.csv\n",
            "bad-row",
            ["'../x.csv' leads out"],
        ),
        ("imu,split,labels\nimu/a.csv,train,bad.csv\n", "bad-row", ["row 2: ", "bad.csv, line 2"]),
        (
            "imu,split,start,end\nimu/a.csv,train,0,9\nimu/b.csv,test,,\nimu/a.csv,test,8,20\n",
            "shared-span",
            ["row 2 and row 4 overlap in time, in the splits 'train' and 'test'"],
        ),
        (
            "imu,split,start\nimu/a.csv,train,\nimu/a.csv,test,8\n",
            "shared-span",
            ["row 2 and row 3"],
        ),
    ],
)
def test_parts_and_labels_that_cannot_be(
    files: Path, text: str, code: str, places: list[str]
) -> None:
    (files / "bad.csv").write_text("start,end,label\n2,1,walk\n")
    (files / "m.csv").write_text(text)
    with raises(DatasetError, f"dataset.{code}", *places):
        reader(files / "m.csv").recordings()


def test_parts_that_overlap_are_noted_or_of_one_group(files: Path) -> None:
    settings = {"split_by_group": {"folds": "all", "val": 0}}
    rows = "imu,split,group,start,end\nimu/a.csv,train,{},0,9\nimu/a.csv,train,ben,8,20\n"
    rows += "imu/b.csv,train,carla,0,5\nimu/b.csv,train,carla,5,9\n"
    (files / "m.csv").write_text(rows.format("ben"))
    (note,) = reader(files / "m.csv").notes()
    assert "rows that overlap in time: 2 and 3" in note
    assert len(reader(files / "m.csv", **settings).recordings()) == 4
    (files / "m.csv").write_text(rows.format("anna"))
    with raises(DatasetError, "dataset.shared-span", "row 2 and row 3", "groups 'anna' and 'ben'"):
        reader(files / "m.csv", **settings).recordings()


def test_settings_of_a_listing_with_intervals(files: Path) -> None:
    (files / "l.csv").write_text("start,end,label\n0,5,walk\n5,9,null\n")
    (files / "m.csv").write_text("imu,split,labels\nimu/a.csv,train,l.csv\n")
    made = {"kind": "folder", "path": str(files / "m.csv")}
    null = {"label": "null", "windows": "drop"}
    settings = FolderDataset.model_validate(made | {"null_class": null})
    (listed,) = list_recordings(settings, files)
    assert (listed.labels, listed.intervals) == (("walk",), ((0.0, 5.0, "walk"), (5.0, 9.0, "")))
    whole = FolderDataset.model_validate(made | {"window_seconds": "whole"})
    with raises(DatasetError, "dataset.whole-intervals", "'a'"):
        list_recordings(whole, files)


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
        *(
            (f"imu,split,{column}\nimu/a.csv,train,\nimu/b.csv,train,{value}\n",
             "dataset.bad-row", f"row 3: could not convert {column} '{value}'")
            for column in ("imu_rate", "imu_offset")
            for value in ("nan", "NaN", "inf", "-Infinity", "1e999", "5 Hz")
        ),
        ("imu,split,imu_rate\nimu/a.csv,train,0\n", "dataset.bad-row", "row 2: imu_rate is 0"),
        ("imu,split,imu_rate\nimu/a.csv,train,-5\n", "dataset.bad-row", "row 2: imu_rate is -5"),
        ("imu,split,lable\nimu/a.csv,train,run\n", "dataset.bad-columns", "'lable'"),
        ("imu,split,lable\nimu/a.csv,train,run\n", "dataset.bad-columns", "'label'"),
        ("imu,split,label,Label\nimu/a.csv,train,a,b\n", "dataset.bad-columns", "'label'"),
        (
            "imu,label,split\n\nimu/a.csv,walk,train\nimu/b.csv,run, fast,test\n",
            "dataset.bad-row",
            "row 4: 4 cells, the header has 3",
        ),
        (
            "imu,label,split,group\nimu/a.csv,walk,train\n",
            "dataset.bad-row",
            "row 2: 3 cells, the header has 4",
        ),
        (
            'imu,label,split\nimu/a.csv,"walk,train\nimu/b.csv,run",train\nimu/c.csv,run,train\n',
            "dataset.bad-row",
            "row 2: label has a line break",
        ),
        ('imu,label,split\nimu/a.csv,"walk,train\n', "dataset.unreadable", ""),
    ],
)  # fmt: skip
def test_wrong_manifests_are_refused_with_their_place(
    files: Path, text: str, code: str, place: str
) -> None:
    (files / "m.csv").write_text(text)
    with raises(DatasetError, code, "m.csv", place):
        reader(files / "m.csv").recordings()


ROWS = (
    "recording,video,imu,label,split,group\n"
    "one,videos/a.mp4,imu/a.csv,walking,train,anna\n"
    "two,,imu/b.csv,,test,bèn\n"
)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("trailing", [False, True])
def test_a_manifest_as_programs_write_it(
    files: Path, separator: str, encoding: str, end: str, trailing: bool
) -> None:
    (files / "m.csv").write_text(ROWS)
    plain = reader(files / "m.csv").recordings()
    text = ROWS.replace("\n", f",{end}" if trailing else end).replace(",", separator)
    (files / "m.csv").write_bytes((text + 2 * (5 * separator + end)).encode(encoding))
    assert reader(files / "m.csv").recordings() == plain


def test_a_line_that_is_not_utf8_is_named(files: Path) -> None:
    (files / "m.csv").write_bytes(ROWS.encode("cp1252"))
    with raises(DatasetError, "dataset.unreadable", "m.csv", "line 3", "UTF-8"):
        reader(files / "m.csv").recordings()


def test_blanks_around_cells_and_the_case_of_columns_do_not_matter(files: Path) -> None:
    (files / "m.csv").write_text(ROWS)
    plain = reader(files / "m.csv").recordings()
    (files / "m.csv").write_text(
        "Recording, Video ,IMU,Label,split,group\n"
        "one , videos/a.mp4,imu/a.csv ,walking , train, anna \n"
        "two,  ,imu/b.csv, ,test\u00a0,bèn\n"
    )
    assert reader(files / "m.csv").recordings() == plain
    (files / "m.csv").write_text("imu,split,label\nimu/a.csv,train,stand  to\tsit\n")
    assert reader(files / "m.csv").recordings()[0].label == "stand to sit"


def notes(manifest: Path) -> list[str]:
    settings = FolderDataset(kind="folder", path=str(manifest))
    return listing_notes(settings, manifest, list_recordings(settings, manifest))


def test_columns_that_are_not_used_are_told(files: Path) -> None:
    (files / "m.csv").write_text("imu,split,weather,device\nimu/a.csv,train,rain,7\n")
    (note,) = notes(files / "m.csv")
    assert "'weather', 'device'" in note and "group" in note


@pytest.mark.parametrize(
    ("column", "meant"),
    [("subject", "group"), ("Participant ID", "group"), ("activity", "label"), ("subset", "split"),
     ("start-time", "start"), ("lable", "label"), ("video_path", "video")],
)  # fmt: skip
def test_a_column_by_another_name_is_refused(files: Path, column: str, meant: str) -> None:
    settings = {"kind": "folder", "path": str(files / "m.csv"), "split_by_group": {}}
    (files / "m.csv").write_text(f"imu,{column}\nimu/a.csv,1\n")
    with raises(DatasetError, "dataset.bad-columns", f"'{column.casefold()}'", f"'{meant}'?"):
        FolderReader(FolderDataset.model_validate(settings)).recordings()
    # Next to the column that it could be, it is only not used.
    (files / "m.csv").write_text(f"imu,group,label,split,{column}\nimu/a.csv,a,b,train,0\n")
    if meant in ("group", "label", "split"):
        assert FolderReader(FolderDataset.model_validate(settings)).recordings()


def test_rows_without_a_group_among_others_are_told(files: Path) -> None:
    (files / "m.csv").write_text("imu,split,group\nimu/a.csv,train,anna\nimu/b.csv,val,\n")
    (note,) = notes(files / "m.csv")
    assert "1 of 2 rows have no group" in note
    (files / "m.csv").write_text("imu,split,group\nimu/a.csv,train,\nimu/b.csv,val,\n")
    assert notes(files / "m.csv") == []


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to", None])
def test_one_file_under_two_ids_is_told(files: Path, link: str | None) -> None:
    (files / "imu/a.csv").write_text("a")
    (files / "imu/other.csv").write_text("b")
    if link:
        getattr(files / "imu/b.csv", link)(files / "imu/a.csv")
    again = "imu/b.csv" if link else "imu/../imu/a.csv"
    (files / "m.csv").write_text(
        f"imu,split,recording\nimu/a.csv,train,x\n{again},train,y\nimu/other.csv,train,z\n"
    )
    (note,) = notes(files / "m.csv")
    assert "'x' and 'y'" in note and "'z'" not in note


def test_paths_of_windows(files: Path) -> None:
    (files / "m.csv").write_text("video,imu,split\nvideos\\a.mp4,.\\imu\\a.csv,train\n")
    (found,) = reader(files / "m.csv").recordings()
    assert (found.id, found.video) == ("a", str(files / "videos/a.mp4"))
    assert Path(found.imu) == files / "imu/a.csv"
    for path in ("C:\\data\\a.csv", "C:/data/a.csv", "\\\\server\\data\\a.csv"):
        (files / "m.csv").write_text(f"imu,split\n{path},train\n")
        with raises(DatasetError, "dataset.bad-row", "row 2", path, "Windows"):
            reader(files / "m.csv").recordings()
    (files / "m.csv").write_text("imu,split\n..\\a.csv,train\n")
    with raises(DatasetError, "dataset.bad-row", "row 2", "leads out"):
        reader(files / "m.csv").recordings()
    (files / "imu/odd\\name.csv").touch()
    (files / "m.csv").write_text("imu,split\nimu/odd\\name.csv,train\n")
    assert Path(reader(files / "m.csv").recordings()[0].imu).is_file()


def test_parquet_cells_follow_the_same_rules(files: Path) -> None:
    rows = {"imu": [b"imu/a.csv"], "split": ["train "], "label": [" Walk  fast"], "weather": [1]}
    pd.DataFrame(rows).to_parquet(files / "m.parquet")
    (found,) = reader(files / "m.parquet").recordings()
    assert (found.id, found.split, found.label) == ("a", "train", "Walk fast")
    assert "'weather'" in notes(files / "m.parquet")[0]
    pd.DataFrame({**rows, "imu_rate": [np.inf]}).to_parquet(files / "m.parquet")
    with raises(DatasetError, "dataset.bad-row", "row 2", "imu_rate"):
        reader(files / "m.parquet").recordings()
    pd.DataFrame({**rows, "imu": [b"\xff"]}).to_parquet(files / "m.parquet")
    with raises(DatasetError, "dataset.unreadable", "m.parquet"):
        reader(files / "m.parquet").recordings()


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
    (stream,) = reader(files / "m.csv").read_imu(recordings["all"])
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
    (read,) = folder.read_imu(folder.recordings()[0])
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
    (read,) = folder.read_imu(right)
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
