"""UESTC-MMEA-CL, in small files of its layout: clean ones and broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.data.imu import ImuError, ImuStream
from comodo.data.readers import with_common_unit
from comodo.data.readers.uestc_mmea import UestcMmeaDataset, UestcMmeaReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced, write_lists, write_video
from tests.errors import raises

SECONDS = 2.0


def line_of(id: str, index: int = 2) -> str:
    return f"yourdataset_path/data/{id} 50 50 {index}"


def clip(second: int, day: str = "2022_05_04") -> str:
    return f"3_drinking/3_drinking_{day}_16_22_{second:02d}"


def raw(seconds: float = SECONDS, counts: int = 16384) -> np.ndarray:
    """Integers `[N, 6]` at 25 Hz: gravity on y, a turn of 10 deg/s about z."""
    raw_N6 = np.zeros((round(25 * seconds), 6), np.int64)
    raw_N6[:, 1], raw_N6[:, 5] = counts, 164
    raw_N6[::2, 0] = counts // 10
    return raw_N6


def write_sensor(path: Path, raw_N6: np.ndarray, header: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, raw_N6, delimiter=",", fmt="%g", header=header, comments="")


def make(folder: Path, ids: list[str]) -> UestcMmeaDataset:
    for id in ids:
        write_video(folder / "video" / f"{id}.mp4", SECONDS, fps=25)
        write_sensor(folder / "sensor" / f"{id}.csv", raw())
    lists = write_lists(folder / "lists", train=[line_of(id) for id in ids])
    return UestcMmeaDataset(kind="uestc-mmea-cl", path=str(folder), splits=str(lists))


@pytest.fixture
def settings(tmp_path: Path) -> UestcMmeaDataset:
    return make(tmp_path, [clip(0)])


def read(settings: UestcMmeaDataset) -> ImuStream:
    reader = UestcMmeaReader(settings)
    (stream,) = reader.read_imu(reader.recordings()[0])
    return stream


def sensor(settings: UestcMmeaDataset) -> Path:
    return Path(settings.path) / "sensor" / f"{clip(0)}.csv"


def test_listing_and_defaults(settings: UestcMmeaDataset) -> None:
    (recording,) = UestcMmeaReader(settings).recordings()
    assert recording.id == "3_drinking/3_drinking_2022_05_04_16_22_00"
    assert (recording.label, recording.group) == ("drinking", "2022-05-04")
    assert (settings.window_seconds, settings.imu_rate) == ("whole", 25.0)
    with pytest.raises(ValidationError, match="does not exist"):
        UestcMmeaDataset(kind="uestc-mmea-cl", path=settings.path, splits="/nowhere")


@pytest.mark.parametrize("counts", [16384, 8192])
def test_counts_become_g_and_degrees(settings: UestcMmeaDataset, counts: int) -> None:
    write_sensor(sensor(settings), raw(counts=counts))
    stream = read(settings)
    np.testing.assert_allclose(stream.imu_NC[0], [0.1, 1, 0, 0, 0, 10], atol=1e-4)
    np.testing.assert_allclose(stream.time_N, np.arange(50) * SECONDS / 50)
    assert stream.notes[0].startswith(f"accelerometer in 1/{counts} g, as all clips; here its")


def test_vigorous_clips_are_read_in_the_unit_of_the_others(tmp_path: Path) -> None:
    """Clip by clip, 1.5 g is no known unit, and 0.5 g would be doubled."""
    settings = make(tmp_path, [clip(i) for i in range(8)])
    reader = UestcMmeaReader(settings)
    for recording, counts in zip(reader.recordings(), [24576, 8192], strict=False):
        write_sensor(Path(recording.imu), raw(counts=counts))
    expected = [1.5, 0.5] + [1] * 6
    found = [reader.read_imu(r)[0].imu_NC[1, 1] for r in reader.recordings()]
    assert found == pytest.approx(expected)
    with_unit, (note,) = with_common_unit(settings, tmp_path, reader.recordings())
    assert {r.acc_unit for r in with_unit} == {"1/16384 g"}
    assert "6 of 8 recordings" in note
    windows, rejected = sliced(settings)
    assert (len(windows), rejected) == (8, {})


def test_an_ambiguous_unit_is_refused_and_can_be_written(tmp_path: Path) -> None:
    settings = make(tmp_path, [clip(i) for i in range(4)])
    recordings = UestcMmeaReader(settings).recordings()
    for recording in recordings[2:]:
        write_sensor(Path(recording.imu), raw(counts=8192))
    names = ["2 are 1 g in 1/16384 g (3_drinking/", "2 are 1 g in 1/8192 g", "write acc_unit"]
    with raises(ImuError, "imu.unknown-unit", str(tmp_path / "sensor"), *names):
        with_common_unit(settings, tmp_path, recordings)
    written = settings.model_copy(update={"acc_unit": "1/8192 g"})
    found, (note,) = with_common_unit(written, tmp_path, recordings)
    assert {r.acc_unit for r in found} == {"1/8192 g"}
    assert "as written" in note
    assert UestcMmeaReader(written).read_imu(found[0])[0].imu_NC[1, 1] == 2
    assert read(written).imu_NC[1, 1] == 2


def test_a_unit_is_found_from_the_files_that_can_be_read(tmp_path: Path) -> None:
    settings = make(tmp_path, [clip(i) for i in range(3)])
    recordings = UestcMmeaReader(settings).recordings()
    Path(recordings[0].imu).write_text("1 2 3\n")
    Path(recordings[1].imu).unlink()
    found, (note,) = with_common_unit(settings, tmp_path, recordings)
    assert [r.acc_unit for r in found] == ["1/16384 g"] * 3
    assert "1 of 1 recordings" in note
    Path(recordings[2].imu).unlink()
    with raises(ImuError, "imu.unreadable", recordings[0].imu):
        with_common_unit(settings, tmp_path, recordings)


def noise(rows: int) -> np.ndarray:
    raw_N6 = np.random.default_rng(rows).integers(-3000, 3000, (rows, 6))
    raw_N6[:, 1] += 16384
    return raw_N6


@pytest.mark.parametrize("rows", [47, 49, 50, 51, 54])
def test_windows_at_the_sensors_rate_have_its_rows(settings: UestcMmeaDataset, rows: int) -> None:
    """However many there are in the 50 frames of the clip: as published, none is interpolated."""
    raw_N6 = noise(rows)
    write_sensor(sensor(settings), raw_N6)
    expected_6N = (raw_N6 / np.repeat([16384, 16.4], 3)).T
    (window_6T,) = sliced(settings)[0].values()
    assert window_6T.shape == (6, rows)
    np.testing.assert_allclose(window_6T, expected_6N, rtol=1e-6, atol=1e-6)
    twice = settings.model_copy(update={"imu_rate": 50.0})
    (window_6T,) = sliced(twice)[0].values()
    assert window_6T.shape == (6, 2 * rows)
    np.testing.assert_allclose(window_6T[:, ::2], expected_6N, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("header", ["", "ax,ay,az,gx,gy,gz"])
def test_the_published_code_takes_the_first_row_for_a_header(
    settings: UestcMmeaDataset, header: str
) -> None:
    raw_N6 = noise(50)
    write_sensor(sensor(settings), raw_N6, header)
    kept = read(settings)
    dropped = read(settings.model_copy(update={"first_row": "drop"}))
    assert len(kept.time_N) == 50
    if header:  # it is one
        np.testing.assert_array_equal(dropped.imu_NC, kept.imu_NC)
    else:
        np.testing.assert_array_equal(dropped.imu_NC, kept.imu_NC[1:])
        np.testing.assert_allclose(dropped.time_N, np.arange(49) * SECONDS / 49)


@pytest.mark.parametrize("more", [0, 2])
def test_a_header_and_further_columns_are_passed_over(
    settings: UestcMmeaDataset, more: int
) -> None:
    expected = read(settings)
    further = np.full((len(raw()), more), 7)
    names = ["ax", "ay", "az", "gx", "gy", "gz", *(f"more{i}" for i in range(more))]
    write_sensor(sensor(settings), np.hstack([raw(), further]), header=",".join(names))
    np.testing.assert_array_equal(read(settings).imu_NC, expected.imu_NC)


def test_rows_with_a_missing_value_are_left_out(settings: UestcMmeaDataset) -> None:
    raw_N6 = raw().astype(float)
    raw_N6[[0, 20], [0, 4]] = np.nan  # the file begins with "nan", which is no header
    write_sensor(sensor(settings), raw_N6)
    stream = read(settings)
    assert len(stream.time_N) == 48
    assert stream.time_N[0] == pytest.approx(SECONDS / 50)


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        ("1,2,3,4,5\n" * 50, "imu.wrong-shape", "5 columns"),
        ("1 2 3 4 5 6\n" * 50, "imu.unreadable", "1 2 3 4 5 6"),
        ("1,2,3,4,5,six\n" * 50, "imu.unreadable", "six"),
        ("0,16384,0,0,0,164\n" * 20, "imu.incomplete", "20 samples"),
        ("", "imu.unreadable", "rows of numbers"),
    ],
)
def test_other_sensor_files_are_refused(
    settings: UestcMmeaDataset, content: str, code: str, name: str
) -> None:
    sensor(settings).write_text(content)
    with raises(ImuError, code, "_00.csv", name):
        read(settings)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (line_of(clip(0), index=3), "index 2, not 3"),
        (line_of("3_drinking/4_fall_2022_05_04_16_22_29"), "4_fall_2022_05_04_16_22_29"),
        (line_of("3_drinking/3_drinking_yesterday"), "3_drinking_yesterday"),
        ("3_drinking/3_drinking_2022_05_04_16_22_29 50", "3_drinking_2022_05_04_16_22_29 50"),
    ],
)
def test_other_lines_are_refused(tmp_path: Path, line: str, name: str) -> None:
    write_lists(tmp_path, test=[line_of(clip(1)), line])
    settings = UestcMmeaDataset(kind="uestc-mmea-cl", path=str(tmp_path), splits=str(tmp_path))
    with raises(DatasetError, "dataset.bad-line", "test.txt, line 2", name):
        UestcMmeaReader(settings).recordings()


def test_windows_and_rejections(tmp_path: Path) -> None:
    whole, cut, no_sensor, no_video = clip(0), clip(1), clip(2), clip(3)
    settings = make(tmp_path, [whole, cut, no_sensor, no_video])
    video = tmp_path / f"video/{cut}.mp4"
    video.write_bytes(video.read_bytes()[:1000])
    (tmp_path / f"sensor/{no_sensor}.csv").unlink()
    (tmp_path / f"video/{no_video}.mp4").unlink()
    windows, rejected = sliced(settings)
    assert windows.keys() == {f"{whole}:0"}
    imu_CT = windows[f"{whole}:0"]
    assert imu_CT.shape == (6, 50)
    np.testing.assert_allclose(imu_CT[1], 1, atol=1e-3)
    assert rejected.keys() == {cut, no_sensor, no_video}
    assert "cannot be read as video" in rejected[cut]
    assert "no such file" in rejected[no_sensor]
    assert ".mp4" in rejected[no_video]


def test_a_wrong_folder_is_refused_at_once(tmp_path: Path) -> None:
    write_lists(tmp_path, train=[line_of(clip(0))])
    settings = UestcMmeaDataset(kind="uestc-mmea-cl", path=str(tmp_path), splits=str(tmp_path))
    with raises(DatasetError, "dataset.no-files", "sensor/3_drinking/"):
        UestcMmeaReader(settings).recordings()


def test_the_published_lists_share_days(tmp_path: Path, paper_splits: Path) -> None:
    splits = paper_splits / "UESTC-MMEA-CL"
    first = (splits / "val.txt").read_text().split()[0].partition("/data/")[2]
    for name in (f"video/{first}.mp4", f"sensor/{first}.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    settings = UestcMmeaDataset(kind="uestc-mmea-cl", path=str(tmp_path), splits=str(splits))
    recordings = UestcMmeaReader(settings).recordings()
    assert Counter(r.split for r in recordings) == {"train": 4553, "val": 653, "test": 1316}
    assert len({r.label for r in recordings}) == 32
    lists = [splits / f"{split}.txt" for split in ("train", "val", "test")]
    rows = [int(line.split()[2]) for file in lists for line in file.read_text().splitlines()]
    # The paper, whose code reads each first row as a header, states 418.57, 422 and 931.
    kept = np.mean(rows), np.median(rows), np.max(rows)
    assert kept == pytest.approx((419.58, 423, 932), abs=0.02)
    days = {s: {r.group for r in recordings if r.split == s} for s in ("train", "test")}
    assert (len(days["test"] & days["train"]), len(days["test"])) == (44, 44)
