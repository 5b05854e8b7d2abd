"""UESTC-MMEA-CL, in small files of its layout: clean ones and broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.config.datasets import UestcMmeaDataset
from comodo.data.imu import ImuError, ImuStream
from comodo.data.readers.uestc_mmea import UestcMmeaReader
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
    return reader.read_imu(reader.recordings()[0])


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
    assert (stream.time_N[0], stream.time_N[-1]) == (0, pytest.approx(SECONDS))
    assert stream.notes[0].startswith(
        f"accelerometer in 1/{counts} g, detected from its median length"
    )


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
    assert stream.time_N[0] == pytest.approx(SECONDS / 49)


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        ("1,2,3,4,5\n" * 50, "imu.wrong-shape", "5 columns"),
        ("1 2 3 4 5 6\n" * 50, "imu.unreadable", "1 2 3 4 5 6"),
        ("1,2,3,4,5,six\n" * 50, "imu.unreadable", "six"),
        ("0,1,0,0,0,10\n" * 50, "imu.unknown-unit", "16384 as in 1/16384 g"),
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
    days = {s: {r.group for r in recordings if r.split == s} for s in ("train", "test")}
    assert (len(days["test"] & days["train"]), len(days["test"])) == (44, 44)
