"""HD-EPIC: its documented layout, around a real recording of the same glasses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from comodo.data import aria_vrs
from comodo.data.imu import ImuError
from comodo.data.readers.hd_epic import HdEpicDataset, HdEpicReader
from comodo.data.recordings import DatasetError
from tests.errors import raises

ID = "P01-20240202-110250"
HEADER = "mp4_time_ns,relative_vrs_device_time_ns,vrs_device_time_ns\n"


def make(folder: Path, vrs: Path) -> HdEpicDataset:
    """The video has a frame each 50 ms, the third twice; from the fifth on the glasses' clock is
    10 ms ahead."""
    for name in ("Videos/P01", "VRS/P01"):
        (folder / name).mkdir(parents=True)
    shutil.copy(vrs, folder / "VRS/P01" / f"{ID}_anonymized.vrs")
    (folder / "Videos/P01" / f"{ID}.mp4").touch()
    first = int(aria_vrs.rgb_times_ns(vrs)[0])
    rows = [(0, 0), (50, 50), (100, 100), (150, 100), (200, 210), (250, 260)]
    lines = [f"{m}000000,{d}000000,{first + d * 10**6}" for m, d in rows]
    (folder / "Videos/P01" / f"{ID}_mp4_to_vrs_time_ns.csv").write_text(HEADER + "\n".join(lines))
    return HdEpicDataset(kind="hd-epic", path=str(folder))


@pytest.fixture
def vrs(shared_data: Path) -> Path:
    return shared_data / "aria" / "aria_everyday_activities.vrs"


def test_the_imu_is_on_the_clock_of_the_mp4(tmp_path: Path, vrs: Path) -> None:
    reader = HdEpicReader(make(tmp_path, vrs))
    (recording,) = reader.recordings()
    assert (recording.id, recording.group, recording.label) == (ID, "P01", None)
    (stream,) = reader.read_imu(recording)
    time_ns_N, imu_NC = aria_vrs.read_imu(vrs, "right")
    device_N = (time_ns_N - aria_vrs.rgb_times_ns(vrs)[0]) / 1e9
    before, after = device_N < 0.1, device_N > 0.21
    np.testing.assert_allclose(stream.time_N[before], device_N[before], atol=1e-9)
    np.testing.assert_allclose(stream.time_N[after], device_N[after] - 0.01, atol=1e-9)
    np.testing.assert_array_equal(stream.imu_NC, imu_NC.astype(np.float32))


def test_other_names_and_clocks_are_refused(tmp_path: Path, vrs: Path) -> None:
    reader = HdEpicReader(make(tmp_path, vrs))
    (recording,) = reader.recordings()
    (times,) = map(Path, recording.beside)
    for content, code, reason in (
        (HEADER + "0,0,5\n1,0,5\n", "imu.missing-clock", "do not ascend"),
        (HEADER, "imu.missing-clock", "do not ascend"),
        (HEADER + "0,0,a\n", "imu.unreadable", "a"),
        ("a,b\n1,2\n", "imu.unreadable", "mp4_time_ns and vrs_device_time_ns"),
    ):
        times.write_text(content)
        with raises(ImuError, code, times.name, reason):
            reader.read_imu(recording)
    times.unlink()
    with raises(ImuError, "imu.missing-file", times.name):
        reader.read_imu(recording)
    (tmp_path / "Videos/P01/holiday.mp4").touch()
    with raises(DatasetError, "dataset.bad-name", "holiday.mp4"):
        reader.recordings()
    with raises(DatasetError, "dataset.no-files", "with Videos and VRS"):
        HdEpicReader(HdEpicDataset(kind="hd-epic", path=str(tmp_path / "VRS"))).recordings()
