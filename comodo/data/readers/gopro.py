"""A folder of GoPro MP4 files, each with its telemetry inside; each file is its own group.

Telemetry is decoded by telemetry-parser (`pip install comodo[cameras]`), whose rows are in m/s^2
and deg/s, with axes rotated to one orientation if the camera stores its own (GoPro's MTRX, or ORIN
and ORIO). No labels: for encoding and distillation, not for probing.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from comodo.config.datasets import GoproDataset
from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream, checked_stream
from comodo.data.recordings import Recording, camera_recordings

MAX_PACKET_SECONDS = 1.05  # GoPro writes about 1 s of telemetry at once
MAX_INTERPOLATED_SECONDS = 0.5  # between two samples of the slower sensor


class GoproReader:
    def __init__(self, settings: GoproDataset) -> None:
        self.settings = settings

    def recordings(self) -> list[Recording]:
        return camera_recordings(Path(self.settings.path), ".mp4", "telemetry_parser")

    def read_imu(self, recording: Recording) -> ImuStream:
        try:
            import telemetry_parser
        except ImportError:
            message = f"{recording.imu}: needs telemetry-parser: pip install comodo[cameras]"
            raise ImuError("imu.missing-library", message) from None
        try:
            rows = telemetry_parser.Parser(recording.imu).normalized_imu()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the parser, in Rust, is not an Exception
            message = f"{recording.imu}: telemetry cannot be read: {error}"
            raise ImuError("imu.unreadable", message) from None
        return stream_of(rows, recording.imu)


def stream_of(rows: list[dict[str, Any]], source: str) -> ImuStream:
    """A stream from the parser's rows: `timestamp_ms`, `accl` and `gyro`; the last two may be None.

    Times are the parser's, where 0 is the video's first frame; telemetry may start before or after
    it. A slower sensor is interpolated at the times of the faster one, where both have samples, and
    a note says so. Raises ImuError.
    """
    time_N = np.array([row["timestamp_ms"] for row in rows], float) / 1000
    empty = (np.nan,) * 3
    acc_N3 = np.array([row["accl"] or empty for row in rows], float).reshape(-1, 3)
    gyro_N3 = np.array([row["gyro"] or empty for row in rows], float).reshape(-1, 3)
    acc_N3 /= STANDARD_GRAVITY
    has_acc_N = np.array([row["accl"] is not None for row in rows], bool)
    has_gyro_N = np.array([row["gyro"] is not None for row in rows], bool)
    if not has_acc_N.any() or not has_gyro_N.any():
        message = f"{source}: no accelerometer and gyroscope in the telemetry; students need both"
        raise ImuError("imu.missing-sensor", message)
    # A clock that runs backwards is refused by `checked_stream`.
    if (has_acc_N & has_gyro_N).all() or (np.diff(time_N) < 0).any():
        return checked_stream(time_N, np.concatenate([acc_N3, gyro_N3], axis=1), source)
    if has_acc_N.sum() > has_gyro_N.sum():
        # The parser's time step is the gyroscope's mean, although there are more rows than that.
        time_N = time_N[0] + (time_N - time_N[0]) * has_gyro_N.sum() / len(time_N)
    acc_M, gyro_M = _own_times(time_N, has_acc_N), _own_times(time_N, has_gyro_N)
    acc_M3, gyro_M3 = acc_N3[has_acc_N], gyro_N3[has_gyro_N]
    if len(acc_M) > len(gyro_M):
        time_N, gyro_N3 = acc_M, _interpolated(acc_M, gyro_M, gyro_M3)
        acc_N3, names = acc_M3, ("gyroscope", "accelerometer")
    else:
        time_N, acc_N3 = gyro_M, _interpolated(gyro_M, acc_M, acc_M3)
        gyro_N3, names = gyro_M3, ("accelerometer", "gyroscope")
    stream = checked_stream(time_N, np.concatenate([acc_N3, gyro_N3], axis=1), source)
    note = f"{names[0]} interpolated at the {names[1]}'s {stream.rate:.0f} Hz"
    return replace(stream, notes=(note,))


def _own_times(time_N: np.ndarray, has_N: np.ndarray) -> np.ndarray:
    """Times of a sensor's own samples; `has_N`: which rows have one.

    The parser puts each sensor's samples of a packet on successive rows from the packet's first on,
    so the slower sensor is missing in the last rows. But the samples are spread evenly over the
    packet's time: GPMF's clock is the MP4's index of packets (GoPro, GPMF introduction).
    """
    place_N = np.arange(len(time_N), dtype=float)
    edges = np.flatnonzero(np.diff(has_N, prepend=True, append=True))
    previous = 0
    for without, end in edges.reshape(-1, 2):  # rows [without, end) lack the sensor
        start = max(previous, int(np.searchsorted(time_N, time_N[end - 1] - MAX_PACKET_SECONDS)))
        if start < without:
            place_N[start:without] = np.linspace(start, end, without - start, endpoint=False)
        previous = end
    return np.interp(place_N[has_N], np.arange(len(time_N)), time_N)


def _interpolated(time_N: np.ndarray, slow_M: np.ndarray, values_M3: np.ndarray) -> np.ndarray:
    """Values of the slower sensor at `time_N`; NaN outside its times and in its gaps."""
    outside = {"left": np.nan, "right": np.nan}
    values_N3 = np.stack([np.interp(time_N, slow_M, v, **outside) for v in values_M3.T], axis=1)
    after_N = np.searchsorted(slow_M, time_N).clip(max=len(slow_M) - 1)
    gap_M = np.diff(slow_M, prepend=-np.inf)
    values_N3[(gap_M[after_N] > MAX_INTERPOLATED_SECONDS) & ~np.isin(time_N, slow_M)] = np.nan
    return values_N3
