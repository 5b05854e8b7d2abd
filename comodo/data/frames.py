"""The times at which a span is sampled, where the picture stands still, and a decoded frame as a
square picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from comodo.config.teacher import FrameShape
from comodo.core.errors import ComodoError

# Bilinear, as in the encoders' own image processors (when it scales down, it averages). Without the
# other two flags the same grey comes out up to 2 levels darker at even widths.
FRAME_SCALING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


STILL_SECONDS = 1.0
"""One frame may be shown for so long, as in poor light; teachers take one each 0.3 to 0.6 s. In a
video of few frames a second, one of which goes missing, for as long as two of them."""
SLIDESHOW_SECONDS = 3.0  # but never for longer: that is no video
PIXELS: dict[FrameShape, type[np.uint8 | np.float32]] = {"crop": np.uint8, "squeeze": np.float32}
"""Type of the values, 0 to 255, of a `square_frame`."""
MIN_CONTRAST = 2.0  # standard deviation of a frame's values, of 255; noise of a covered lens
BLACK = 16.0  # mean value; with a covered lens
MIN_CHANGE = 0.5  # mean difference of two frames; what coding alone changes in a repeated frame
MAX_SLANT = 0.0175  # tangent of the angle, 1 degree, up to which players ignore it


class VideoError(ComodoError, ValueError):
    """A video cannot be decoded as requested."""


@dataclass(frozen=True)
class VideoTrack:
    """What pairing a video, or a part of it, with an IMU needs to know."""

    seconds: float  # from the first frame to the end of the last
    still: tuple[tuple[float, float], ...]  # spans, as `still_spans`
    start: float = 0.0  # of a part, by the video's clock

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def part(self, start: float, end: float) -> "VideoTrack":
        """What of it is in a span, which has to have some of it."""
        start, end = max(start, self.start), min(end, self.end)
        still = ((max(s, start), min(e, end)) for s, e in self.still if s < end and start < e)
        return VideoTrack(end - start, tuple(still), start)


def frame_times(start: float, end: float, count: int) -> np.ndarray:
    """The times at which a span is sampled, float64 [count] in seconds: the middles of equal parts
    of [start, end). Raises ValueError for an empty span or no frames."""
    if not 0 <= start < end or count < 1:
        raise ValueError(f"cannot take {count} frames from the span [{start}, {end}) s")
    return start + (np.arange(count) + 0.5) * ((end - start) / count)


def evenly_chosen(shown_N: np.ndarray, count: int) -> np.ndarray:
    """`count` of these ascending times, evenly from the first to the last, as the published code
    chooses frames: rounded down where they do not divide evenly."""
    return shown_N[np.linspace(0, len(shown_N) - 1, count).astype(np.int64)]


def refuse_too_short(path: str | Path, end: float, frame_seconds: float, times: np.ndarray) -> None:
    """Raises VideoError if the last of `times` is more than one frame after a video's end."""
    if times[-1] > end + frame_seconds:
        message = f"{path}: ends at {end:.3f} s, but a frame at {times[-1]:.3f} s is needed"
        raise VideoError("video.too-short", message)


def still_spans(time_N: np.ndarray, end: float) -> tuple[tuple[float, float], ...]:
    """The spans of a video, in seconds, in which one frame is shown for too long, from when the
    next one is due until it comes; half a frame less at both ends, so that a window which begins or
    ends there does not meet it. `time_N`: when frames are shown, ascending; `end`: until when the
    last is."""
    shown_N = np.diff(time_N, append=end)
    usual = float(np.median(shown_N))
    limit = min(max(STILL_SECONDS, 2 * usual), SLIDESHOW_SECONDS)
    long, usual = shown_N > limit, min(usual, limit / 2)
    begins, ends = time_N + 1.5 * usual, time_N + shown_N - 0.5 * usual
    return tuple(zip(begins[long].tolist(), ends[long].tolist(), strict=True))


def square_frame(
    frame: VideoFrame,
    size: int,
    reformatter: VideoReformatter,
    shape: FrameShape = "crop",
    pixel_aspect: float = 1.0,
) -> np.ndarray:
    """A frame as RGB [size, size, 3], as a player shows it, upright. `crop`: short side scaled,
    centre cropped, uint8; `squeeze`: all of it, as `_squeezed`. `pixel_aspect`: width of a pixel by
    its height. Raises ValueError for an angle that is no multiple of 90 degrees."""
    if shape == "squeeze":
        pixels = _squeezed(frame, size, reformatter)
    else:
        scale = size / min(frame.width * pixel_aspect, frame.height)
        width, height = round(frame.width * pixel_aspect * scale), round(frame.height * scale)
        small = reformatter.reformat(
            frame, width, height, format="rgb24", interpolation=FRAME_SCALING, threads=1
        )
        left, top = (width - size) // 2, (height - size) // 2
        pixels = small.to_ndarray()[top : top + size, left : left + size]
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return pixels if matrix is None else _oriented(pixels, np.frombuffer(bytes(matrix), np.int32))


def _squeezed(frame: VideoFrame, size: int, reformatter: VideoReformatter) -> np.ndarray:
    """All of a frame, float32 RGB [size, size, 3] from 0 to 255: converted to RGB with FFmpeg's
    default flags, then scaled bilinearly (averaged, where it becomes smaller) and not rounded, as
    the published code does. To round would change features by up to 0.4 %."""
    whole = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.float32)
    colours = (Image.fromarray(whole[:, :, colour]) for colour in range(3))
    small = [colour.resize((size, size), Image.Resampling.BILINEAR) for colour in colours]
    return np.stack([np.asarray(colour) for colour in small], axis=2)


def _oriented(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Pixels [H, W, 3] turned and mirrored by a display matrix, int32 [9].

    A camera that is held sideways or mirrors its picture writes it. The pixel at column x and row y
    is shown at column a x + c y and row b x + d y (FFmpeg, libavutil/display.h).
    """
    a, b, _, c, d = matrix[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):  # columns become rows
        pixels, across, down, slant = pixels.swapaxes(0, 1), c, b, max(abs(a), abs(d))
    else:
        across, down, slant = a, d, max(abs(b), abs(c))
    if slant > MAX_SLANT * min(abs(across), abs(down)):
        raise ValueError("is to be shown at an angle that is no multiple of 90 degrees")
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def lifeless(frames_FHW3: np.ndarray) -> str | None:
    """What is wrong with a window's picture: `black`, `of one colour` or `frozen`; None where it
    lives."""
    frames_FHW3 = frames_FHW3.astype(np.float32)
    if frames_FHW3.std(axis=(1, 2)).max() < MIN_CONTRAST:
        return "black" if frames_FHW3.mean() < BLACK else "of one colour"
    moved_F = np.abs(np.diff(frames_FHW3, axis=0)).mean(axis=(1, 2, 3))
    return "frozen" if len(moved_F) and moved_F.max() < MIN_CHANGE else None
