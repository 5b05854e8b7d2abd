"""Real telemetry of a GoPro, where the shared recordings are, and rows as its parser gives them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comodo.config.datasets import GoproDataset
from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream, has_gap
from comodo.data.readers.gopro import GoproReader, stream_of
from comodo.data.recordings import DatasetError
from tests.errors import raises

PACKET = 1.001  # seconds


def reader(folder: Path) -> GoproReader:
    return GoproReader(GoproDataset(kind="gopro", path=str(folder)))


def wave(time_N: np.ndarray, hz: float) -> np.ndarray:
    """Three axes, [N, 3], that tell at which time they were measured."""
    return np.stack([np.sin(2 * np.pi * hz * time_N + phase) for phase in (0, 1, 2)], axis=1) + 2


def packet_rows(counts: list[tuple[int, int]], start: float = 0.0) -> list[dict[str, Any]]:
    """Rows as telemetry-parser 0.3 lays them out for packets of (accelerometer, gyroscope) samples:
    each packet's samples on its first rows, every row a mean gyroscope step after the last."""
    rows: list[dict[str, Any]] = []
    step = PACKET * len(counts) / max(1, sum(gyro for _, gyro in counts))
    for number, (acc, gyro) in enumerate(counts):
        for i in range(max(acc, gyro)):
            begins = start + number * PACKET
            at_acc, at_gyro = (
                np.array([begins + i * PACKET / max(1, count)]) for count in (acc, gyro)
            )
            rows.append(
                {
                    "timestamp_ms": 1000 * (start + len(rows) * step),
                    "accl": tuple(wave(at_acc, 0.7)[0] * STANDARD_GRAVITY) if i < acc else None,
                    "gyro": tuple(wave(at_gyro, 0.4)[0]) if i < gyro else None,
                }
            )
    return rows


def assert_right(stream: ImuStream, tolerance: float) -> None:
    np.testing.assert_allclose(stream.imu_NC[:, :3], wave(stream.time_N, 0.7), atol=tolerance)
    np.testing.assert_allclose(stream.imu_NC[:, 3:], wave(stream.time_N, 0.4), atol=tolerance)


def test_real_telemetry_in_g_and_degrees(shared_data: Path) -> None:
    gopro = reader(shared_data / "gopro")
    (recording,) = gopro.recordings()
    stream = gopro.read_imu(recording)
    assert len(stream.time_N) == 2082 and stream.notes == ()
    assert stream.rate == pytest.approx(197.5, abs=0.5)
    acc_N = np.linalg.norm(stream.imu_NC[:, :3], axis=1)
    assert acc_N.mean() == pytest.approx(1, abs=0.05)
    assert 5 < np.abs(stream.imu_NC[:, 3:]).max() < 1000  # walking, in deg/s


