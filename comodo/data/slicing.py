"""Recordings to windows: which spans, the resampled IMU array of each, and what is rejected.

A window pairs a span of video with an IMU array. The only thing asked of a video is its duration.
Knows neither Ray nor where windows are kept.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import DatasetConfig
from comodo.core.errors import ComodoError, StoreError
from comodo.core.redaction import redacted
from comodo.core.store import atomic, write_table
from comodo.data import quality
from comodo.data.imu import ImuStream, has_gap, resample
from comodo.data.recordings import Reader, Recording
from comodo.data.transcode import transcode
from comodo.data.video import video_seconds

WINDOW_VERSION = 6  # of the numbers made here; raise it when they change
MAX_GAP_SECONDS = 0.5  # seconds without an IMU sample that a window may contain
MAX_BUFFERED_ROWS = 256  # windows that are held before they are written
WINDOW_SCHEMA = pa.schema(
    [
        ("window", pa.string()),
        ("recording", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("video", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("imu", pa.list_(pa.float32())),  # [6, T] row by row, g and deg/s
        ("rejected", pa.string()),  # the reason, for a recording without windows
    ]
)


class PrepareError(ComodoError, RuntimeError):
    """Too much of a dataset cannot be used."""


def window_numbers(
    time_N: np.ndarray, start: float, end: float, seconds: float, longest_gap: float
) -> list[int]:
    """Which of the windows that tile [start, end] from its start on hold samples, rising.

    Window `i` begins at `start + i * seconds`. However far a clock jumps, only windows that samples
    without a gap of over `longest_gap` reach into are looked at.
    """
    count = max(0, math.floor((end - start) / seconds + 1e-6))
    jumps = np.flatnonzero(np.diff(time_N) > longest_gap)
    numbers = set[int]()
    for first, last in zip(time_N[[0, *(jumps + 1)]], time_N[[*jumps, -1]], strict=True):
        reached = math.floor((first - start) / seconds), math.floor((last - start) / seconds)
        numbers.update(range(max(0, reached[0]), min(count, reached[1] + 1)))
    return sorted(numbers)


def slice_recording(
    recording: Recording, stream: ImuStream, video_seconds: float | None, settings: DatasetConfig
) -> list[dict[str, Any]]:
    """The windows of one recording, as rows of `SCHEMA`; `video_seconds` is None without a video.

    Raises:
        PrepareError: no window of it has both video and IMU.
    """
    sample = 1 / stream.rate
    start, end = stream.time_N[0], stream.time_N[-1] + sample
    if video_seconds is not None:
        start, end = max(0.0, start), min(video_seconds, end)
    if end <= start:
        raise PrepareError(
            f"video and IMU do not overlap: the IMU runs from {stream.time_N[0]:.1f} s "
            f"to {stream.time_N[-1]:.1f} s of the video's clock"
        )
    longest_gap = _longest_gap(stream)
    if settings.window_seconds == "whole":
        spans = {0: (start, end)}
    else:
        # A stream that begins within a sample of the video begins with it.
        start, length = start if start > sample else 0.0, settings.window_seconds
        if end + sample - start < length * (1 - 1e-6):
            raise PrepareError(f"{end - start:.1f} s are shorter than one window")
        numbers = window_numbers(stream.time_N, start, end + sample, length, longest_gap)
        spans = {i: (start + i * length, start + (i + 1) * length) for i in numbers}
    rows = []
    for number, (begin, stop) in spans.items():
        if has_gap(stream, begin, stop, longest_gap):
            continue
        # Not the difference, whose last digits would make some windows a sample longer.
        seconds = stop - begin if settings.window_seconds == "whole" else settings.window_seconds
        imu_TC = resample(stream, begin, seconds, settings.imu_rate)
        rows.append(
            {
                "window": f"{recording.id}:{number}",
                **_described(recording),
                "video": recording.video,
                "start": begin,
                "end": stop,
                "imu": np.ascontiguousarray(imu_TC.T).ravel(),
            }
        )
    if not rows:
        raise PrepareError(f"every window has a gap of over {MAX_GAP_SECONDS} s in its IMU samples")
    return rows


def _longest_gap(stream: ImuStream) -> float:
    return max(MAX_GAP_SECONDS, 2 / stream.rate)


def _described(recording: Recording) -> dict[str, Any]:
    return {
        "recording": recording.id,
        "split": recording.split,
        "group": recording.group,
        "label": recording.label,
    }


Sliced = tuple[list[dict[str, Any]], dict[str, Any]]
"""Of one recording the rows of `SCHEMA` and the row of `quality.SCHEMA`."""


def slice_chunk(
    reader: Reader, chunk: list[Recording], settings: DatasetConfig, videos: Path
) -> Iterator[Sliced]:
    """Windows and quality of several recordings, one after the other; one that fails has a single
    row with its reason instead of windows. `videos` is the folder for small copies."""
    for recording in chunk:
        about = _described(recording)
        try:
            stream = reader.read_imu(recording)
            seconds = video_seconds(recording.video) if recording.video else None
            about |= quality.measure_quality(stream, seconds, _longest_gap(stream))
            rows = slice_recording(recording, stream, seconds, settings)
            if recording.video and settings.videos == "shrink":
                copy = transcode(recording.video, videos)
                rows = [{**row, "video": copy} for row in rows]
            about["windows"] = len(rows)
            about["window_seconds"] = sum(row["end"] - row["start"] for row in rows)
        except StoreError:  # nothing is wrong with the recording
            raise
        except Exception as error:  # whatever is wrong with one recording, the others go on
            about["rejected"] = redacted(f"{type(error).__name__}: {error}")
            rows = [{**_described(recording), "rejected": about["rejected"]}]
        yield rows, about


def write_part(folder: Path, part: str, sliced: Iterable[Sliced]) -> None:
    """Writes windows and quality as they come, so that a part of any length needs little memory."""
    waiting: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    with atomic(folder / part) as path, pq.ParquetWriter(path, WINDOW_SCHEMA) as writer:
        for rows, about in sliced:
            waiting += rows
            measured.append(about)
            if len(waiting) >= MAX_BUFFERED_ROWS:
                writer.write_table(pa.Table.from_pylist(waiting, schema=WINDOW_SCHEMA))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=WINDOW_SCHEMA))
        write_table(
            folder / quality_file(part),
            pa.Table.from_pylist(measured, schema=quality.QUALITY_SCHEMA),
        )


def quality_file(part: str) -> str:
    """The file of the quality of a part's recordings."""
    return part.replace("part-", "quality-")
