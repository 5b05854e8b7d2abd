"""Decoding a span of a video file: the frames that a player would show, square, as NumPy arrays.

Files of FFmpeg's formats are decoded here, Project Aria's VRS files in `aria_vrs`. Knows nothing of
windows, data sets or encoders.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av import VideoFrame, VideoStream
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from comodo.config.teacher import FrameChoice, FrameShape
from comodo.data import aria_vrs
from comodo.data.container import (
    first_tick,
    is_filled,
    length_in_ticks,
    open_video,
    read_times,
    tick_of,
    time_of,
    times_shown,
)
from comodo.data.frames import (
    PIXELS,
    STILL_SECONDS,
    VideoError,
    VideoTrack,
    evenly_chosen,
    frame_times,
    refuse_too_short,
    square_frame,
    still_spans,
)

TICK_TOLERANCE = 1e-4  # ticks of the stream's clock; a float time this close to a tick equals it
MOST_PIXEL_ASPECT = 8.0  # width by height of a pixel, or the reverse
CONVERT = "ffmpeg -i OLD -c:v libx264 -crf 18 NEW.mp4"


def video_seconds(path: str | Path) -> float:
    """Seconds from the first frame of the video stream to the end of its last. Raises VideoError if
    the file is missing, empty, damaged or without video."""
    if _is_vrs(path):
        return aria_vrs.video_seconds(path)
    with open_video(path) as (container, stream):
        return float(length_in_ticks(container, stream) * tick_of(stream))


def read_track(path: str | Path) -> VideoTrack:
    """Length of a video, as `video_seconds`, and where its picture stands still.

    Reads the container's index where that shows that no frame is missing, else the whole file.
    Raises VideoError as `video_seconds`, and if the first or last frame cannot be decoded, the file
    is a photo, or its clock restarts.
    """
    if _is_vrs(path):
        return aria_vrs.read_track(path)
    with open_video(path) as (container, stream):
        tick = float(tick_of(stream))
        seconds = length_in_ticks(container, stream) * tick
        filled = is_filled(container, stream, STILL_SECONDS / tick)
    still: tuple[tuple[float, float], ...] = ()
    if not filled:
        with open_video(path) as (container, stream):
            time_N = read_times(container, stream) * tick
        if len(time_N) < 2:
            raise VideoError("video.one-frame", f"{path}: has a single frame, so it is no video")
        still = still_spans(time_N, seconds)
    # So that encode can decode what prepare accepts. In containers that may not know in which order
    # frames are shown (H.264 in AVI), a single frame would not tell.
    moment = min(seconds, 1e-3)
    decode_frames(path, 0, moment if filled else min(seconds, 1.0), 2, size=16)
    decode_frames(path, seconds - moment, seconds, 1, size=16)
    return VideoTrack(seconds, still)


def first_frame_seconds(path: str | Path) -> float:
    """When a file's first frame is shown, in seconds of the file's own clock. Raises VideoError."""
    with open_video(path) as (container, stream):
        return float(first_tick(container, stream) * tick_of(stream))


def decode_frames(
    path: str | Path,
    start: float,
    end: float,
    count: int,
    size: int = 224,
    shape: FrameShape = "crop",
    choice: FrameChoice = "middles",
) -> np.ndarray:
    """Frames of a span as RGB [count, size, size, 3]: those shown at `frame_times(start, end,
    count)` or, with the choice `ends`, of all that are shown in the span those `evenly_chosen`.

    Times are in seconds from the stream's first frame. The frame shown at a time is the last one
    presented at or before it. `shape`: as in `square_frame`; values are uint8, or float32 of frames
    that are squeezed. Raises VideoError if the file is missing, empty, damaged, without video, or
    ends too early.
    """
    return decode_spans(path, [(start, end)], count, size, shape, choice)[0]


def decode_spans(
    path: str | Path,
    spans: Sequence[tuple[float, float]],
    count: int,
    size: int = 224,
    shape: FrameShape = "crop",
    choice: FrameChoice = "middles",
) -> np.ndarray:
    """The frames of several spans that overlap, each as by `decode_frames`, [spans, count, size,
    size, 3]: what is between the first and the last is decoded once. Raises VideoError if one of
    them cannot be decoded."""
    try:
        times = np.stack([frame_times(start, end, count) for start, end in spans])
    except ValueError as error:
        raise VideoError("video.bad-span", f"{path}: {error}") from error
    if _is_vrs(path):
        ends = spans if choice == "ends" else [None] * len(spans)
        each = zip(times, ends, strict=True)
        return np.stack([aria_vrs.decode_frames(path, at, size, shape, span) for at, span in each])
    with open_video(path) as (container, stream):
        tick = float(tick_of(stream))
        first = first_tick(container, stream)
        if choice == "ends":
            each_wanted = []
            for start, end in spans:
                ticks = (
                    first + math.floor(start / tick + TICK_TOLERANCE),
                    first + math.ceil(end / tick - TICK_TOLERANCE),
                )
                in_span = times_shown(container, stream, *ticks, first)
                if not len(in_span):
                    raise _no_frame(path, start)
                each_wanted.append(evenly_chosen(in_span, count))
            all_wanted = np.stack(each_wanted)
        else:
            all_wanted = first + np.floor(times / tick + TICK_TOLERANCE).astype(np.int64)
        wanted, places = np.unique(all_wanted, return_inverse=True)
        places = places.reshape(all_wanted.shape)
        images = np.empty((len(wanted), size, size, 3), PIXELS[shape])
        reformatter = VideoReformatter()

        done = 0
        shown: VideoFrame | None = None
        shown_at = 0
        for frame_at, frame in _frames_from(container, stream, int(wanted[0]), first):
            until = int(np.searchsorted(wanted, frame_at))
            if shown is not None and until > done:
                images[done:until] = _square(container, stream, shown, size, reformatter, shape)
                done = until
                if done == len(wanted):
                    return images[places]
            shown, shown_at = frame, frame_at

        # At the end of the file its last frame is shown for its own duration, plus one more.
        if shown is None:
            raise _no_frame(path, times[0, 0])
        seconds = shown.duration * tick or float(1 / (stream.guessed_rate or 25))
        end = (shown_at - first) * tick + seconds
        refuse_too_short(path, end, seconds, np.sort(times.ravel()))
        images[done:] = _square(container, stream, shown, size, reformatter, shape)
        return images[places]


def _no_frame(path: str | Path, time: float) -> VideoError:
    return VideoError("video.no-frame", f"{path}: no frame could be decoded near {time:.3f} s")


def frames_at_rate(
    path: str | Path, rate: float, max_seconds: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each `1 / rate` seconds in the first `max_seconds`: when they are shown,
    float64 [M], in seconds from the stream's first frame, and uint8 RGB [M, size, size, 3].

    Cropped as by `decode_frames`. Raises VideoError as it does, but not for a file that ends early.
    """
    if _is_vrs(path):
        return aria_vrs.frames_at_rate(path, rate, max_seconds, size)
    times: list[float] = []
    images: list[np.ndarray] = []
    with open_video(path) as (container, stream):
        tick = float(tick_of(stream))
        first = first_tick(container, stream)
        reformatter = VideoReformatter()
        due = 0.0
        for frame_at, frame in _frames_from(container, stream, first, first):
            time = (frame_at - first) * tick
            if time >= max_seconds:
                break
            if time + TICK_TOLERANCE * tick >= due:
                times.append(time)
                images.append(_square(container, stream, frame, size, reformatter))
                due = (np.floor(time * rate + 1e-6) + 1) / rate
    return np.array(times), np.array(images, np.uint8).reshape(-1, size, size, 3)


