"""A video file's stream, its clock and the times of its frames, without decoding any.

Knows FFmpeg's formats; Project Aria's VRS files are read in `aria_vrs`.
"""

import errno
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av import Packet, VideoStream
from av.container import InputContainer
from av.stream import Disposition

from comodo.data.frames import VideoError

END_OF_FILE = 2**62  # in ticks of any clock; seeking there finds the last key frame
PICTURES = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent  # a layer or a tile of another stream
)
PACKETS_TO_TELL = 250  # from a file's start, to tell a video from a picture that is not marked
REMUX = "ffmpeg -i OLD -map 0:v:0 -c copy NEW.mp4"


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file for decoding; what FFmpeg raises within the block becomes a VideoError."""
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container)
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
        raise VideoError("video.unreadable", message) from _cause(path, error)


def _cause(path: str | Path, error: Exception) -> Exception:
    """The error of the disk itself, if it has one: FFmpeg's own says the same of a damaged file."""
    if getattr(error, "errno", None) == errno.EIO:
        try:
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
        except OSError as of_disk:
            return of_disk
    return error


def _video_stream(container: InputContainer) -> VideoStream:
    """The stream that a player shows: no cover or thumbnail; of several the file's default one,
    then the largest. Raises VideoError if there is none."""
    streams = [stream for stream in container.streams.video if not stream.disposition & PICTURES]
    if not streams:
        raise VideoError("video.no-stream", f"{container.name}: has no video stream")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        message = f"{container.name}: FFmpeg does not know its codec; convert it to H.264"
        raise VideoError("video.unknown-codec", message)
    if len(known) > 1:  # not every program marks a cover as one
        with av.open(container.name) as again:
            packets = islice(again.demux(video=[s.index for s in known]), PACKETS_TO_TELL)
            counts = Counter(packet.stream_index for packet in packets if packet.size)
        known = [stream for stream in known if counts[stream.index] > 1] or known
    return max(known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def tick_of(stream: VideoStream) -> Fraction:
    """Seconds of one tick of the stream's clock."""
    if stream.time_base is None:
        message = f"{stream.container.name}: its video stream has no time base"
        raise VideoError("video.no-clock", message)
    return stream.time_base


def time_of(packet: "Packet[VideoStream]") -> int:
    """When a packet's frame is presented, in ticks; if that is unknown, when it is decoded."""
    return packet.pts if packet.pts is not None else packet.dts or 0


def first_tick(container: InputContainer, stream: VideoStream) -> int:
    """When the stream's first frame is shown, on the stream's clock."""
    key = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
    return _start(container, stream, key)


def _start(
    container: InputContainer, stream: VideoStream, key: "Packet[VideoStream] | None"
) -> int:
    """As `first_tick`, for the stream's first key frame."""
    if key is None:
        raise VideoError("video.no-key-frame", f"{container.name}: has no key frame to decode from")
    # Frames before the key frame cannot be decoded; an edit list hides those before the start.
    return time_of(key) if stream.start_time is None else max(time_of(key), stream.start_time)


def length_in_ticks(container: InputContainer, stream: VideoStream) -> int:
    """From the first frame to the end of the last: from the file's header, or else measured from
    the packets after the last key frame."""
    first = first_tick(container, stream)
    if stream.duration:
        return (first if stream.start_time is None else stream.start_time) + stream.duration - first
    # The container's duration will not do: it may count from zero, or be that of the audio.
    for target in (END_OF_FILE, first):  # formats that cannot seek to the end: read every packet
        container.seek(target, stream=stream)
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        if packets:
            last = max(packets, key=time_of)
            return time_of(last) + (last.duration or 0) - first
    raise VideoError("video.no-length", f"{container.name}: its length cannot be determined")


def is_filled(container: InputContainer, stream: VideoStream, most: float) -> bool:
    """Whether the container's index shows that no two frames are more than `most` ticks apart."""
    if "mp4" not in container.format.name or not stream.duration:
        return False  # other indices have key frames only, or no times
    # An index has times of decoding, which differ from those of showing by a few frames.
    time_N = [entry.timestamp for entry in stream.index_entries if not entry.is_discard]
    end = (stream.start_time or 0) + stream.duration
    return len(time_N) > 1 and float(np.diff(time_N, append=end).max()) <= most


def times_shown(
    container: InputContainer, stream: VideoStream, start: int, end: int, first: int
) -> np.ndarray:
    """When the frames are presented that are shown from tick `start` until before `end`, int64 [N],
    ascending: one or none is presented before `start`. `first`: of the stream's `first_tick`.
    Reads packets, from a key frame on."""
    target, step = start, round(1 / tick_of(stream))
    while target > first:
        container.seek(target, stream=stream)
        shown = _times_until(container, stream, end, first)
        if len(shown) and shown[0] <= start:
            break
        target, step = target - step, step * 2  # some formats seek by decoding time or by byte
    else:
        with open_video(container.name) as again:  # not all formats can seek to their start
            shown = _times_until(*again, end, first)
    return shown[max(0, int(np.searchsorted(shown, start, side="right")) - 1) :]


def _times_until(
    container: InputContainer, stream: VideoStream, end: int, first: int
) -> np.ndarray:
    """When frames of the next packets are presented, of those from tick `first` until before `end`;
    ascending."""
    shown = set[int]()
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if first <= time_of(packet) < end:
            shown.add(time_of(packet))
        if packet.dts is not None and packet.dts >= end:  # none is presented before it is decoded
            break
    return np.array(sorted(shown), np.int64)


def read_times(container: InputContainer, stream: VideoStream) -> np.ndarray:
    """When each frame is shown, int64 [N], ascending, in ticks after the first; from every packet
    of a file that was just opened. Raises VideoError if its clock restarts."""
    latest, key = -math.inf, None
    shown = []
    for packet in container.demux(stream):
        if not packet.size:
            continue  # repeats the last frame, or ends the file
        if packet.dts is not None:
            if packet.dts < latest:
                message = f"its clock restarts or wraps around; write it with one clock: {REMUX}"
                raise VideoError("video.clock-restarts", f"{container.name}: {message}")
            latest = packet.dts
        if key is None and packet.is_keyframe:
            key = packet
        shown.append(time_of(packet))
    time_N = np.unique(shown) - _start(container, stream, key)
    return time_N[time_N >= 0]
