"""Decoding a span of a video file into frames.

Its one job: given a file and a span in seconds, give the frames that a player would show at evenly
spaced moments of the span, square and small enough for a video encoder. It deliberately knows
nothing of windows, datasets, encoders, tensors or Ray: paths and seconds in, NumPy arrays out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from comodo.data.frames import VideoError, frame_times, square_frame

# A float time that misses a tick of the stream's clock by less than this part of it counts as it.
TICK_TOLERANCE = 1e-4
# A time past the end of any file, in ticks of any clock: seeking there finds the last key frame.
FAR = 2**62


def video_seconds(path: str | Path) -> float:
    """Seconds from the first frame of the video stream to the end of its last.

    The file's header says it; where it does not, the packets at the stream's end do.
    Raises VideoError if the file is missing, empty, damaged or without video.
    """
    if _is_vrs(path):
        from comodo.data import aria_vrs

        return aria_vrs.video_seconds(str(path))
    with _open(path) as (container, stream):
        ticks = stream.duration or _ticks_of_packets(container, stream)
        return float(ticks * _tick(stream))


def decode_frames(
    path: str | Path, start: float, end: float, count: int, size: int = 224
) -> np.ndarray:
    """The frames shown at `frame_times(start, end, count)`, as uint8 RGB [count, size, size, 3].

    Times count from the stream's first frame, in seconds. The frame shown at a time is the last one
    presented at or before it. Its short side is scaled to `size` pixels and the middle is cut out.
    Raises VideoError if the file is missing, empty, damaged, without video, or ends too early.
    """
    if _is_vrs(path):
        from comodo.data import aria_vrs

        return aria_vrs.decode_frames(str(path), start, end, count, size)
    with _open(path) as (container, stream):
        try:
            times = frame_times(start, end, count)
        except ValueError as error:
            raise VideoError(f"{path}: {error}") from error
        tick = float(_tick(stream))
        first = _first_tick(container, stream)
        wanted = first + np.floor(times / tick + TICK_TOLERANCE).astype(np.int64)
        images = np.empty((count, size, size, 3), np.uint8)
        reformatter = VideoReformatter()

        done = 0
        shown: VideoFrame | None = None
        shown_at = 0
        for frame_at, frame in _frames_from(container, stream, int(wanted[0]), first):
            if shown is not None:
                until = int(np.searchsorted(wanted, frame_at))
                if until > done:
                    images[done:until] = square_frame(shown, size, reformatter)
                    done = until
                if done == count:
                    return images
            shown, shown_at = frame, frame_at

        # The file has ended: its last frame serves only for the time that it lasts, and one more.
        if shown is None:
            raise VideoError(f"{path}: no frame could be decoded near {times[0]:.3f} s")
        seconds = shown.duration * tick or float(1 / (stream.guessed_rate or 25))
        ends = (shown_at - first) * tick + seconds
        if times[-1] > ends + seconds:
            raise VideoError(
                f"{path}: ends at {ends:.3f} s, a frame at {times[-1]:.3f} s is wanted"
            )
        images[done:] = square_frame(shown, size, reformatter)
        return images


def frames_at_rate(
    path: str | Path, rate: float, longest: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each `1 / rate` seconds in the first `longest` seconds.

    Returns when they are shown, float64 [M], seconds from the stream's first frame, and the frames,
    uint8 RGB [M, size, size, 3], cut as by `decode_frames`. Raises VideoError as it does, but not
    for a file that ends early.
    """
    if _is_vrs(path):
        from comodo.data import aria_vrs

        return aria_vrs.frames_at_rate(str(path), rate, longest, size)
    times: list[float] = []
    images: list[np.ndarray] = []
    with _open(path) as (container, stream):
        tick = float(_tick(stream))
        first = _first_tick(container, stream)
        reformatter = VideoReformatter()
        due = 0.0
        for frame_at, frame in _frames_from(container, stream, first, first):
            time = (frame_at - first) * tick
            if time >= longest:
                break
            if time + TICK_TOLERANCE * tick >= due:
                times.append(time)
                images.append(square_frame(frame, size, reformatter))
                due = (np.floor(time * rate + 1e-6) + 1) / rate
    return np.array(times), np.array(images, np.uint8).reshape(-1, size, size, 3)