def _is_vrs(path: str | Path) -> bool:
    """Whether a file is from Project Aria glasses, which FFmpeg cannot read."""
    return Path(path).suffix.lower() == ".vrs"


class _DecodingError(Exception):
    """A packet could not be decoded. Attributes: `start`, when the key frame is shown that decoding
    began with; `cause`."""

    def __init__(self, start: int, cause: Exception) -> None:
        super().__init__(start, cause)
        self.start, self.cause = start, cause


def _frames_from(
    container: InputContainer, stream: VideoStream, wanted: int, first: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in presentation order, from at or before tick `wanted` to the file's end."""
    target, step = wanted, round(1 / tick_of(stream))
    found, latest, sound = False, -math.inf, -math.inf
    while target > first:
        container.seek(target, stream=stream)
        try:
            for frame_at, frame in _decoded(container, stream, sound):
                if not found and frame_at > wanted:
                    break
                if frame_at > latest:
                    yield frame_at, frame
                    found, latest = True, frame_at
            if found:
                return
            # Too late: some formats seek by decoding time or by byte, and some streams show nothing
            # for a while after a key frame. Go further back.
            latest = sound = -math.inf
        except _DecodingError as error:
            if error.start < sound:
                raise error.cause from None
            # Either the file is damaged, or (in an open GOP) what comes after this key frame refers
            # to frames before it. Then it is sound when decoding begins earlier; what fails there
            # is not needed.
            if error.start <= wanted:
                sound = error.start
                latest = max(latest, sound - 1)
        target, step = target - step, step * 2
    with open_video(container.name) as again:  # not all formats can seek to their start
        try:
            yield from (found for found in _decoded(*again, sound) if found[0] > latest)
        except _DecodingError as error:
            raise error.cause from None


def _decoded(
    container: InputContainer, stream: VideoStream, sound: float
) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in presentation order, from the next key frame to the file's end. Raises
    _DecodingError for a packet that is shown at tick `sound` or later; earlier ones are left
    out."""
    packets = container.demux(stream)
    key = next((packet for packet in packets if packet.is_keyframe), None)
    if key is None:
        return
    start, latest = time_of(key), -math.inf
    for packet in chain([key], packets):
        # Empty packets repeat a frame; but the last one, without a time, flushes the decoder.
        if not packet.size and packet.dts is not None:
            continue
        at = time_of(packet) if packet.size else math.inf
        # Frames shown before the key frame refer to earlier frames, which were not decoded.
        if at < start:
            continue
        try:
            if packet.is_corrupt:
                message = f"{container.name}: cannot be read as video (data is missing)"
                raise VideoError("video.unreadable", message)
            frames = packet.decode()
        except (av.FFmpegError, VideoError) as error:
            if at < sound:
                continue
            raise _DecodingError(start, error) from error
        for frame in frames:
            if frame.pts is None or frame.pts < latest:
                message = "times of its frames are missing or not rising; convert it"
                raise VideoError("video.bad-times", f"{container.name}: {message}: {CONVERT}")
            latest = frame.pts
            yield frame.pts, frame


def _square(
    container: InputContainer,
    stream: VideoStream,
    frame: VideoFrame,
    size: int,
    reformatter: VideoReformatter,
    shape: FrameShape = "crop",
) -> np.ndarray:
    """The frame by `square_frame`. Raises VideoError for a shape that no camera has."""
    pixel_aspect = float(stream.sample_aspect_ratio or 1)
    try:
        if not 1 / MOST_PIXEL_ASPECT <= pixel_aspect <= MOST_PIXEL_ASPECT:
            raise ValueError(f"has pixels of {pixel_aspect:g} times their height")
        return square_frame(frame, size, reformatter, shape, pixel_aspect)
    except ValueError as error:
        message = f"{container.name}: its picture {error}; write it upright: {CONVERT}"
        raise VideoError("video.bad-shape", message) from None
