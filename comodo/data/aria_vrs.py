"""Project Aria's VRS files: RGB frames and the samples of both IMUs, all on one device clock.

Streams are found by their labels, as the ids of the IMUs depend on the glasses' generation: 1202-1
is imu-right (1,000 Hz) in the first, imu-left (800 Hz, as imu-right) in the second. Decoded by
projectaria-tools (`pip install projectaria-tools`). Knows no data set.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from comodo.config.teacher import FrameShape
from comodo.core.errors import ComodoError
from comodo.data.frames import (
    PIXELS,
    VideoError,
    VideoTrack,
    evenly_chosen,
    refuse_too_short,
    square_frame,
    still_spans,
)
from comodo.data.imu import STANDARD_GRAVITY, ImuError

RGB = "camera-rgb"
NS_PER_SECOND = 1_000_000_000


def read_imu(path: str | Path, stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Of the IMU `right` or `left`: times in ns on the device's clock, int64 [N], and samples in g
    and deg/s, float64 [N, 6].

    Axes are those of that IMU. The file has m/s^2 and rad/s (projectaria-tools, type MotionData).
    Values that the device marks as invalid are NaN. Raises ImuError.
    """
    with _open(path, f"imu-{stream}", ImuError) as (provider, stream_id, count):
        time_ns_N = np.empty(count, np.int64)
        imu_NC = np.full((count, 6), np.nan)
        for number in range(count):
            sample = provider.get_imu_data_by_index(stream_id, number)
            time_ns_N[number] = sample.capture_timestamp_ns
            if sample.accel_valid:
                imu_NC[number, :3] = sample.accel_msec2
            if sample.gyro_valid:
                imu_NC[number, 3:] = sample.gyro_radsec
    imu_NC[:, :3] /= STANDARD_GRAVITY
    imu_NC[:, 3:] = np.rad2deg(imu_NC[:, 3:])
    return time_ns_N, imu_NC


def rgb_times_ns(path: str | Path) -> np.ndarray:
    """Capture time of each RGB frame: ns on the device's clock, int64 [frames], ascending. Raises
    VideoError."""
    with _open_rgb(path) as (_, _, times_ns):
        return times_ns


def video_seconds(path: str | Path) -> float:
    """Seconds from the first RGB frame to the end of the last. Raises VideoError."""
    times_ns = rgb_times_ns(path)
    return float(times_ns[-1] - times_ns[0]) / NS_PER_SECOND + _frame_seconds(times_ns)


def read_track(path: str | Path) -> VideoTrack:
    """As `video.read_track`, for the RGB camera. Raises VideoError."""
    times_ns, seconds = rgb_times_ns(path), video_seconds(path)
    decode_frames(path, np.array([0.0, seconds]), size=16)
    return VideoTrack(seconds, still_spans((times_ns - times_ns[0]) / NS_PER_SECOND, seconds))


def decode_frames(
    path: str | Path,
    times: np.ndarray,
    size: int,
    shape: FrameShape = "crop",
    span: tuple[float, float] | None = None,
) -> np.ndarray:
    """The RGB frames shown at `times`, in seconds from the first, as [len(times), size, size, 3];
    with a `span` that has them, as many of those shown in it, by `evenly_chosen`. `shape`: as in
    `square_frame`. Raises VideoError, also where the recording ends earlier."""
    with _open_rgb(path) as (provider, stream_id, times_ns):
        frame_seconds = _frame_seconds(times_ns)
        end = (times_ns[-1] - times_ns[0]) / NS_PER_SECOND + frame_seconds
        refuse_too_short(path, end, frame_seconds, times)
        wanted_ns = times_ns[0] + np.rint(times * NS_PER_SECOND).astype(np.int64)
        shown = np.searchsorted(times_ns, wanted_ns, side="right") - 1
        if span is not None:
            first_ns, end_ns = (times_ns[0] + round(time * NS_PER_SECOND) for time in span)
            first = np.searchsorted(times_ns, first_ns, side="right") - 1
            end = np.searchsorted(times_ns, end_ns, side="left")
            shown = evenly_chosen(np.arange(first, end), len(times))
        return _images(provider, stream_id, shown, size, path, shape)


