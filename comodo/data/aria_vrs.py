"""Project Aria's VRS files: RGB frames and the samples of either IMU, all on one device clock.

Streams are named by the numbers that Project Aria gives them: 214-1 is camera-rgb, 1202-1 imu-right
(1,000 Hz), 1202-2 imu-left (800 Hz). Decoded by projectaria-tools (`pip install comodo[cameras]`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from comodo.data.frames import VideoError, frame_times, square_frame
from comodo.data.imu import STANDARD_GRAVITY, ImuError

RGB = "214-1"
IMUS = {"right": "1202-1", "left": "1202-2"}
SECOND = 1_000_000_000  # ns


def read_imu(path: str, stream: Literal["right", "left"]) -> tuple[np.ndarray, np.ndarray]:
    """Times in ns on the device's clock, int64 [N], and samples in g and deg/s, float64 [N, 6].

    As recorded, in the axes of that IMU. The file has m/s^2 and rad/s (projectaria-tools, type
    MotionData). What the device marks as invalid is NaN.

    Raises:
        ImuError: the file cannot be read, or has no such stream.
    """
    with _open(path, IMUS[stream], f"imu-{stream}", ImuError) as (provider, stream_id, count):
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


def rgb_times_ns(path: str) -> np.ndarray:
    """When each RGB frame was taken: ns on the device's clock, int64 [frames], rising.

    Raises VideoError: the file cannot be read, or has no RGB frames.
    """
    with _open(path, RGB, "camera-rgb", VideoError) as (provider, stream_id, _):
        return _times_ns(provider, stream_id, path)


def video_seconds(path: str) -> float:
    """Seconds from the first RGB frame to the end of the last. Raises VideoError."""
    times_ns = rgb_times_ns(path)
    return float(times_ns[-1] - times_ns[0]) / SECOND + _frame_seconds(times_ns)


def decode_frames(path: str, start: float, end: float, count: int, size: int) -> np.ndarray:
    """As `comodo.data.video.decode_frames`, of the RGB camera. Raises VideoError."""
    with _open(path, RGB, "camera-rgb", VideoError) as (provider, stream_id, _):
        try:
            times = frame_times(start, end, count)
        except ValueError as error:
            raise VideoError(f"{path}: {error}") from error
        times_ns = _times_ns(provider, stream_id, path)
        frame_seconds = _frame_seconds(times_ns)
        ends = (times_ns[-1] - times_ns[0]) / SECOND + frame_seconds
        if times[-1] > ends + frame_seconds:
            raise VideoError(
                f"{path}: ends at {ends:.3f} s, a frame at {times[-1]:.3f} s is wanted"
            )
        wanted_ns = times_ns[0] + np.rint(times * SECOND).astype(np.int64)
        shown = np.searchsorted(times_ns, wanted_ns, side="right") - 1
        return _images(provider, stream_id, shown, size, path)


def frames_at_rate(
    path: str, rate: float, longest: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `comodo.data.video.frames_at_rate`, of the RGB camera. Raises VideoError."""
    with _open(path, RGB, "camera-rgb", VideoError) as (provider, stream_id, _):
        times_ns = _times_ns(provider, stream_id, path)
        time_N = (times_ns - times_ns[0]) / SECOND
        due = np.floor(time_N[time_N < longest] * rate + 1e-6)
        chosen = np.flatnonzero(np.diff(due, prepend=-1))
        return time_N[chosen], _images(provider, stream_id, chosen, size, path)


def _images(provider: Any, stream_id: Any, indices: np.ndarray, size: int, path: str) -> np.ndarray:
    """Frames by number as uint8 RGB [len(indices), size, size, 3], upright."""
    from projectaria_tools.core.calibration import DeviceVersion

    # The first generation's cameras are mounted sideways (Project Aria, hardware specifications);
    # projectaria-tools' own viewers and its converter to MP4 turn its pictures clockwise.
    turns = -1 if provider.get_device_version() == DeviceVersion.Gen1 else 0
    images = np.empty((len(indices), size, size, 3), np.uint8)
    reformatter = VideoReformatter()
    before = None
    for number, index in enumerate(indices):
        if index == before:
            images[number] = images[number - 1]
            continue
        data, _ = provider.get_image_data_by_index(stream_id, int(index))
        if not data.is_valid():
            raise VideoError(f"{path}: its RGB frame {index} cannot be decoded")
        pixels = data.to_numpy_array()
        frame = VideoFrame.from_ndarray(pixels, "rgb24" if pixels.ndim == 3 else "gray")
        images[number] = np.rot90(square_frame(frame, size, reformatter), turns)
        before = index
    return images


def _times_ns(provider: Any, stream_id: Any, path: str) -> np.ndarray:
    from projectaria_tools.core.sensor_data import TimeDomain

    times_ns = np.array(provider.get_timestamps_ns(stream_id, TimeDomain.DEVICE_TIME), np.int64)
    if (np.diff(times_ns) <= 0).any():
        raise VideoError(f"{path}: its RGB frames' times are disordered")
    return times_ns


def _frame_seconds(times_ns: np.ndarray) -> float:
    """How long a frame is shown; a single one for a tenth of a second, the camera's usual."""
    return float(np.median(np.diff(times_ns))) / SECOND if len(times_ns) > 1 else 0.1


@contextmanager
def _open(
    path: str, stream: str, name: str, error: type[ImuError] | type[VideoError]
) -> Iterator[tuple[Any, Any, int]]:
    """A file's provider, the id of one of its streams and how many records that has."""
    if not Path(path).is_file():
        raise error(f"{path}: No such file")
    if Path(path).stat().st_size == 0:
        raise error(f"{path}: is empty")
    try:
        from projectaria_tools.core.data_provider import create_vrs_data_provider
        from projectaria_tools.core.stream_id import StreamId
    except ImportError:
        raise error(
            f"{path}: VRS files need projectaria-tools: pip install comodo[cameras]"
        ) from None
    try:
        with _quiet():
            provider = create_vrs_data_provider(str(path))
            if provider is None:
                raise error(f"{path}: is not a VRS file, or is damaged")
            stream_id = StreamId(stream)
            known = stream in {str(found) for found in provider.get_all_streams()}
            count = provider.get_num_data(stream_id) if known else 0
            if count == 0:
                raise error(f"{path}: has no data in its stream {stream} ({name})")
            yield provider, stream_id, count
    except (
        RuntimeError,
        IndexError,
        UnicodeDecodeError,
    ) as reason:  # whatever the library says of a damaged file
        raise error(f"{path}: cannot be read as an Aria recording: {reason}") from reason


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what the library's C++ side writes to the terminal, dozens of lines a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
