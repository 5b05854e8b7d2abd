"""Decoding against videos whose frames carry their number as a grey level."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from comodo.data.frames import VideoError, frame_times
from comodo.data.video import decode_frames, frames_at_rate, read_track, video_seconds
from tests.errors import raises
from tests.paths import ROOT, SHARED

FAULTS = SHARED / "faults" / "video" / "videos"
GOPRO = SHARED / "data/gopro/max-heromode.mp4"
SIZE = 64
LONG_GOP = {"g": "250", "bf": "5", "qp": "0"}
OPEN_GOP = {"qp": "0", "bf": "5", "x264-params": "open-gop=1:keyint=20"}
REFRESH = {"qp": "2", "x264-params": "keyint=20:intra-refresh=1"}  # no key frame but the first


def numbered_frame(number: int, width: int, height: int) -> av.VideoFrame:
    """A grey frame of luma 20 + 3 x number under a little noise, so that coding it is work."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    noise = np.random.default_rng(number).integers(-1, 2, (height, width))
    planes[:height] = 20 + 3 * number + noise
    return av.VideoFrame.from_ndarray(planes, "yuv420p")


def make_video(
    path: Path,
    times_ms: list[int] | None = None,
    count: int = 60,
    start: int = 0,
    width: int = SIZE,
    height: int = SIZE,
    options: dict[str, str] = LONG_GOP,
    container: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    """H.264 at 30 frames/s, its first frame at frame `start`, or with the given times."""
    clock = Fraction(1, 30) if times_ms is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=container or {}) as output:
        stream: Any = output.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = clock
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times_ms or range(start, start + count)):
            frame = numbered_frame(number, width, height)
            frame.pts, frame.time_base = time, clock
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def numbers(images: np.ndarray) -> list[int]:
    """What `numbered_frame` wrote: luma goes from 16 to 235, RGB from 0 to 255."""
    luma = images.mean(axis=(1, 2, 3)) * 219 / 255 + 16
    return [round(value) for value in (luma - 20) / 3]


def decode(path: Path, start: float, end: float, count: int) -> list[int]:
    return numbers(decode_frames(path, start, end, count, size=32))


