"""Slices recordings into windows, which pair a span of video with a resampled IMU array. Reads only
the duration of a video. Knows neither Ray nor the layout of the store."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import DatasetConfig
from comodo.core.errors import ComodoError, StoreError, is_passing
from comodo.core.parts import write_table
from comodo.core.redaction import redacted
from comodo.core.store import atomic
from comodo.data.frames import VideoTrack
from comodo.data.imu import MAX_GAP_SECONDS, ImuStream, has_gap, resample_all, with_channels
from comodo.data.quality import QUALITY_SCHEMA, has_constant_channel, measure_quality
from comodo.data.recordings import Reader, Recording
from comodo.data.transcode import transcode
from comodo.data.video import read_track

TOLERANCE = 1e-6  # of a window, for rounding
DRAW_SEED = 16349  # of `windows_per_recording`, as in the published code, for each recording
MAX_BUFFERED_ROWS = 256  # windows in memory before they are written
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
        ("imu", pa.list_(pa.float32())),  # [C, T] row by row, g and deg/s
        ("rejected", pa.string()),  # the reason, for a recording without windows
    ]
)


class PrepareError(ComodoError, RuntimeError):
    """A recording has no windows, or too many recordings of a data set have none."""


def window_numbers(
    time_N: np.ndarray, start: float, end: float, seconds: float, max_gap: float
) -> list[int]:
    """Numbers of the windows in [start, end] that contain samples, ascending.

    Window `i` starts at `start + i * seconds`. Goes through stretches without a gap of over
    `max_gap` seconds, so that a clock that jumps far does not make the loop long.
    """
    count = max(0, math.floor((end - start) / seconds + TOLERANCE))
    jumps = np.flatnonzero(np.diff(time_N) > max_gap)
    numbers = set[int]()
    for first, last in zip(time_N[[0, *(jumps + 1)]], time_N[[*jumps, -1]], strict=True):
        low, high = math.floor((first - start) / seconds), math.floor((last - start) / seconds)
        numbers.update(range(max(0, low), min(count, high + 1)))
    return sorted(numbers)


def drawn(numbers: list[int], count: int | None) -> list[int]:
    """At most `count` of a recording's windows, ascending: those that the published code draws,
    which leaves out the last window before. All if there are no more, or `count` is None."""
    if count is None or len(numbers) <= count:
        return numbers
    order = np.random.RandomState(DRAW_SEED).permutation(len(numbers) - 1)
    return sorted(numbers[i] for i in order[:count])


def slice_recording(
    recording: Recording,
    streams: Sequence[ImuStream],
    track: VideoTrack | None,
    settings: DatasetConfig,
) -> tuple[list[dict[str, Any]], int]:
    """The windows of one recording, as rows of `WINDOW_SCHEMA`, and how many there were before
    `windows_per_recording` left some out; `track` is None without a video. Windows with a gap, of a
    sensor's samples or of the picture, are left out. Raises PrepareError if no window has video
    and all sensors."""
    sample = max(1 / stream.rate for stream in streams)
    start = max(stream.time_N[0] for stream in streams)
    end = min(stream.time_N[-1] + 1 / stream.rate for stream in streams)
    if track is not None:
        start, end = max(0.0, start), min(track.seconds, end)
    if end <= start:
        spans_of = [f"{s.time_N[0]:.1f} s to {s.time_N[-1]:.1f} s" for s in streams]
        what = "the IMU runs" if len(streams) == 1 else "the sensors run"
        message = (
            f"video and IMU do not overlap: {what} from {', and '.join(spans_of)} of the video's "
            "clock; correct its times"
        )
        raise PrepareError("windows.no-overlap", message)
    if settings.window_seconds == "whole":
        spans = {0: (start, end)}
    else:
        length = settings.window_seconds
        if track is not None and start <= sample:
            start = 0.0  # a stream that starts less than a sample after the video starts with it
        # Uneven steps and rounded times may make a stream end up to a sample early.
        latest = min(end + sample, math.inf if track is None else track.seconds)
        if latest - start < length * (1 - TOLERANCE):
            message = f"{end - start:.1f} s are shorter than one window; reduce window_seconds"
            raise PrepareError("windows.too-short", message)
        numbers = window_numbers(streams[0].time_N, start, latest, length, MAX_GAP_SECONDS)
        spans = {i: (start + i * length, start + (i + 1) * length) for i in numbers}
    still = track.still if track is not None else ()
    whole = [
        number
        for number, (begin, stop) in spans.items()
        if not any(has_gap(stream, begin, stop, MAX_GAP_SECONDS) for stream in streams)
        and not any(begin < last and first < stop for first, last in still)
    ]
    count = settings.windows_per_recording if recording.split == "train" else None
    rows = []
    for number in drawn(whole, count):
        begin, stop = spans[number]
        # Rounding in `stop - begin` would make some windows a sample longer.
        seconds = stop - begin if settings.window_seconds == "whole" else settings.window_seconds
        imu_TC = resample_all(streams, settings.imu_channels, begin, seconds, settings.imu_rate)
        row = {"window": f"{recording.id}:{number}", **_columns_of(recording)}
        imu = np.ascontiguousarray(imu_TC.T).ravel()
        rows.append(row | {"video": recording.video, "start": begin, "end": stop, "imu": imu})
    if not rows:
        raise PrepareError(
            "windows.gaps",
            f"every window has a gap of over {MAX_GAP_SECONDS:g} s in its IMU samples, or a still "
            "picture",
        )
    return rows, len(whole)


def _streams(
    reader: Reader, recording: Recording, settings: DatasetConfig
) -> tuple[ImuStream, ...]:
    """What the reader gives, with the channels that windows have. Raises ImuError."""
    streams = reader.read_imu(recording)
    if (name := settings.sensor) is not None:
        streams = tuple(
            replace(stream, channels=tuple(f"{name}.{channel}" for channel in stream.channels))
            for stream in streams
        )
    zero = settings.missing == "zero"
    return with_channels(streams, settings.imu_channels, recording.imu, zero=zero)


def _columns_of(recording: Recording) -> dict[str, Any]:
    names = {name: getattr(recording, name) for name in ("split", "group", "label")}
    return {"recording": recording.id, **names}


Sliced = tuple[list[dict[str, Any]], dict[str, Any]]
"""For one recording: the rows of `WINDOW_SCHEMA` and the row of `QUALITY_SCHEMA`."""


def slice_chunk(
    reader: Reader, chunk: list[Recording], settings: DatasetConfig, videos: Path
) -> Iterator[Sliced]:
    """Windows and quality of several recordings, one after the other. A recording that fails has a
    single row with the reason instead of windows. `videos` is the folder for small copies."""
    for recording in chunk:
        about = _columns_of(recording)
        try:
            streams = _streams(reader, recording, settings)
            track = read_track(recording.video) if recording.video else None
            about |= measure_quality(streams, track)
            rows, count = slice_recording(recording, streams, track, settings)
            if recording.video and settings.videos == "shrink":
                copy = transcode(recording.video, videos)
                rows = [{**row, "video": copy} for row in rows]
            about["windows"] = len(rows)
            about["drawn_from"] = count if count > len(rows) else None
            about["window_seconds"] = sum(row["end"] - row["start"] for row in rows)
            spans = [(row["start"], row["end"]) for row in rows]
            about["constant_windows"] = sum(has_constant_channel(streams, *span) for span in spans)
        except StoreError:  # not the recording's fault
            raise
        except Exception as error:  # one bad recording must not stop the others
            about["rejected"] = redacted(f"{type(error).__name__}: {error}")
            about["passing"] = is_passing(error)
            rows = [{**_columns_of(recording), "rejected": about["rejected"]}]
        yield rows, about


def write_part(folder: Path, part: str, sliced: Iterable[Sliced]) -> None:
    """Writes windows and quality as they arrive, so that even a long part needs little memory."""
    pending: list[dict[str, Any]] = []
    qualities: list[dict[str, Any]] = []
    with atomic(folder / part) as path, pq.ParquetWriter(path, WINDOW_SCHEMA) as writer:
        for rows, about in sliced:
            pending += rows
            qualities.append(about)
            if len(pending) >= MAX_BUFFERED_ROWS:
                writer.write_table(pa.Table.from_pylist(pending, schema=WINDOW_SCHEMA))
                pending = []
        writer.write_table(pa.Table.from_pylist(pending, schema=WINDOW_SCHEMA))
        quality = pa.Table.from_pylist(qualities, schema=QUALITY_SCHEMA)
        write_table(folder / quality_file(part), quality)


def quality_file(part: str) -> str:
    """Name of the file with the quality of a part's recordings."""
    return part.replace("part-", "quality-")
