"""Ego4D, in small files of its documented layout: clean ones and broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream
from comodo.data.readers import open_dataset
from comodo.data.readers.ego4d import Ego4dDataset, Ego4dReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced, write_lists, write_video
from tests.errors import raises

ORDER = ["component_idx", "component_timestamp_ms", "canonical_timestamp_ms",
         "gyro_x", "gyro_y", "gyro_z", "accl_x", "accl_y", "accl_z"]  # fmt: skip


def imu_frame(seconds: float = 4.0, rate: float = 201.0) -> pd.DataFrame:
    """As a GoPro's: 201 Hz, gravity on z in m/s^2, a turn of 1 rad/s about x."""
    time_N = np.arange(round(seconds * rate)) * 1000 / rate
    columns = {name: np.zeros(len(time_N)) for name in ORDER}
    columns |= {"component_timestamp_ms": time_N, "canonical_timestamp_ms": time_N}
    columns |= {"accl_z": STANDARD_GRAVITY + np.sin(time_N / 100), "gyro_x": np.ones(len(time_N))}
    return pd.DataFrame(columns)


def make(folder: Path, uids: list[str], seconds: float = 4.0) -> Ego4dDataset:
    """A clean data set; every third uid in a split."""
    for uid in uids:
        write_video(folder / "full_scale" / f"{uid}.mp4", seconds)
        path = folder / "imu" / f"{uid}.csv"
        path.parent.mkdir(exist_ok=True)
        imu_frame(seconds).to_csv(path, index=False)
    lines = [f"{uid}\tcooking" for uid in uids]
    lists = write_lists(folder / "lists", train=lines[::3], val=lines[1::3], test=lines[2::3])
    return Ego4dDataset(
        kind="ego4d",
        video_folder=str(folder / "full_scale"),
        imu_folder=str(folder / "imu"),
        splits=str(lists),
        window_seconds=2.0,
        imu_rate=50.0,
    )


def read(settings: Ego4dDataset, frame: pd.DataFrame) -> ImuStream:
    """The stream of the data set's first recording with this IMU file."""
    reader = Ego4dReader(settings)
    recording = reader.recordings()[0]
    frame.to_csv(recording.imu, index=False, na_rep="NULL")
    (stream,) = reader.read_imu(recording)
    return stream


@pytest.fixture
def settings(tmp_path: Path) -> Ego4dDataset:
    return make(tmp_path, ["a"], seconds=1.0)


def test_defaults_are_the_papers(settings: Ego4dDataset) -> None:
    fields = Ego4dDataset.model_fields
    assert (fields["window_seconds"].default, fields["imu_rate"].default) == (5.0, 200.0)
    with pytest.raises(ValidationError, match="does not exist"):
        Ego4dDataset(
            kind="ego4d",
            video_folder="/nowhere",
            imu_folder=settings.imu_folder,
            splits=settings.splits,
        )


def test_units_and_clock(settings: Ego4dDataset) -> None:
    stream = read(settings, imu_frame())
    assert stream.rate == pytest.approx(201)
    np.testing.assert_allclose(stream.imu_NC[:, 2].mean(), 1, atol=0.05)  # g
    np.testing.assert_allclose(stream.imu_NC[:, 3], 180 / np.pi, rtol=1e-6)  # deg/s
    assert stream.notes == ("accelerometer in m/s^2, detected from its median length 9.892",)


def test_the_accelerometers_unit_is_detected(settings: Ego4dDataset) -> None:
    frame = imu_frame()
    expected = read(settings, frame)
    frame[["accl_x", "accl_y", "accl_z"]] /= STANDARD_GRAVITY
    stream = read(settings, frame)
    np.testing.assert_allclose(stream.imu_NC, expected.imu_NC, atol=1e-6)
    assert stream.notes[0].startswith("accelerometer in g,")
    frame[["accl_x", "accl_y", "accl_z"]] *= 3
    with raises(ImuError, "imu.unknown-unit", "a.csv", "1 as in g", "9.80665 as in m/s^2"):
        read(settings, frame)


def test_disordered_rows_come_out_as_if_in_order(settings: Ego4dDataset) -> None:
    clean = imu_frame(1.0)
    expected = read(settings, clean.drop(index=[7, 8, 50]))
    shuffled = clean.copy()
    shuffled.loc[7, "accl_x"] = np.nan
    shuffled.loc[8, "canonical_timestamp_ms"] = np.nan  # outside the canonical video
    shuffled.loc[50, ["gyro_x", "gyro_y", "gyro_z"]] = np.nan
    twice = clean.loc[20:29].assign(accl_x=5.0)  # later in the file: the first ones stay
    shuffled = pd.concat([shuffled[100:], shuffled[:100], twice])
    stream = read(settings, shuffled)
    np.testing.assert_array_equal(stream.time_N, expected.time_N)
    np.testing.assert_array_equal(stream.imu_NC, expected.imu_NC)
    assert stream.notes[1:] == (
        "the clock runs backwards at 2 rows; sorted",
        "10 rows repeat a time of earlier rows and are left out",
        "3 of 201 rows lack a time or a value and are left out",
    )


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        (
            "canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,acc_x,acc_y,acc_z\n0,1,1,1,1,1,1\n",
            "imu.unreadable",
            "accl_x",
        ),
        (",".join(ORDER) + "\n0,0,zero,1,1,1,1,1,1\n", "imu.unreadable", "zero"),
        (",".join(ORDER) + "\n", "imu.unknown-unit", "is 0"),
        ("", "imu.unreadable", "Ego4D"),
        ("\x00\x01", "imu.unreadable", "Ego4D"),
    ],
)
def test_other_files_are_refused(
    settings: Ego4dDataset, content: str, code: str, name: str
) -> None:
    reader = Ego4dReader(settings)
    recording = reader.recordings()[0]
    Path(recording.imu).write_text(content)
    with raises(ImuError, code, "a.csv", name):
        reader.read_imu(recording)


