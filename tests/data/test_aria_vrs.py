"""VRS files against projectaria-tools' own frames; files that are cut off or are none."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest

from comodo.core.errors import ComodoError
from comodo.data import aria_vrs
from comodo.data.frames import VideoError
from comodo.data.imu import ImuError
from comodo.data.video import decode_frames, frames_at_rate, read_track, video_seconds
from tests.errors import raises

ASKS: list[tuple[Callable[[str], Any], type[ComodoError]]] = [
    (video_seconds, VideoError),
    (read_track, VideoError),
    (lambda path: decode_frames(path, 0, 0.2, 2), VideoError),
    (lambda path: frames_at_rate(path, 10, 1, 64), VideoError),
    (lambda path: aria_vrs.read_imu(path, "right"), ImuError),
    (lambda path: aria_vrs.read_imu(path, "left"), ImuError),
]
KINDS: dict[type[ComodoError], str] = {VideoError: "video", ImuError: "imu"}


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> str:
    return str(shared_data / "aria" / "aria_everyday_activities.vrs")


def frame(path: str, index: int) -> np.ndarray:
    """A frame as the camera, which is mounted sideways, took it."""
    from projectaria_tools.core.data_provider import create_vrs_data_provider
    from projectaria_tools.core.stream_id import StreamId

    provider = create_vrs_data_provider(path)
    return provider.get_image_data_by_index(StreamId("214-1"), index)[0].to_numpy_array()


def test_frames_are_those_shown_at_their_times_and_upright(
    recording: str, capfd: pytest.CaptureFixture[str]
) -> None:
    times = (aria_vrs.rgb_times_ns(recording) - aria_vrs.rgb_times_ns(recording)[0]) / 1e9
    assert len(times) == 8 and np.diff(times) == pytest.approx(0.05, abs=0.001)
    assert video_seconds(recording) == pytest.approx(0.4, abs=0.001)
    images = decode_frames(recording, times[3], times[5], 2, size=88)
    at_frame_4 = decode_frames(recording, times[4] - 2e-6, times[4] + 4e-6, 3, size=88)
    assert images.shape == (2, 88, 88, 3) and images.dtype == np.uint8
    track = read_track(recording)
    assert (track.seconds, track.still) == (video_seconds(recording), ())
    assert capfd.readouterr() == ("", "")
    for image, index in [(images[0], 3), (images[1], 4), *zip(at_frame_4, (3, 4, 4), strict=True)]:
        sideways = av.VideoFrame.from_ndarray(frame(recording, index), "rgb24")
        small = sideways.reformat(88, 88).to_ndarray()
        turned = small.transpose(1, 0, 2)[:, ::-1]  # clockwise: the left column becomes the top row
        differences = [np.abs(image.astype(int) - np.rot90(turned, k)).mean() for k in range(4)]
        assert differences[0] < 2 and min(differences[1:]) > 10


def test_a_span_may_end_with_the_last_frame_but_not_after_it(recording: str) -> None:
    last = decode_frames(recording, 0.34, 0.38, 2, size=32)
    assert (decode_frames(recording, 0.40, 0.44, 1, size=32) == last[1]).all()
    with raises(VideoError, "video.too-short", ".vrs", "0.400 s", "0.500 s"):
        decode_frames(recording, 0.4, 0.6, 1)
    with raises(VideoError, "video.bad-span", ".vrs", "2 frames"):
        decode_frames(recording, 0.2, 0.2, 2)


def test_the_first_and_the_last_frame_of_a_span(recording: str) -> None:
    times = (aria_vrs.rgb_times_ns(recording) - aria_vrs.rgb_times_ns(recording)[0]) / 1e9
    single = [decode_frames(recording, time, time + 1e-3, 1, 32)[0] for time in times]
    for span, expected in (((0, 0.4), [0, 3, 7]), ((times[2] + 0.01, times[6]), [2, 3, 5])):
        begin, end = span
        images = decode_frames(recording, begin, end, 3, size=32, choice="ends")
        found = zip(images, expected, strict=True)
        assert all((image == single[index]).all() for image, index in found)
    # Its pictures are square, so that both ways to make them so are the same but for rounding.
    squeezed = decode_frames(recording, 0, 0.05, 1, 32, "squeeze")
    assert np.abs(squeezed - decode_frames(recording, 0, 0.05, 1, 32)).mean() < 1


def test_frames_at_a_rate_carry_their_own_times(recording: str) -> None:
    times = (aria_vrs.rgb_times_ns(recording) - aria_vrs.rgb_times_ns(recording)[0]) / 1e9
    time_M, images = frames_at_rate(recording, 100, 0.32, 32)
    assert (time_M == times[:7]).all() and images.shape == (7, 32, 32, 3)
    time_M, images = frames_at_rate(recording, 8, 10, 32)
    assert time_M.tolist() == times[[0, 3, 6]].tolist()
    assert (images[1] == decode_frames(recording, 0.16, 0.17, 1, size=32)[0]).all()


def test_samples_of_both_imus(recording: str, capfd: pytest.CaptureFixture[str]) -> None:
    norms = []
    streams: tuple[tuple[Literal["right", "left"], int], ...] = (("right", 400), ("left", 319))
    for stream, count in streams:
        time_ns_N, imu_NC = aria_vrs.read_imu(recording, stream)
        assert time_ns_N.dtype == np.int64 and time_ns_N.shape == (count,)
        assert imu_NC.shape == (count, 6) and (np.diff(time_ns_N) > 0).all()
        norms.append(np.linalg.norm(imu_NC[:, 3:], axis=1).mean())
    assert capfd.readouterr() == ("", "")
    assert norms[0] == pytest.approx(norms[1], rel=0.1)  # one head turns both


def test_files_that_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "empty.vrs").touch()
    (tmp_path / "text.vrs").write_text("not a recording " * 100)
    codes = {"missing": "missing-file", "empty": "empty-file", "text": "unreadable"}
    for name, code in codes.items():
        for ask, error in ASKS:
            with raises(error, f"{KINDS[error]}.{code}", f"{name}.vrs"):
                ask(str(tmp_path / f"{name}.vrs"))


def test_a_truncated_file_gives_what_it_has_or_says_what_it_lacks(
    tmp_path: Path, recording: str
) -> None:
    content = Path(recording).read_bytes()
    path = str(tmp_path / "cut.vrs")
    for size, code in [(100, "unreadable"), (10_000, "unreadable"), (50_000, "no-stream")]:
        Path(path).write_bytes(content[:size])
        for ask, error in ASKS:
            with raises(error, f"{KINDS[error]}.{code}", "cut.vrs"):
                ask(path)
    Path(path).write_bytes(content[:100_000])
    assert len(aria_vrs.read_imu(path, "right")[0]) > 30
    with raises(VideoError, "video.no-stream", "214-1", "camera-rgb"):
        video_seconds(path)
    Path(path).write_bytes(content[: len(content) // 2])
    assert video_seconds(path) == pytest.approx(0.2, abs=0.001)
    with raises(VideoError, "video.too-short", "cut.vrs", "0.200 s"):
        decode_frames(path, 0, 0.4, 4)


def test_errors_leave_the_terminal_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.vrs").write_text("not a recording " * 100)
    gc.collect()  # files that earlier tests left open
    before = len(os.listdir("/proc/self/fd"))
    for ask, error in ASKS:
        with pytest.raises(error):
            ask(str(tmp_path / "text.vrs"))
    assert len(os.listdir("/proc/self/fd")) == before
    print("heard", flush=True)
    assert capfd.readouterr() == ("heard\n", "")