def test_importing_it_brings_no_heavy_library() -> None:
    check = (
        "import sys, comodo.data.video; assert not {'torch', 'ray', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("start", [0, 60])
@pytest.mark.parametrize("options", [LONG_GOP, OPEN_GOP, REFRESH], ids=["long", "open", "refresh"])
def test_every_frame_is_found(
    tmp_path: Path, suffix: str, start: int, options: dict[str, str]
) -> None:
    path = make_video(tmp_path / f"video.{suffix}", start=start, options=options)
    assert video_seconds(path) == pytest.approx(2.0, abs=2e-3)
    assert decode(path, 0.5 / 30, 60.5 / 30, 15) == list(range(2, 60, 4))
    for number in range(0, 60, 3):
        assert decode(path, (number + 0.2) / 30, (number + 0.8) / 30, 1) == [number]


def test_a_time_that_is_a_frame_s_own_shows_that_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    assert decode(path, 0, 2, 6) == [5, 15, 25, 35, 45, 55]  # 5 / 30 s is not exact in binary


def test_uneven_times(tmp_path: Path) -> None:
    times_ms = [0, 10, 20, 400, 410, 900, 1000, 1500, 1510, 1900]
    path = make_video(tmp_path / "video.mp4", times_ms)
    wanted = frame_times(0, 1.9, 19) * 1000
    expected = [max(n for n, shown in enumerate(times_ms) if shown <= t) for t in wanted]
    assert decode(path, 0, 1.9, 19) == expected


def test_a_span_may_end_with_the_last_frame_but_not_after_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    assert decode(path, 1.9, 2.0, 3) == [57, 58, 59]
    assert decode(path, 1.9, 2.06, 2) == [58, 59]  # less than a frame after the end
    for start, end in [(1.0, 3.0), (5.0, 10.0)]:
        with raises(VideoError, "video.too-short", "video.mp4", "2.000 s"):
            decode(path, start, end, 4)
    with raises(VideoError, "video.bad-span", "video.mp4", "2 frames"):
        decode(path, 1.0, 1.0, 2)


@pytest.mark.parametrize("start", [0, 60])
def test_frames_at_a_rate_carry_their_own_times(tmp_path: Path, start: int) -> None:
    path = make_video(tmp_path / "video.mp4", start=start)
    for rate, expected in [(10, range(0, 30, 3)), (30, range(30)), (100, range(30))]:
        time_M, images = frames_at_rate(path, rate, max_seconds=1.0, size=32)
        assert numbers(images) == list(expected)
        np.testing.assert_allclose(time_M, np.array(expected) / 30, atol=1e-4)
    uneven = make_video(tmp_path / "uneven.mp4", [0, 90, 110, 120, 450, 460])
    time_M, images = frames_at_rate(uneven, 10, max_seconds=10, size=32)
    assert numbers(images) == [0, 2, 4] and time_M.tolist() == pytest.approx([0, 0.11, 0.45])
    assert len(frames_at_rate(path, 10, max_seconds=100, size=32)[0]) == 20


def ends(path: Path, start: float, end: float, count: int) -> list[int]:
    return numbers(decode_frames(path, start, end, count, size=32, choice="ends"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("start", [0, 60])
@pytest.mark.parametrize("options", [LONG_GOP, OPEN_GOP, REFRESH], ids=["long", "open", "refresh"])
def test_the_first_and_the_last_frame_of_a_span(
    tmp_path: Path, suffix: str, start: int, options: dict[str, str]
) -> None:
    path = make_video(tmp_path / f"video.{suffix}", start=start, options=options)
    assert ends(path, 0, 2, 7) == [0, 9, 19, 29, 39, 49, 59]
    assert ends(path, 0, 2, 60) == list(range(60))
    assert ends(path, 25 / 30, 45 / 30, 3) == [25, 34, 44]
    assert ends(path, 25.5 / 30, 44.5 / 30, 20) == list(range(25, 45))  # also where they are cut
    assert ends(path, 30.2 / 30, 30.4 / 30, 2) == [30, 30]


def test_ends_of_uneven_times_and_of_a_span_after_the_last_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", [0, 10, 20, 400, 410, 900, 1000, 1500, 1510, 1900])
    assert ends(path, 0.015, 1.6, 4) == [1, 3, 5, 8]
    assert ends(path, 0.5, 0.8, 3) == [4, 4, 4]
    for start, end in [(1.0, 3.0), (5.0, 10.0)]:
        with raises(VideoError, "video.too-short", "video.mp4"):
            ends(path, start, end, 4)


def test_files_that_are_no_video(tmp_path: Path) -> None:
    empty, text, sound = (tmp_path / name for name in ("empty.mp4", "text.mp4", "sound.mp4"))
    empty.touch()
    text.write_text("not a video " * 100)
    with av.open(str(sound), "w") as output:
        stream: Any = output.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        output.mux(stream.encode(silence))
        output.mux(stream.encode())
    for path, code in [
        (tmp_path / "missing.mp4", "video.unreadable"),
        (empty, "video.empty-file"),
        (text, "video.unreadable"),
        (sound, "video.no-stream"),
    ]:
        for ask in (
            lambda p: video_seconds(p),
            lambda p: decode_frames(p, 0, 1, 2),
            lambda p: frames_at_rate(p, 10, 1, 32),
        ):
            with raises(VideoError, code, path.name):
                ask(path)


@pytest.mark.parametrize("header_first", [True, False])
def test_a_truncated_file_gives_no_frame_twice(tmp_path: Path, header_first: bool) -> None:
    flags = {"movflags": "faststart"} if header_first else {}
    whole = make_video(tmp_path / "whole.mp4", container=flags).read_bytes()
    cut = tmp_path / "cut.mp4"
    for part in (0.0, 0.3, 0.5, 0.9):
        cut.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(VideoError, match=r"cut\.mp4"):  # the code depends on the place
            decode_frames(cut, 0, 2, 8)


def test_damage_in_the_middle_is_noticed_and_elsewhere_does_not_matter(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", options={"g": "10", "qp": "0"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    with raises(VideoError, "video.unreadable", "video.mp4"):
        decode_frames(path, 0, 2, 8)
    assert decode(path, 0, 0.3, 3) == [1, 4, 7]
    assert decode(path, 1.7, 2.0, 3) == [52, 55, 58]


def without(numbers: range) -> list[int]:
    """Times in ms of 300 frames, ten a second, without those of these numbers."""
    return [number * 100 for number in range(300) if number not in numbers]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "flv"])
@pytest.mark.parametrize("options", [LONG_GOP, {"g": "10", "bf": "0"}], ids=["b-frames", "simple"])
def test_where_no_frame_is_for_more_than_a_second_the_picture_stands_still(
    tmp_path: Path, suffix: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"video.{suffix}"
    for missing, still in [
        (range(0), ()),
        (range(60, 140), ((6.05, 13.95),)),
        (range(100, 109), ()),  # 1 s
        (range(100, 112), ((10.05, 11.15),)),
        (range(295, 299), ()),
    ]:
        make_video(path, without(missing), options=options)
        track = read_track(path)
        assert track.seconds == pytest.approx(30.0, abs=0.15)
        assert np.allclose(track.still, still, atol=2e-3) and len(track.still) == len(still)
        assert track.seconds == pytest.approx(video_seconds(path))


def test_a_fragmented_file_is_read_to_its_end(tmp_path: Path) -> None:
    flags = {"movflags": "frag_keyframe+empty_moov"}
    path = make_video(tmp_path / "video.mp4", without(range(60, 140)), container=flags)
    track = read_track(path)
    assert track.seconds == pytest.approx(30.0, abs=0.11)
    assert np.allclose(track.still, [(6.05, 13.95)], atol=2e-3)


def test_a_last_frame_that_stays_is_no_moving_picture(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", options={"bf": "0"})
    path = tmp_path / "stays.mp4"
    with av.open(str(source)) as whole, av.open(str(path), "w") as output:
        stream: Any = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                if packet.pts == 59 * 512:
                    packet.duration = 512 * 30 * 5
                packet.stream = stream
                output.mux(packet)
    track = read_track(path)
    assert track.seconds == pytest.approx(59 / 30 + 5, abs=0.01)
    assert np.allclose(track.still, [(59.0 / 30 + 0.05, track.seconds - 1 / 60)], atol=2e-3)


@pytest.mark.parametrize("header_first", [True, False])
def test_a_file_whose_end_is_missing_is_refused_before_it_is_needed(
    tmp_path: Path, header_first: bool
) -> None:
    flags = {"movflags": "faststart"} if header_first else {}
    whole = make_video(tmp_path / "whole.mp4", container=flags).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(VideoError, match=r"cut\.mp4"):  # the code depends on the place
        read_track(tmp_path / "cut.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("pyramid", ["none", "strict", "normal"])
def test_open_gops_can_be_entered_anywhere_and_damage_is_still_noticed(
    tmp_path: Path, suffix: str, pyramid: str
) -> None:
    x264 = f"open-gop=1:keyint=15:ref=5:b-pyramid={pyramid}:scenecut=0:b-adapt=0"
    options = {"qp": "2", "bf": "4", "x264-params": x264}
    path = make_video(tmp_path / f"video.{suffix}", count=70, options=options)
    for number in range(70):
        assert decode(path, (number + 0.2) / 30, (number + 0.8) / 30, 1) == [number]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    path.write_bytes(content)
    with raises(VideoError, "video.unreadable", path.name):
        decode_frames(path, 0, 2.3, 8)
    assert decode(path, 0, 0.3, 3) == [1, 4, 7]
    assert decode(path, 2.1, 2.3, 2) == [64, 67]


def test_a_real_encoder_s_open_gops() -> None:
    if not FAULTS.exists():
        pytest.skip(f"needs {FAULTS}")
    bits = 2 ** np.arange(16)
    for start in range(0, 20, 5):  # the number of a frame is in 16 squares, white for 1
        images = decode_frames(FAULTS / "open_gop.mp4", start, start + 5, 150, 64)
        squares = images.mean(axis=3).reshape(-1, 4, 16, 4, 16).mean(axis=(2, 4)) > 128
        assert (squares.reshape(-1, 16) @ bits).tolist() == list(
            range(start * 30, start * 30 + 150)
        )


def test_a_camera_s_file() -> None:
    if not GOPRO.exists():
        pytest.skip(f"needs {GOPRO.name}")
    assert video_seconds(GOPRO) == pytest.approx(10.5105)
    images = decode_frames(GOPRO, 5.51, 10.51, 8)
    assert images.shape == (8, 224, 224, 3)
    assert 40 < images.mean() < 220
    apart = np.abs(np.diff(images.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (apart > 2).all()  # it walks: no frame is another's repetition
    with av.open(str(GOPRO)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 174:  # the frame that is shown at 5.8225 s
                wanted = frame.to_ndarray(format="rgb24", width=395, height=224)[:, 85:309]
                break
    assert np.abs(images[0].astype(int) - wanted).mean() < 3
