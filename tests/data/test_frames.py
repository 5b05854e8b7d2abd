"""Which moments are sampled, and how a frame becomes a square picture."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.data.frames import VideoError, evenly_chosen, frame_times, lifeless, still_spans
from comodo.data.video import decode_frames, read_track
from tests.data.test_video import make_video, numbers
from tests.errors import raises


def test_frame_times_are_the_middles_of_equal_parts() -> None:
    assert frame_times(10, 15, 5).tolist() == [10.5, 11.5, 12.5, 13.5, 14.5]
    for start, end, count in [(1, 1, 2), (2, 1, 2), (-1, 1, 2), (0, 1, 0)]:
        with pytest.raises(ValueError, match="cannot take"):
            frame_times(start, end, count)


def test_frames_are_chosen_evenly_from_the_first_to_the_last() -> None:
    assert evenly_chosen(np.arange(10, 20), 4).tolist() == [10, 13, 16, 19]
    assert evenly_chosen(np.arange(10), 3).tolist() == [0, 4, 9]  # 4.5 is rounded down
    assert evenly_chosen(np.arange(2), 5).tolist() == [0, 0, 0, 0, 1]
    assert evenly_chosen(np.array([7]), 2).tolist() == [7, 7]


@pytest.mark.parametrize(("width", "height"), [(160, 64), (64, 160), (66, 64)])
def test_the_middle_is_cut_out_at_the_right_aspect(tmp_path: Path, width: int, height: int) -> None:
    path = make_video(tmp_path / "video.mp4", count=2, width=width, height=height)
    images = decode_frames(path, 0, 1 / 30, 1, size=48)
    assert images.shape == (1, 48, 48, 3) and images.dtype == np.uint8
    assert numbers(images) == [0]


def test_what_is_cut_away_and_which_way_is_up(tmp_path: Path) -> None:
    planes = np.full((96, 128), 128, np.uint8)
    planes[:64] = 235  # white at both sides, which are cut away
    planes[:32, 32:96], planes[32:64, 32:96] = 200, 40  # above, below
    for rotation in (0, 90, 180):
        path = tmp_path / f"{rotation}.mp4"
        with av.open(str(path), "w") as output:
            stream: Any = output.add_stream("libx264", rate=30, options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
            stream.set_display_rotation(rotation)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
            output.mux(stream.encode())
        (image,) = np.rot90(decode_frames(path, 0, 0.01, 1, size=64), -rotation // 90, (1, 2))
        grey = image.mean(axis=2)
        assert np.allclose(grey[:30], (200 - 16) * 255 / 219, atol=2)
        assert np.allclose(grey[34:], (40 - 16) * 255 / 219, atol=2)


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_frame_that_is_squeezed_keeps_its_sides(tmp_path: Path, rotation: int) -> None:
    planes = np.full((96, 128), 128, np.uint8)
    planes[:64, :32], planes[:64, 32:96], planes[:64, 96:] = 40, 120, 200
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        output.mux(stream.encode())
    images = decode_frames(path, 0, 0.01, 1, size=64, shape="squeeze")
    (image,) = np.rot90(images, -rotation // 90, (1, 2))
    columns = image.mean(axis=(0, 2)) * 219 / 255 + 16
    expected = np.repeat([40, 120, 200], 2)
    assert np.abs(columns[[2, 13, 18, 45, 50, 61]] - expected).max() < 3
    assert image.dtype == np.float32


ORIENTATIONS = [(a, b, c, d) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)
                for d in (-1, 0, 1) if abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1
                and abs(c) + abs(d) == 1]  # fmt: skip


def make_oriented(path: Path, matrix: tuple[float, ...], sar: Fraction = Fraction(1)) -> Path:
    """64 x 64 pixels whose luma differs in each corner, and a display matrix (a, b, c, d)."""
    a, b, c, d = (round(value * 65536) for value in matrix)
    planes = np.full((96, 64), 128, np.uint8)
    planes[:32, :32], planes[:32, 32:64], planes[32:64, :32], planes[32:64, 32:64] = (
        40,
        90,
        140,
        200,
    )
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = sar
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def corners(image: np.ndarray) -> list[int]:
    """Which of the four corners of `make_oriented` is where: top left, top right, bottom ..."""
    grey = image.mean(axis=2) * 219 / 255 + 16
    places = [(8, 8), (8, -8), (-8, 8), (-8, -8)]
    return [int(np.argmin(np.abs(np.array([40, 90, 140, 200]) - grey[place]))) for place in places]


@pytest.mark.parametrize("matrix", ORIENTATIONS)
@pytest.mark.parametrize("sar", [Fraction(1), Fraction(4, 3)])
def test_all_eight_orientations(tmp_path: Path, matrix: tuple[int, ...], sar: Fraction) -> None:
    assert len(ORIENTATIONS) == 8
    path = make_oriented(tmp_path / "video.mp4", matrix, sar)
    a, b, c, d = matrix
    expected = [0] * 4
    for corner, (x, y) in enumerate([(-1, -1), (1, -1), (-1, 1), (1, 1)]):  # from the centre
        across, down = a * x + c * y, b * x + d * y
        expected[(across > 0) + 2 * (down > 0)] = corner
    assert corners(decode_frames(path, 0, 0.01, 1, size=64)[0]) == expected


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", ["", "h", "v"])
def test_rotations_and_flips_are_those_that_ffmpeg_writes(
    tmp_path: Path, degrees: int, flips: str
) -> None:
    path = tmp_path / "video.mp4"
    make_oriented(path, (1, 0, 0, 1))
    plain = decode_frames(path, 0, 0.01, 1, size=64)[0]
    # FFmpeg rotates counter-clockwise, then flips.
    turned = np.rot90(plain, degrees // 90)
    expected = turned[:, ::-1] if flips == "h" else turned[::-1] if flips == "v" else turned
    with av.open(str(path)) as source, av.open(str(tmp_path / "turned.mp4"), "w") as output:
        stream: Any = output.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees, hflip=flips == "h", vflip=flips == "v")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    found = decode_frames(tmp_path / "turned.mp4", 0, 0.01, 1, size=64)[0]
    assert corners(found) == corners(expected)


def test_an_angle_that_no_camera_has_is_refused(tmp_path: Path) -> None:
    path = make_oriented(tmp_path / "slanted.mp4", (0.8, 0.6, -0.6, 0.8))
    with raises(VideoError, "video.bad-shape", "slanted.mp4", "90 degrees", "ffmpeg"):
        read_track(path)
    almost = make_oriented(tmp_path / "almost.mp4", (0.9999, 0.01, -0.01, 0.9999))
    assert corners(decode_frames(almost, 0, 0.01, 1, size=64)[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("sar", [Fraction(4, 3), Fraction(3, 4), Fraction(64, 45), Fraction(2)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pixels_that_are_not_square(tmp_path: Path, sar: Fraction, suffix: str) -> None:
    size = 128
    width = round(192 / sar)  # so that a player shows 192 x 128
    width -= width % 2
    y, x = np.mgrid[:size, :width]
    disc = (x + 0.5 - width / 2) ** 2 * float(sar) ** 2 + (y + 0.5 - size / 2) ** 2 < 50**2
    planes = np.full((size * 3 // 2, width), 128, np.uint8)
    planes[:size] = np.where(disc, 200, 40)
    path = tmp_path / f"video.{suffix}"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = width, size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = sar
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    white = decode_frames(path, 0, 0.01, 1, size=128)[0].mean(axis=2) > 128
    assert abs(int(white.any(axis=0).sum()) - int(white.any(axis=1).sum())) <= 3  # round


@given(
    st.lists(st.sampled_from([0.02, 0.04, 0.5, 0.85, 1.01, 3.0, 60.0]), min_size=8, max_size=40),
    st.floats(0.01, 0.1),
)
def test_every_long_stay_is_found_and_nothing_else(extra: list[float], usual: float) -> None:
    # Stays that are longer than the usual one, each between frames at the usual rate.
    stays = np.ravel([[usual, usual, usual + more] for more in extra])
    time_N = np.concatenate([[0], np.cumsum(stays)])
    spans = still_spans(time_N[:-1], float(time_N[-1]))
    long = [n for n, stay in enumerate(stays) if stay > 1.0]
    assert np.allclose([s for s, _ in spans], [time_N[n] + 1.5 * usual for n in long])
    assert np.allclose([e for _, e in spans], [time_N[n + 1] - 0.5 * usual for n in long])


def test_a_slow_video_is_no_slideshow_and_a_slideshow_no_video() -> None:
    for seconds, still in [(0.5, 0), (1.0, 0), (2.0, 0), (4.0, 10), (20.0, 10)]:
        assert len(still_spans(np.arange(10) * seconds, 10 * seconds)) == still
    assert still_spans(np.array([0.0]), 20.0) == ((2.25, 19.25),)


def test_pictures_without_life() -> None:
    rng = np.random.default_rng(0)
    alive = rng.integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    noise = rng.integers(-1, 2, (4, 32, 32, 3))
    assert lifeless(alive) is None and lifeless(alive[:1]) is None
    assert lifeless(np.repeat(alive[:1], 4, axis=0)) == "frozen"
    assert lifeless((5 + noise).astype(np.uint8)) == "black"
    assert lifeless((99 + noise).astype(np.uint8)) == "of one colour"
    half = np.concatenate([np.zeros_like(alive), alive])
    assert lifeless(half) is None


@pytest.mark.parametrize("rate", [10, 25, 29.97, 30, 60])
def test_windows_that_end_or_begin_with_a_hole_do_not_meet_it(rate: float) -> None:
    time_N = np.arange(0, 20, 1 / rate)
    time_N = np.round(time_N[(time_N < 5 - 1e-9) | (time_N >= 15)], 3)  # a clock of milliseconds
    ((first, last),) = still_spans(time_N, 20.0)
    assert 5 <= first < 5.2 and 14.8 < last <= 15