def _is_vrs(path: str | Path) -> bool:
    """Whether a file is a recording of Project Aria's glasses, which FFmpeg cannot read."""
    return Path(path).suffix.lower() == ".vrs"


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file for decoding; whatever FFmpeg raises meanwhile becomes a VideoError."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError(f"{path}: its video is of a kind that FFmpeg does not know")
            # Callers decode many spans at once, one core each.
            stream.codec_context.thread_count = 1
            # Otherwise a damaged picture is patched with pieces of others and passed off as good.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except av.FFmpegError as error:
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise VideoError(f"{path}: is empty (0 bytes)") from error
        raise VideoError(f"{path}: cannot be read as video ({error.strerror})") from error
    except UnicodeDecodeError as error:  # PyAV, of the file's remarks
        raise VideoError(f"{path}: cannot be read as video ({error})") from error


def _tick(stream: VideoStream) -> Fraction:
    """Seconds that one unit of the stream's clock lasts."""
    if stream.time_base is None:
        raise VideoError(f"{stream.container.name}: its video stream has no clock")
    return stream.time_base


def _first_tick(container: InputContainer, stream: VideoStream) -> int:
    """When the stream's first frame is shown, on the stream's clock."""
    key = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
    if key is None:
        raise VideoError(f"{container.name}: has no frame that decoding could start from")
    # Frames before the key frame cannot be decoded, and an edit list hides those before the start.
    return max(_time(key), stream.start_time or 0)


def _ticks_of_packets(container: InputContainer, stream: VideoStream) -> int:
    """The stream's length in ticks, measured from the packets after its last key frame."""
    # The container's own length is no substitute: it may count from zero, or be the sound's.
    first = _first_tick(container, stream)
    for target in (FAR, first):  # where a format cannot find its end, every packet is looked at
        container.seek(target, stream=stream)
        ends = [p.pts + (p.duration or 0) for p in container.demux(stream) if p.pts is not None]
        if ends:
            return max(ends) - first
    raise VideoError(f"{container.name}: its length is neither written nor measurable")


def _frames_from(
    container: InputContainer, stream: VideoStream, wanted: int, first: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in the order shown, from at or before tick `wanted` to the file's end."""
    target, step = wanted, round(1 / _tick(stream))
    lowest = min(first, max(0, first - step))  # decoding may start before showing does
    while True:
        container.seek(target, stream=stream)
        frames = _decoded(container, stream)
        found = next(frames, None)
        if target <= lowest or (found is not None and found[0] <= wanted):
            return chain([found] if found is not None else [], frames)
        # Some formats seek by decoding time or by byte, and so land too late; some streams show
        # nothing for a while after a key frame. Go further back.
        target, step = max(target - step, lowest), step * 2


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
    """Ticks and frames in the order shown, from the container's next key frame to the end."""
    packets = container.demux(stream)
    key = next((packet for packet in packets if packet.is_keyframe), None)
    if key is None:
        return
    start, latest = _time(key), -FAR
    for packet in chain([key], packets):
        # Pictures shown before the key frame lean on others before it, which were not decoded.
        # (The empty packet at the end draws out what the decoder still holds.)
        if packet.size and _time(packet) < start:
            continue
        for frame in packet.decode():
            if frame.pts is None or frame.pts < latest:
                raise VideoError(f"{container.name}: its frames' times are missing or disordered")
            latest = frame.pts
            yield latest, frame


def _time(packet: "Packet[VideoStream]") -> int:
    """When a packet's picture is shown, on the stream's clock; when decoded, if that is unknown."""
    return packet.pts if packet.pts is not None else packet.dts or 0
