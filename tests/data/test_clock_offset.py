"""Planted offsets between made videos and their gyroscopes; motion that has nothing in common."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from comodo.data.clock_offset import FRAME_RATE, align, estimate, shifts, turning
from comodo.data.frames import VideoError
from comodo.data.imu import ImuStream
from comodo.data.readers.gopro import GoproDataset, GoproReader
from tests.errors import raises

GYRO_RATE = 100.0


def head(seconds: float, seed: int) -> ImuStream:
    """A head that turns now more, now less: about three axes, in deg/s."""
    rng = np.random.default_rng(seed)
    count = round(seconds * GYRO_RATE)
    gyro_N3 = gaussian_filter1d(rng.normal(size=(count, 3)), 0.3 * GYRO_RATE, axis=0)
    strength_N = np.exp(gaussian_filter1d(rng.normal(size=count), GYRO_RATE) * 15)
    gyro_N3 *= strength_N[:, None] * 30 / gyro_N3.std()
    imu_NC = np.concatenate([np.ones((count, 3)), gyro_N3], axis=1).astype(np.float32)
    return ImuStream(np.arange(count) / GYRO_RATE, imu_NC)


def film(
    path: Path, stream: ImuStream, start: float, seconds: float, fps: int = 30, noise: float = 3
) -> str:
    """What a camera sees that turns with the stream from `start` on: a texture passing by."""
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(size=(256, 256)), 2, mode="wrap")
    texture = 128 + 40 * texture / texture.std()
    angle_N2 = np.cumsum(stream.imu_NC[:, 3:5], axis=0) / GYRO_RATE
    with av.open(str(path), "w") as output:
        coded: Any = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        coded.width, coded.height, coded.pix_fmt = 96, 64, "yuv420p"
        for number in range(round(seconds * fps)):
            at = round((start + number / fps) * GYRO_RATE)
            moved = np.roll(texture, np.rint(angle_N2[at]).astype(int), axis=(0, 1))
            planes = np.full((96, 96), 128, np.uint8)
            planes[:64] = (moved[:64, :96] + rng.normal(size=(64, 96)) * noise).clip(16, 235)
            output.mux(coded.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        output.mux(coded.encode())
    return str(path)


@pytest.mark.parametrize(("start", "fps", "seed"), [(0.0, 30, 1), (3.23, 30, 2), (7.43, 25, 3)])
def test_a_planted_offset_is_found_in_a_video(
    tmp_path: Path, start: float, fps: int, seed: int
) -> None:
    stream = head(50, seed)
    found = estimate(film(tmp_path / "video.mp4", stream, start, 35, fps), stream)
    assert found.reliable and found.correlation > 0.7
    assert found.seconds == pytest.approx(-start, abs=0.02)
    late = ImuStream(stream.time_N[800:] - 6, stream.imu_NC[800:])  # its clock began elsewhere
    found = estimate(str(tmp_path / "video.mp4"), late)
    assert found.reliable and found.seconds == pytest.approx(6 - start, abs=0.02)


def test_an_offset_beyond_what_is_searched_is_not_made_up(tmp_path: Path) -> None:
    stream = head(60, 4)
    video = film(tmp_path / "video.mp4", stream, 15, 35)
    assert not estimate(video, stream, max_offset=10).reliable
    assert estimate(video, stream, max_offset=20).seconds == pytest.approx(-15, abs=0.05)
    far_away = ImuStream(stream.time_N + 1e9, stream.imu_NC)
    assert estimate(video, far_away) == estimate(
        video, ImuStream(stream.time_N - 1e9, stream.imu_NC)
    )
    assert not estimate(video, far_away).reliable


def test_unrelated_motion_is_unreliable() -> None:
    lengths = np.random.default_rng(0).uniform(10, 90, (100, 2))
    curves = [
        [turning(head(s, seed), np.arange(1, s - 1, 1 / FRAME_RATE)) for s, seed in pair]
        for pair in ([(x, 2 * i + 100), (y, 2 * i + 101)] for i, (x, y) in enumerate(lengths))
    ]
    reliable = [
        align(np.linalg.norm(camera, axis=1), imu, 10.0, 0.0).reliable for camera, imu in curves
    ]
    assert sum(reliable) <= 5
    rng = np.random.default_rng(1)
    noise = [
        align(rng.random(600), rng.normal(size=(600, 3)), 10.0, 0.0).reliable for _ in range(100)
    ]
    assert sum(noise) <= 5


def test_motion_that_repeats_itself_is_unreliable() -> None:
    time_K = np.arange(600) / FRAME_RATE
    turning_K3 = np.sin(2 * np.pi * (time_K[:, None] / [3.4, 1.7, 3.4] + [0, 0.2, 0.6])) * 40
    swaying = align(np.linalg.norm(turning_K3, axis=1), turning_K3, 10.0, 0.0)
    assert swaying.correlation > 0.95 and not swaying.reliable


@pytest.mark.parametrize("noise", [0, 4])
def test_a_camera_that_stands_still_is_unreliable(tmp_path: Path, noise: float) -> None:
    stream = head(40, 5)
    still = ImuStream(stream.time_N, stream.imu_NC * [1, 1, 1, 0, 0, 0])
    video = film(tmp_path / "video.mp4", still, 0, 30, noise=noise)
    assert not estimate(video, stream).reliable
    assert not estimate(video, still).reliable


def test_what_is_too_short_is_unreliable(tmp_path: Path) -> None:
    stream = head(20, 6)
    for seconds in (1 / 30, 2 / 30, 3.0):
        video = film(tmp_path / "video.mp4", stream, 0, seconds)
        assert not estimate(video, stream).reliable
    with raises(VideoError, "video.unreadable", "none.mp4"):
        estimate(str(tmp_path / "none.mp4"), stream)


def test_shifts_in_parts_of_a_pixel() -> None:
    texture = gaussian_filter(np.random.default_rng(0).normal(size=(512, 512)), 8, mode="wrap")
    places = [(0, 0), (2, 0), (2, 10), (30, 10), (30, 10), (33, 14)]  # of a quarter of a pixel
    frames = np.stack([np.roll(texture, place, (0, 1))[:256:4, :256:4] for place in places])
    np.testing.assert_allclose(shifts(frames), [0.5, 2.5, 7, 0, 1.25], atol=0.15)


def test_a_real_recording_whose_picture_the_camera_steadied(shared_data: Path) -> None:
    gopro = GoproReader(GoproDataset(kind="gopro", path=str(shared_data / "gopro")))
    (recording,) = gopro.recordings()
    (stream,) = gopro.read_imu(recording)
    found = estimate(recording.video, stream)
    # The camera's own record of its turns agrees with its gyroscope to 0.02 s; its picture, which
    # its stabiliser turned against that, runs ahead by 0.4 s.
    assert found.correlation > 0.85 and found.seconds == pytest.approx(-0.39, abs=0.08)
    moved = estimate(recording.video, ImuStream(stream.time_N + 2, stream.imu_NC))
    assert moved.seconds == pytest.approx(found.seconds - 2, abs=0.1)
