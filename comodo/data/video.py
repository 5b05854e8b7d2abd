"""Decoding a span of a video file: the frames that a player would show, square, as NumPy arrays.

Files of FFmpeg's formats are decoded here, Project Aria's VRS files in `aria_vrs`. Knows nothing of
windows, data sets or encoders.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from comodo.data import aria_vrs
from comodo.data.frames import VideoError, frame_times, refuse_too_short, square_frame

TICK_TOLERANCE = 1e-4  # ticks of the stream's clock; a float time this close to a tick equals it
END_OF_FILE = 2**62  # in ticks of any clock; seeking there finds the last key frame


def video_seconds(path: str | Path) -> float:
    """Seconds from the first frame of the video stream to the end of its last. Raises VideoError if
    the file is missing, empty, damaged or without video."""
    if _is_vrs(path):
        return aria_vrs.video_seconds(path)
    with _open(path) as (container, stream):
        ticks = stream.duration or _ticks_of_packets(container, stream)  # header lacks it
        return float(ticks * _tick(stream))


def decode_frames(
    path: str | Path, start: float, end: float, count: int, size: int = 224
) -> np.ndarray:
    """The frames shown at `frame_times(start, end, count)`, as uint8 RGB [count, size, size, 3].

    Times are in seconds from the stream's first frame. The frame shown at a time is the last one
    presented at or before it. Its short side is scaled to `size` pixels and its centre is cropped.
    Raises VideoError if the file is missing, empty, damaged, without video, or ends too early.
    """
    try:
        times = frame_times(start, end, count)
    except ValueError as error:
        raise VideoError("video.bad-span", f"{path}: {error}") from error
    if _is_vrs(path):
        return aria_vrs.decode_frames(path, times, size)
    with _open(path) as (container, stream):
        tick = float(_tick(stream))
        first = _first_tick(container, stream)
        wanted = first + np.floor(times / tick + TICK_TOLERANCE).astype(np.int64)
        images = np.empty((count, size, size, 3), np.uint8)
        reformatter = VideoReformatter()

        done = 0
        shown: VideoFrame | None = None
        shown_at = 0
        for frame_at, frame in _frames_from(container, stream, int(wanted[0]), first):
            until = int(np.searchsorted(wanted, frame_at))
            if shown is not None and until > done:
                images[done:until] = square_frame(shown, size, reformatter)
                done = until
                if done == count:
                    return images
            shown, shown_at = frame, frame_at

        # At the end of the file its last frame is shown for its own duration, plus one more.
        if shown is None:
            message = f"{path}: no frame could be decoded near {times[0]:.3f} s"
            raise VideoError("video.no-frame", message)
        seconds = shown.duration * tick or float(1 / (stream.guessed_rate or 25))
        refuse_too_short(path, (shown_at - first) * tick + seconds, seconds, times)
        images[done:] = square_frame(shown, size, reformatter)
        return images


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
    with _open(path) as (container, stream):
        tick = float(_tick(stream))
        first = _first_tick(container, stream)
        reformatter = VideoReformatter()
        due = 0.0
        for frame_at, frame in _frames_from(container, stream, first, first):
            time = (frame_at - first) * tick
            if time >= max_seconds:
                break
            if time + TICK_TOLERANCE * tick >= due:
                times.append(time)
                images.append(square_frame(frame, size, reformatter))
                due = (np.floor(time * rate + 1e-6) + 1) / rate
    return np.array(times), np.array(images, np.uint8).reshape(-1, size, size, 3)


def _is_vrs(path: str | Path) -> bool:
    """Whether a file is from Project Aria glasses, which FFmpeg cannot read."""
    return Path(path).suffix.lower() == ".vrs"


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file for decoding; what FFmpeg raises within the block becomes a VideoError."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("video.no-stream", f"{path}: has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                message = f"{path}: FFmpeg does not know its codec; convert it to H.264"
                raise VideoError("video.unknown-codec", message)
            # Callers decode many spans at once, one on each core.
            stream.codec_context.thread_count = 1
            # By default FFmpeg conceals damage with parts of other frames and reports no error.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except (av.FFmpegError, UnicodeDecodeError) as error:  # the latter for the file's metadata
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise VideoError("video.empty-file", f"{path}: is empty (0 bytes)") from error
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        message = f"{path}: cannot be read as video ({reason})"
        raise VideoError("video.unreadable", message) from error


def _tick(stream: VideoStream) -> Fraction:
    """Seconds of one tick of the stream's clock."""
    if stream.time_base is None:
        message = f"{stream.container.name}: its video stream has no time base"
        raise VideoError("video.no-clock", message)
    return stream.time_base


def _first_tick(container: InputContainer, stream: VideoStream) -> int:
    """When the stream's first frame is shown, on the stream's clock."""
    key = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
    if key is None:
        raise VideoError("video.no-key-frame", f"{container.name}: has no key frame to decode from")
    # Frames before the key frame cannot be decoded; an edit list hides those before the start.
    return max(_time(key), stream.start_time or 0)


def _ticks_of_packets(container: InputContainer, stream: VideoStream) -> int:
    """The stream's length in ticks, measured from the packets after its last key frame."""
    # The container's duration will not do: it may count from zero, or be that of the audio.
    first = _first_tick(container, stream)
    for target in (END_OF_FILE, first):  # formats that cannot seek to the end: read every packet
        container.seek(target, stream=stream)
        ends = [p.pts + (p.duration or 0) for p in container.demux(stream) if p.pts is not None]
        if ends:
            return max(ends) - first
    raise VideoError("video.no-length", f"{container.name}: its length cannot be determined")


def _frames_from(
    container: InputContainer, stream: VideoStream, wanted: int, first: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in presentation order, from at or before tick `wanted` to the file's end."""
    target, step = wanted, round(1 / _tick(stream))
    lowest = min(first, max(0, first - step))  # decoding may have to start before the first frame
    while True:
        container.seek(target, stream=stream)
        frames = _decoded(container, stream)
        found = next(frames, None)
        if target <= lowest or (found is not None and found[0] <= wanted):
            return chain([found] if found is not None else [], frames)
        # Too late: some formats seek by decoding time or by byte, and some streams show nothing for
        # a while after a key frame. Go further back.
        target, step = max(target - step, lowest), step * 2


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in presentation order, from the next key frame to the file's end."""
    packets = container.demux(stream)
    key = next((packet for packet in packets if packet.is_keyframe), None)
    if key is None:
        return
    start, latest = _time(key), -math.inf
    for packet in chain([key], packets):
        # Frames shown before the key frame refer to earlier frames, which were not decoded.
        # (The empty packet at the end flushes the decoder.)
        if packet.size and _time(packet) < start:
            continue
        for frame in packet.decode():
            if frame.pts is None or frame.pts < latest:
                message = f"{container.name}: times of frames are missing or not rising"
                raise VideoError("video.bad-times", message)
            latest = frame.pts
            yield frame.pts, frame


def _time(packet: "Packet[VideoStream]") -> int:
    """When a packet's frame is presented, in ticks; if that is unknown, when it is decoded."""
    return packet.pts if packet.pts is not None else packet.dts or 0