@pytest.mark.parametrize(("key", "slow"), [(b"ACCL", "accelerometer"), (b"GYRO", "gyroscope")])
def test_real_telemetry_of_which_one_sensor_is_thinned(
    tmp_path: Path, shared_data: Path, key: bytes, slow: str
) -> None:
    original = shared_data / "gopro" / "max-heromode.mp4"
    content = bytearray(original.read_bytes())
    at = -1
    while (at := content.find(key + b"s\x06", at + 1)) >= 0:  # key, type, bytes of a sample
        (count,) = struct.unpack(">H", content[at + 6 : at + 8])
        end = at + 8 + -(-count * 6 // 4) * 4
        samples = np.frombuffer(bytes(content[at + 8 : at + 8 + count * 6]), ">i2").reshape(-1, 3)
        kept = samples[::2].tobytes()
        block = key + b"s\x06" + struct.pack(">H", len(kept) // 6) + kept + bytes(-len(kept) % 4)
        unused = end - at - len(block) - 8
        content[at:end] = b"PADDc\x01" + struct.pack(">H", unused) + bytes(unused) + block
        at = end - 1
    (tmp_path / "thinned.mp4").write_bytes(content)
    streams = [
        folder.read_imu(folder.recordings()[0])
        for folder in (reader(shared_data / "gopro"), reader(tmp_path))
    ]
    whole, thinned = streams
    assert thinned.notes[0].startswith(f"{slow} interpolated")
    assert len(thinned.time_N) >= 2080 and thinned.rate == pytest.approx(whole.rate, rel=0.001)
    for channel in range(6):
        expected_N = np.interp(thinned.time_N, whole.time_N, whole.imu_NC[:, channel])
        # Some of the motion between the samples that were taken out is lost, its timing is not.
        assert np.corrcoef(thinned.imu_NC[:, channel], expected_N)[0, 1] > 0.98


def test_files_without_telemetry(tmp_path: Path) -> None:
    with raises(DatasetError, "dataset.no-files", str(tmp_path), ".mp4"):
        reader(tmp_path).recordings()
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with raises(ImuError, "imu.unreadable", "a.mp4"):
        reader(tmp_path).read_imu(reader(tmp_path).recordings()[0])


@settings(max_examples=20)
@given(
    slow=st.integers(40, 200),
    faster=st.floats(1.0, 16.0),
    gyro_is_fast=st.booleans(),
    jitter=st.lists(st.integers(0, 1), min_size=4, max_size=8),
    start=st.floats(-3, 3),
)
def test_sensors_of_any_two_rates_come_out_on_the_faster_one_s_clock(
    slow: int, faster: float, gyro_is_fast: bool, jitter: list[int], start: float
) -> None:
    pairs = [(slow + extra, round(slow * faster) + extra) for extra in jitter]
    rows = packet_rows(pairs if gyro_is_fast else [pair[::-1] for pair in pairs], start)
    stream = stream_of(rows, "f")
    assert start - 1e-6 <= stream.time_N[0] <= start + 0.01
    assert stream.time_N[-1] == pytest.approx(start + len(pairs) * PACKET, abs=2 * PACKET / slow)
    assert stream.rate == pytest.approx(round(slow * faster) / PACKET, rel=0.05)
    assert_right(stream, 0.02 + 6 / slow)  # the parser's even clock is off by up to a sample


def test_the_note_names_the_slower_sensor_and_equal_ones_need_none() -> None:
    assert stream_of(packet_rows([(200, 400)] * 3), "f").notes == (
        "accelerometer interpolated at the gyroscope's 400 Hz",
    )
    assert stream_of(packet_rows([(200, 200)] * 3), "f").notes == ()


def test_what_is_missing_is_not_made_up() -> None:
    rows = packet_rows([(200, 400)] * 2 + [(0, 400)] + [(200, 400)] * 2)
    stream = stream_of(rows, "f")
    assert has_gap(stream, 0, 5, 0.9) and not has_gap(stream, 3.2, 4.9, 0.1)
    early_N, late_N = stream.time_N < 0.9, stream.time_N > 3.1
    assert early_N.sum() > 300 and late_N.sum() > 600
    for some_N in (early_N, late_N):
        assert_right(ImuStream(stream.time_N[some_N], stream.imu_NC[some_N]), 0.05)
    rows = packet_rows([(200, 200)] * 3)
    for row in rows[100:104]:
        row["gyro"] = (float("nan"),) * 3
    assert len(stream_of(rows, "f").time_N) == 596
    assert_right(stream_of(rows, "f"), 0.05)
    for name in ("accl", "gyro"):
        with raises(ImuError, "imu.missing-sensor", "f: "):
            stream_of([row | {name: None} for row in rows], "f")
    with raises(ImuError, "imu.missing-sensor", "f: "):
        stream_of([], "f")


def test_clock_jumps() -> None:
    forward = packet_rows([(200, 400)] * 2) + packet_rows([(200, 400)] * 2, start=10.0)
    stream = stream_of(forward, "f")
    assert has_gap(stream, 0, 12, 7.5)
    backward = packet_rows([(200, 400)] * 2, start=10.0) + packet_rows([(200, 400)] * 2)
    with raises(ImuError, "imu.clock-backwards", "f: "):
        stream_of(backward, "f")