def test_windows_and_rejections(tmp_path: Path) -> None:
    uids = ["clean", "no-csv", "no-mp4", "cut-mp4", "columns", "gap", "late"]
    settings = make(tmp_path, uids)
    (tmp_path / "imu/no-csv.csv").unlink()
    (tmp_path / "full_scale/no-mp4.mp4").unlink()
    whole = (tmp_path / "full_scale/cut-mp4.mp4").read_bytes()
    (tmp_path / "full_scale/cut-mp4.mp4").write_bytes(whole[: len(whole) // 2])
    imu_frame().drop(columns="accl_z").to_csv(tmp_path / "imu/columns.csv", index=False)
    gap = imu_frame()
    time_N = gap.canonical_timestamp_ms
    gap[(time_N < 500) | (time_N > 1500)].to_csv(tmp_path / "imu/gap.csv", index=False)
    imu_frame().assign(canonical_timestamp_ms=time_N + 9e6).to_csv(
        tmp_path / "imu/late.csv", index=False
    )
    windows, rejected = sliced(settings)
    assert windows.keys() == {"clean:0", "clean:1", "gap:1"}
    assert {imu_CT.shape for imu_CT in windows.values()} == {(6, 100)}
    assert windows["clean:0"][2].mean() == pytest.approx(1, abs=0.05)
    reasons = {
        "no-csv": "no-csv.csv: no such file",
        "no-mp4": "no-mp4.mp4",
        "cut-mp4": "cut-mp4.mp4: cannot be read as video",
        "columns": "accl_z",
        "late": "do not overlap",
    }
    assert rejected.keys() == reasons.keys()
    for id, reason in reasons.items():
        assert reason in rejected[id]


@pytest.mark.parametrize("wrong", ["imu", "full_scale"])
def test_a_wrong_folder_is_refused_at_once(tmp_path: Path, wrong: str) -> None:
    settings = make(tmp_path, ["a", "b"], seconds=0.5)
    for file in (tmp_path / wrong).iterdir():
        file.unlink()
    with raises(DatasetError, "dataset.no-files", f"{wrong}/a", "the 2 recordings"):
        open_dataset(settings, tmp_path).recordings()


def test_the_published_lists(tmp_path: Path, paper_splits: Path) -> None:
    splits = paper_splits / "Ego4D"
    uid = (splits / "val.txt").read_text().split("\t")[0]
    (tmp_path / f"{uid}.mp4").touch()
    (tmp_path / f"{uid}.csv").touch()
    folder = str(tmp_path)
    settings = Ego4dDataset(
        kind="ego4d", video_folder=folder, imu_folder=folder, splits=str(splits)
    )
    recordings = Ego4dReader(settings).recordings()
    assert Counter(r.split for r in recordings) == {"train": 1110, "val": 162, "test": 316}
    assert len({r.label for r in recordings}) == 31


def test_counted_times_are_the_published_ones(settings: Ego4dDataset) -> None:
    """At 197.5 Hz the published code counts 197 rows a second, from the first row with a time."""
    counted = settings.model_copy(update={"window_times": "counted"})
    frame = imu_frame(60, rate=197.5)
    frame["canonical_timestamp_ms"] += 700  # the IMU begins later than the video
    frame.loc[5, "accl_x"] = np.nan  # counts all the same
    stream = read(counted, pd.concat([frame[3000:], frame[:3000]]))
    place_N = np.delete(np.arange(len(frame)), 5)
    np.testing.assert_allclose(stream.time_N, place_N / 197)
    clock = read(settings, frame)
    np.testing.assert_allclose(clock.time_N, 0.7 + place_N / 197.5)
    np.testing.assert_array_equal(stream.imu_NC, clock.imu_NC)
    late = (len(frame) - 1) * (1 / 197 - 1 / 197.5) - 0.7
    assert f"counted at 197 Hz from 0 s: the last sample is {late:+.2f} s" in stream.notes[2]
    frame["canonical_timestamp_ms"] = np.nan
    with raises(ImuError, "imu.too-few-samples", "a.csv"):
        read(counted, frame)


def test_counted_windows_are_cut_where_the_published_code_cuts_them(tmp_path: Path) -> None:
    settings = make(tmp_path, ["a"], seconds=8.0).model_copy(update={"imu_rate": 200.0})
    frame = imu_frame(8.0, rate=150.9)
    frame["accl_x"] = np.arange(len(frame)) / 100  # shows which row a sample is
    frame["canonical_timestamp_ms"] += 300
    frame.to_csv(tmp_path / "imu/a.csv", index=False)
    counted = settings.model_copy(update={"window_times": "counted"})
    windows, _ = sliced(counted)
    assert list(windows) == [f"a:{i}" for i in range(4)]
    for number in (1, 2):
        row_T = (400 * number + np.arange(400)) * 150 / 200
        found_T = windows[f"a:{number}"][0] * STANDARD_GRAVITY * 100
        np.testing.assert_allclose(found_T[50:-50], row_T[50:-50], atol=0.5)
    by_clock, _ = sliced(settings)
    assert np.abs(by_clock["a:1"][0] - windows["a:1"][0]).max() * STANDARD_GRAVITY * 100 > 1
