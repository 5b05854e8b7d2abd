"""The times at which a span is sampled, and a decoded frame as a square picture."""

from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from comodo.core.errors import ComodoError

# Bilinear, as in the encoders' own image processors (when it scales down, it averages). Without the
# other two flags the same grey comes out up to 2 levels darker at even widths.
FRAME_SCALING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


class VideoError(ComodoError, ValueError):
    """A video cannot be decoded as requested."""


def frame_times(start: float, end: float, count: int) -> np.ndarray:
    """The times at which a span is sampled, float64 [count] in seconds: the middles of equal parts
    of [start, end). Raises ValueError for an empty span or no frames."""
    if not 0 <= start < end or count < 1:
        raise ValueError(f"cannot take {count} frames from the span [{start}, {end}) s")
    return start + (np.arange(count) + 0.5) * ((end - start) / count)


def refuse_too_short(path: str | Path, end: float, frame_seconds: float, times: np.ndarray) -> None:
    """Raises VideoError if the last of `times` is more than one frame after a video's end."""
    if times[-1] > end + frame_seconds:
        message = f"{path}: ends at {end:.3f} s, but a frame at {times[-1]:.3f} s is needed"
        raise VideoError("video.too-short", message)


def square_frame(frame: VideoFrame, size: int, reformatter: VideoReformatter) -> np.ndarray:
    """A frame as uint8 RGB [size, size, 3]: short side scaled, centre cropped, upright."""
    scale = size / min(frame.width, frame.height)
    width, height = round(frame.width * scale), round(frame.height * scale)
    small = reformatter.reformat(
        frame, width, height, format="rgb24", interpolation=FRAME_SCALING, threads=1
    )
    left, top = (width - size) // 2, (height - size) // 2
    pixels = small.to_ndarray()[top : top + size, left : left + size]
    # A camera held sideways or upside down stores by how much to rotate, counter-clockwise.
    return np.rot90(pixels, frame.rotation // 90)
