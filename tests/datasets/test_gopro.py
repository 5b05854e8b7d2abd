"""Real telemetry of a GoPro, where the shared recordings are."""

from pathlib import Path

import numpy as np
import pytest

from comodo.config import GoproDataset
from comodo.datasets import DatasetError
from comodo.datasets.gopro import GoproReader
from comodo.imu import ImuError


def test_real_telemetry_in_g_and_degrees(shared_data: Path) -> None:
    reader = GoproReader(GoproDataset(kind="gopro", path=str(shared_data / "gopro")))
    (recording,) = reader.recordings()
    stream = reader.read_imu(recording)
    assert len(stream.time_N) == 2082
    assert stream.rate == pytest.approx(197.5, abs=0.5)
    acc_N = np.linalg.norm(stream.imu_NC[:, :3], axis=1)
    assert acc_N.mean() == pytest.approx(1, abs=0.05)
    assert 5 < np.abs(stream.imu_NC[:, 3:]).max() < 1000  # walking, in deg/s


def test_files_without_telemetry(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no .mp4"):
        GoproReader(GoproDataset(kind="gopro", path=str(tmp_path))).recordings()
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    reader = GoproReader(GoproDataset(kind="gopro", path=str(tmp_path)))
    with pytest.raises(ImuError, match=r"a\.mp4"):
        reader.read_imu(reader.recordings()[0])
