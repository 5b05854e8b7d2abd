"""The IMU streams of a Project Aria VRS file, read by projectaria-tools."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from comodo.imu import GYRO_UNITS, STANDARD_GRAVITY, ImuError

STREAMS = {"right": "1202-1", "left": "1202-2"}  # 1,000 and 800 Hz


def read_imu(path: str, stream: Literal["right", "left"]) -> tuple[np.ndarray, np.ndarray]:
    """All samples that the device calls valid: int64 `[N]` in ns of its clock, and float `[N, 6]`
    in g and deg/s.

    Raises:
        ImuError: projectaria-tools is not installed, or the file has no such stream.
    """
    try:
        from projectaria_tools.core.data_provider import create_vrs_data_provider
        from projectaria_tools.core.stream_id import StreamId
    except ImportError:
        raise ImuError("VRS files need projectaria-tools: pip install comodo[cameras]") from None
    with _silent():
        try:
            provider = create_vrs_data_provider(path)
        except Exception as error:  # the C++ library raises bare exceptions of several kinds
            raise ImuError(f"{path}: cannot be read as VRS: {error}") from None
        if provider is None:
            raise ImuError(f"{path}: cannot be read as VRS")
        id = StreamId(STREAMS[stream])
        if id not in provider.get_all_streams():
            raise ImuError(f"{path}: no stream {STREAMS[stream]} (IMU {stream})")
        samples = [provider.get_imu_data_by_index(id, i) for i in range(provider.get_num_data(id))]
    valid = [sample for sample in samples if sample.accel_valid and sample.gyro_valid]
    time_ns_N = np.array([sample.capture_timestamp_ns for sample in valid], np.int64)
    acc_N3 = np.array([sample.accel_msec2 for sample in valid]).reshape(-1, 3) / STANDARD_GRAVITY
    gyro_N3 = (
        np.array([sample.gyro_radsec for sample in valid]).reshape(-1, 3) * GYRO_UNITS["rad/s"]
    )
    return time_ns_N, np.concatenate([acc_N3, gyro_N3], axis=1)


@contextmanager
def _silent() -> Iterator[None]:
    """The library writes a log of its own to the process's output; it goes nowhere meanwhile."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