def frames_at_rate(
    path: str | Path, rate: float, max_seconds: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `video.frames_at_rate`, for the RGB camera. Raises VideoError."""
    with _open_rgb(path) as (provider, stream_id, times_ns):
        time_N = (times_ns - times_ns[0]) / NS_PER_SECOND
        due = np.floor(time_N[time_N < max_seconds] * rate + 1e-6)
        chosen = np.flatnonzero(np.diff(due, prepend=-1))
        return time_N[chosen], _images(provider, stream_id, chosen, size, path)


def _images(
    provider: Any,
    stream_id: Any,
    indices: np.ndarray,
    size: int,
    path: str | Path,
    shape: FrameShape = "crop",
) -> np.ndarray:
    """The frames with these indices, as RGB [len(indices), size, size, 3], upright."""
    from projectaria_tools.core.calibration import DeviceVersion

    # The first generation's cameras are mounted sideways (Project Aria, hardware specifications);
    # projectaria-tools' own viewers and its MP4 converter rotate their frames clockwise too.
    turns = -1 if provider.get_device_version() == DeviceVersion.Gen1 else 0
    images = np.empty((len(indices), size, size, 3), PIXELS[shape])
    reformatter = VideoReformatter()
    previous = None
    for number, index in enumerate(indices):
        if index == previous:
            images[number] = images[number - 1]
            continue
        data, _ = provider.get_image_data_by_index(stream_id, int(index))
        if not data.is_valid():
            raise VideoError("video.no-frame", f"{path}: its RGB frame {index} cannot be decoded")
        pixels = data.to_numpy_array()
        frame = VideoFrame.from_ndarray(pixels, "rgb24" if pixels.ndim == 3 else "gray")
        images[number] = np.rot90(square_frame(frame, size, reformatter, shape), turns)
        previous = index
    return images


@contextmanager
def _open_rgb(path: str | Path) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """A file's provider, the id of its RGB stream and the stream's `rgb_times_ns`."""
    with _open(path, RGB, VideoError) as (provider, stream_id, _):
        from projectaria_tools.core.sensor_data import TimeDomain

        times_ns = np.array(provider.get_timestamps_ns(stream_id, TimeDomain.DEVICE_TIME), np.int64)
        if (np.diff(times_ns) <= 0).any():
            raise VideoError("video.bad-times", f"{path}: times of its RGB frames are not rising")
        yield provider, stream_id, times_ns


def _frame_seconds(times_ns: np.ndarray) -> float:
    """Median duration of a frame; 0.1 s if there is only one."""
    return float(np.median(np.diff(times_ns))) / NS_PER_SECOND if len(times_ns) > 1 else 0.1


@contextmanager
def _open(
    path: str | Path, label: str, error: type[ImuError] | type[VideoError]
) -> Iterator[tuple[Any, Any, int]]:
    """A file's provider, the id of its stream with that label and how many records that has."""

    def failure(reason: str, message: str) -> ComodoError:
        return error(f"{'imu' if error is ImuError else 'video'}.{reason}", f"{path}: {message}")

    if not Path(path).is_file():
        raise failure("missing-file", "no such file")
    if Path(path).stat().st_size == 0:
        raise failure("empty-file", "is empty (0 bytes)")
    try:
        from projectaria_tools.core.data_provider import create_vrs_data_provider
    except ImportError:
        message = "VRS files need projectaria-tools: pip install projectaria-tools"
        raise failure("missing-library", message) from None
    try:
        with _quiet():
            provider = create_vrs_data_provider(str(path))
            if provider is None:
                raise failure("unreadable", "is not a VRS file, or is damaged")
            stream_id = provider.get_stream_id_from_label(label)
            known = {str(found) for found in provider.get_all_streams()}
            count = provider.get_num_data(stream_id) if str(stream_id) in known else 0
            if count == 0:
                raise failure("no-stream", f"has no data in its stream {label} ({stream_id})")
            yield provider, stream_id, count
    except (RuntimeError, IndexError, UnicodeDecodeError) as reason:  # raised for damaged files
        raise failure("unreadable", f"cannot be read as an Aria recording: {reason}") from reason


@contextmanager
def _quiet() -> Iterator[None]:
    """Discards what the library's C++ code prints, dozens of lines for each file."""
    sys.stdout.flush()
    sys.stderr.flush()
    copies = {number: os.dup(number) for number in (1, 2)}
    try:
        with open(os.devnull, "wb") as null:
            for number in copies:
                os.dup2(null.fileno(), number)
        yield
    finally:
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
