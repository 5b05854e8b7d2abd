"""Which moments of a span are sampled, and how a decoded frame becomes a square picture."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from comodo.core.errors import ComodoError

# Bilinear, as the encoders' own image processors scale (shrinking, it averages what it covers). The
# two flags matter: without them the same grey comes out up to 2 levels darker at even widths.
FRAME_SCALING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


class VideoError(ComodoError, ValueError):
    """A video cannot give what was asked of it; the text names the file and the reason."""


def frame_times(start: float, end: float, count: int) -> np.ndarray:
    """The moments at which a span is sampled: the middles of `count` equal parts of [start, end).

    Returns float64 [count], in seconds, rising. Raises ValueError for an empty span or no frames.
    """
    if not 0 <= start < end or count < 1:
        raise ValueError(f"cannot take {count} frames from the span [{start}, {end}) s")
    return start + (np.arange(count) + 0.5) * ((end - start) / count)


def square_frame(frame: VideoFrame, size: int, reformatter: VideoReformatter) -> np.ndarray:
    """A frame as uint8 RGB [size, size, 3]: short side scaled, middle cut out, upright."""
    scale = size / min(frame.width, frame.height)
    width, height = round(frame.width * scale), round(frame.height * scale)
    small = reformatter.reformat(
        frame, width, height, format="rgb24", interpolation=FRAME_SCALING, threads=1
    )
    left, top = (width - size) // 2, (height - size) // 2
    pixels = small.to_ndarray()[top : top + size, left : left + size]
    # Cameras held sideways or upside down write how far to turn the picture, counter-clockwise.
    return np.rot90(pixels, frame.rotation // 90)
