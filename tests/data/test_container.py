"""Which stream of a file is its video, and its clock: covers, several videos, restarts."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from comodo.core.errors import is_passing
from comodo.data import container
from comodo.data.frames import VideoError
from comodo.data.video import decode_frames, read_track, video_seconds
from tests.data.test_video import FAULTS, decode, make_video, numbered_frame
from tests.errors import raises

WRAP = 2**33  # ticks of MPEG-TS's clock


def add_video(output: Any, codec: str = "libx264", size: int = 64, picture: bool = False) -> Any:
    stream = output.add_stream(codec, rate=30, options={"qp": "0"} if codec == "libx264" else {})
    stream.width = stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if picture:
        stream.disposition = Disposition.attached_pic
    return stream


def write(output: Any, stream: Any, first: int, count: int) -> None:
    """Frames numbered from `first`, one after the other from 0 s on."""
    for number in range(count):
        frame = numbered_frame(first + number, stream.width, stream.height)
        frame.pts, frame.time_base = number, 1 / stream.average_rate
        output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
    output.mux(stream.encode())


def test_a_cover_is_not_the_video(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv"):  # marked as a picture; not marked, and stream 0
        path = tmp_path / f"cover.{suffix}"
        with av.open(str(path), "w") as output:
            cover, film = add_video(output, "mjpeg", 128, picture=True), add_video(output)
            write(output, cover, 70, 1)
            write(output, film, 0, 60)
        assert read_track(path).seconds == pytest.approx(2.0, abs=1e-3)
        assert decode(path, 0.5 / 30, 60.5 / 30, 15) == list(range(2, 60, 4))


def test_sound_with_a_cover_has_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        sound: Any = output.add_stream("aac", rate=8000, layout="mono")
        cover = add_video(output, "mjpeg", picture=True)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        output.mux(sound.encode(silence))
        output.mux(sound.encode())
        write(output, cover, 0, 1)
    for ask in (video_seconds, read_track):
        with raises(VideoError, "video.no-stream", "sound.m4a"):
            ask(path)


def test_of_several_videos_the_default_one_then_the_largest(tmp_path: Path) -> None:
    for default, expected in [(None, 40), (0, 0), (1, 40), (2, 20)]:
        path = tmp_path / f"{default}.mkv"
        with av.open(str(path), "w") as output:
            streams = [add_video(output, size=size) for size in (32, 96, 64)]
            for number, stream in enumerate(streams):
                stream.disposition = Disposition.default if number == default else Disposition(0)
            for first, stream in zip((0, 40, 20), streams, strict=True):
                write(output, stream, first, 20)
        assert decode(path, 0, 0.01, 1) == [expected]


@pytest.mark.parametrize("name", ["mp4", "png", "gif"])
def test_a_photo_is_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"photo.{name}"
    numbered_frame(0, 64, 64).to_image().save(tmp_path / "photo.png")
    numbered_frame(0, 64, 64).to_image().save(tmp_path / "photo.gif")
    make_video(tmp_path / "photo.mp4", count=1)
    with raises(VideoError, "video.one-frame", path.name):
        read_track(path)


SHORT_GOP = {"g": "20", "bf": "2", "qp": "10"}


@pytest.mark.parametrize("seconds", [0, 1, 10, 3600])
def test_a_clock_that_wraps_around_goes_on(tmp_path: Path, seconds: int) -> None:
    path, tick = tmp_path / "wrap.ts", Fraction(1, 90_000)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options=SHORT_GOP)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = tick
        for number in range(300):
            frame = numbered_frame(number % 70, 64, 64)
            frame.pts, frame.time_base = WRAP - seconds * 90_000 + 9000 * number, tick
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    track = read_track(path)
    assert track.seconds == pytest.approx(30.0, abs=1e-3) and track.still == ()
    for number in range(0, 300, 7):
        assert decode(path, (number + 0.2) / 10, (number + 0.8) / 10, 1) == [number % 70]


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_clock_that_restarts_is_refused_with_the_fix(tmp_path: Path, suffix: str) -> None:
    one, two = (make_video(tmp_path / f"{name}.{suffix}") for name in "ab")
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    with raises(VideoError, "video.clock-restarts", joined.name, container.REMUX):
        read_track(joined)


@pytest.mark.parametrize("part", [0.2, 0.4, 0.5])
def test_a_stream_cut_between_key_frames_begins_with_the_first(tmp_path: Path, part: float) -> None:
    times_ms = list(range(0, 7000, 100))
    content = make_video(tmp_path / "a.ts", times_ms, options=SHORT_GOP).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(content[188 * int(len(content) // 188 * part) :])
    track = read_track(path)
    first = decode(path, 0, 0.01, 1)[0]
    assert 0 < first < 50
    assert track.seconds == pytest.approx((70 - first) / 10, abs=2e-3)
    assert decode(path, 0.61, 0.62, 1) == [first + 6]


def test_packets_that_were_lost_are_noticed(tmp_path: Path) -> None:
    content = make_video(tmp_path / "a.ts", options=SHORT_GOP).read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    half = len(packets) // 2
    for lost in range(half, half + 30, 2):
        path = tmp_path / "lost.ts"
        path.write_bytes(b"".join(packets[:lost] + packets[lost + 2 :]))
        for number in range(0, 60, 3):
            try:
                shown = decode(path, (number + 0.2) / 30, (number + 0.8) / 30, 1)
            except VideoError:
                continue
            assert shown == [number]


def test_a_disk_that_is_away_may_come_back_and_damage_stays(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    for name, passing in (("missing.mp4", True), ("text.mp4", False)):
        with pytest.raises(VideoError) as caught:
            decode_frames(tmp_path / name, 0, 1, 2)
        assert is_passing(caught.value) == passing


@pytest.mark.parametrize(
    "name", ["cover_is_stream_0.mkv", "thumbnail_is_stream_0.mp4", "pixels_4_to_3.mp4"]
)
def test_files_that_came_out_wrong(name: str) -> None:
    if not FAULTS.exists():
        pytest.skip(f"needs {FAULTS.name}")
    assert read_track(FAULTS / name).seconds == pytest.approx(20)
    for start in (0, 5, 10, 15):
        span = (start, start + 5, 4)
        pair = [decode_frames(FAULTS / file, *span).astype(int) for file in (name, "plain.mp4")]
        assert np.abs(pair[0] - pair[1]).mean() < 8


def test_a_file_that_does_not_say_when_frames_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    with av.open(str(path), "w") as output:  # its last key frame is its last frame
        options = {"bf": "3", "b-adapt": "0", "g": "20", "x264-params": "scenecut=0"}
        stream: Any = output.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        write(output, stream, 0, 61)
    with raises(VideoError, "video.bad-times", path.name, "ffmpeg"):
        read_track(path)


def test_files_that_cannot_be_read_right() -> None:
    if not FAULTS.exists():
        pytest.skip(f"needs {FAULTS.name}")
    with raises(VideoError, "video.bad-times", "h264_b_frames.avi", "ffmpeg"):
        read_track(FAULTS / "h264_b_frames.avi")
    with raises(VideoError, "video.no-stream", "sound_with_cover.m4a"):
        read_track(FAULTS / "sound_with_cover.m4a")
