"""Real recordings of Project Aria's glasses, where the shared ones are."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from comodo.config.channels import CHANNELS
from comodo.data.imu import ImuError
from comodo.data.readers import open_dataset
from comodo.data.readers.aria import AriaDataset, AriaReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced
from tests.errors import raises
from tests.paths import SHARED


@pytest.mark.parametrize(("imu", "rate"), [("right", 1000), ("left", 800)])
def test_real_recording_on_the_video_s_clock(shared_data: Path, imu: str, rate: float) -> None:
    settings = AriaDataset(kind="aria", path=str(shared_data / "aria"), imu=imu)
    reader = open_dataset(settings, Path())
    assert isinstance(reader, AriaReader)
    (recording,) = reader.recordings()
    assert recording.id == recording.group == "aria_everyday_activities.vrs"
    (stream,) = reader.read_imu(recording)
    assert stream.rate == pytest.approx(rate, rel=0.01)
    assert -0.05 < stream.time_N[0] < 0 and 0.35 < stream.time_N[-1] < 0.4  # around 8 frames
    assert np.linalg.norm(stream.imu_NC[:, :3], axis=1).mean() == pytest.approx(1, abs=0.1)
    assert 10 < np.abs(stream.imu_NC[:, 3:]).max() < 200  # a turning head, in deg/s


@pytest.mark.parametrize(
    ("imu", "mean_g"), [("right", [0.99, 0.29, -0.10]), ("left", [0.98, -0.24, -0.01])]
)
def test_imus_of_the_second_generation_by_their_labels(imu: str, mean_g: list[float]) -> None:
    folder = SHARED / "faults" / "aria"
    if not folder.is_dir():
        pytest.skip(f"no recording of the second generation at {folder}")
    reader = AriaReader(AriaDataset(kind="aria", path=str(folder), imu=imu))
    (stream,) = reader.read_imu(reader.recordings()[0])
    np.testing.assert_allclose(stream.imu_NC[:, :3].mean(axis=0), mean_g, atol=0.006)
    assert stream.rate == pytest.approx(800, rel=0.01)


@pytest.mark.parametrize("generation", ["data", "faults"])
def test_both_imus_are_sensors(generation: str) -> None:
    folder = SHARED / generation / "aria"
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    both = AriaDataset(kind="aria", path=str(folder), imu="both", window_seconds=0.2)
    reader = AriaReader(both)
    (recording,) = reader.recordings()
    left, right = reader.read_imu(recording)
    assert left.channels == tuple(f"left.{channel}" for channel in CHANNELS)
    assert both.imu_channels == (*left.channels, *right.channels)
    for stream, imu in ((left, "left"), (right, "right")):
        one = AriaReader(AriaDataset(kind="aria", path=str(folder), imu=imu))
        (alone,) = one.read_imu(recording)
        np.testing.assert_array_equal(stream.imu_NC, alone.imu_NC)
        np.testing.assert_array_equal(stream.time_N, alone.time_N)
    windows, rejected = sliced(both)
    assert not rejected
    assert all(imu_CT.shape == (12, 40) for imu_CT in windows.values())
    chosen = both.model_copy(update={"channels": ("right.gyro_y", "right.acc")})
    assert [stream.channels[0] for stream in AriaReader(chosen).read_imu(recording)] == [
        "right.acc_x"
    ]
    cut, _ = sliced(chosen)
    for id, imu_CT in cut.items():
        np.testing.assert_array_equal(imu_CT, windows[id][[10, 6, 7, 8]])


def test_channels_of_named_sensors_need_both(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"imu: left.acc is a channel of .* imu: both"):
        AriaDataset(kind="aria", path=str(tmp_path), channels=("left.acc",))
    with pytest.raises(ValidationError, match=r"channels: write left.acc or right.acc"):
        AriaDataset(kind="aria", path=str(tmp_path), imu="both", channels=("acc",))


def test_windows_of_a_real_recording(shared_data: Path) -> None:
    settings = AriaDataset(
        kind="aria", path=str(shared_data / "aria"), window_seconds=0.2, imu_rate=200
    )
    windows, rejected = sliced(settings)
    assert not rejected
    (imu_CT,) = windows.values()
    assert np.isfinite(imu_CT).all() and imu_CT.shape == (6, 40)


def test_folders_and_files_without_recordings(tmp_path: Path) -> None:
    reader = AriaReader(AriaDataset(kind="aria", path=str(tmp_path)))
    with raises(DatasetError, "dataset.no-files", str(tmp_path), ".vrs"):
        reader.recordings()
    (tmp_path / "a.vrs").touch()
    with raises(ImuError, "imu.empty-file", "a.vrs"):
        reader.read_imu(reader.recordings()[0])


def test_the_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AriaReader(AriaDataset(kind="aria", path=str(tmp_path)))
    (tmp_path / "a.vrs").write_text("anything")
    (recording,) = reader.recordings()
    for module in ("projectaria_tools", "projectaria_tools.core.data_provider"):
        monkeypatch.setitem(sys.modules, module, None)
    with raises(DatasetError, "dataset.missing-library", "pip install projectaria-tools"):
        reader.recordings()
    with raises(ImuError, "imu.missing-library", "a.vrs", "pip install projectaria-tools"):
        reader.read_imu(recording)
