"""Axivity's .cwa files, by cwa-reader-rs (`pip install cwa-reader-rs`)."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from comodo.config.channels import CHANNELS
from comodo.data.imu import ImuError, ImuStream, checked_stream, refuse_missing


def read_cwa(path: Path) -> ImuStream:
    """The stream of a recording, with a gyroscope if the sensor has one (AX6). Its clock is the
    sensor's, in seconds since 1970; the zone of it is not in the file. Raises ImuError."""
    refuse_missing(path)
    if find_spec("cwa_reader_rs") is None:
        fix = "pip install cwa-reader-rs, or export CSV with OmGui"
        raise ImuError("imu.missing-library", f"{path}: .cwa files need cwa-reader-rs: {fix}")
    from cwa_reader_rs import read_cwa_file

    try:
        table = read_cwa_file(
            str(path), include_magnetometer=False, include_temperature=False,
            include_light=False, include_battery=False,
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError) as error:
        raise ImuError("imu.unreadable", f"{path}: cannot be read as .cwa: {error}") from None
    channels = tuple(channel for channel in CHANNELS if channel in table.columns)
    time_N = table.index.to_numpy().astype("datetime64[ns]").view(np.int64) / 1e9
    imu_NC = table[list(channels)].to_numpy(np.float64)
    note = "times without a time zone are read as UTC"
    return checked_stream(time_N, imu_NC, str(path), [note], channels)
