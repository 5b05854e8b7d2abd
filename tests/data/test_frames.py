"""Which moments are sampled, and how a frame becomes a square picture."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from comodo.data.frames import frame_times
from comodo.data.video import decode_frames
from tests.data.test_video import make_video, numbers


def test_frame_times_are_the_middles_of_equal_parts() -> None:
    assert frame_times(10, 15, 5).tolist() == [10.5, 11.5, 12.5, 13.5, 14.5]
    for start, end, count in [(1, 1, 2), (2, 1, 2), (-1, 1, 2), (0, 1, 0)]:
        with pytest.raises(ValueError, match="cannot take"):
            frame_times(start, end, count)


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
