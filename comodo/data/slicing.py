"""Slices recordings into windows, which pair a span of video with a resampled IMU array. Reads only
the duration of a video. Knows neither Ray nor the layout of the store."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comodo.config import DatasetConfig
from comodo.core.errors import ChangedError, ComodoError, StoreError, is_passing
from comodo.core.parts import write_table
from comodo.core.redaction import redacted
from comodo.core.store import Fingerprint, atomic
from comodo.data.frames import VideoTrack
from comodo.data.imu import MAX_GAP_SECONDS, ImuStream, has_gap, resample_all, with_channels
from comodo.data.intervals import label_of, seconds_outside
from comodo.data.quality import QUALITY_SCHEMA, has_constant_channel, measure_quality
from comodo.data.recordings import Reader, Recording, on_this_machine
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
    time_N: np.ndarray,
    start: float,
    end: float,
    seconds: float,
    max_gap: float,
    stride: float | None = None,
) -> list[int]:
    """Numbers of the windows of so many seconds in [start, end] that contain samples, ascending.

    Window `i` starts at `start + i * stride`, by default where the one before ends. Goes through
    stretches without a gap of over `max_gap` seconds, so that a clock that jumps far does not make
    the loop long.
    """
    stride = stride or seconds
    overlap = seconds - stride
    count = max(0, math.floor((end - start - overlap) / stride + TOLERANCE))
    jumps = np.flatnonzero(np.diff(time_N) > max_gap)
    numbers = set[int]()
    for first, last in zip(time_N[[0, *(jumps + 1)]], time_N[[*jumps, -1]], strict=True):
        low = math.floor((first - start - overlap) / stride)
        high = math.floor((last - start) / stride)
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
    `windows_per_recording` left some out; `track` is None without a video. `streams` and `track`
    are those of `part_of`. Windows with a gap, of a sensor's samples or of the picture, are left
    out, and those that their intervals leave out. Raises PrepareError if no window has video and
    all sensors."""
    sample = max(1 / stream.rate for stream in streams)
    start = max(stream.time_N[0] for stream in streams)
    end = min(stream.time_N[-1] + 1 / stream.rate for stream in streams)
    if track is not None:
        start, end = max(track.start, start), min(track.end, end)
    if end <= start:
        spans_of = [f"{s.time_N[0]:.1f} s to {s.time_N[-1]:.1f} s" for s in streams]
        who = "the IMU runs" if len(streams) == 1 else "the sensors run"
        runs = f"{who} from {', and '.join(spans_of)}"
        fix = "correct their times, in a manifest with imu_offset"
        message = f"the sensors do not overlap: {runs}; {fix}"
        if track is not None:
            video = f"the video from {track.start:.1f} s to {track.end:.1f} s"
            message = f"video and IMU do not overlap: {runs}, and {video}; {fix}"
        raise PrepareError("windows.no-overlap", message)
    if settings.window_seconds == "whole":
        spans = {0: (start, end)}
    else:
        length = settings.window_seconds
        stride = settings.stride_seconds or length
        if track is not None and start - track.start <= sample:
            start = track.start  # a stream that starts less than a sample later starts with it
        # Uneven steps and rounded times may make a stream end up to a sample early.
        latest = min(end + sample, math.inf if track is None else track.end)
        if latest - start < length * (1 - TOLERANCE):
            message = f"{end - start:.1f} s are shorter than one window; reduce window_seconds"
            raise PrepareError("windows.too-short", message)
        numbers = window_numbers(streams[0].time_N, start, latest, length, MAX_GAP_SECONDS, stride)
        spans = {i: (start + i * stride, start + (i + length / stride) * stride) for i in numbers}
    still = track.still if track is not None else ()
    whole = [
        number
        for number, (begin, stop) in spans.items()
        if not any(has_gap(stream, begin, stop, MAX_GAP_SECONDS) for stream in streams)
        and not any(begin < last and first < stop for first, last in still)
    ]
    labels = {i: label_of(recording, *spans[i], settings.boundary) for i in whole}
    kept = [i for i in whole if labels[i][0]]
    count = settings.windows_per_recording if recording.split == "train" else None
    rows = []
    for number in drawn(kept, count):
        begin, stop = spans[number]
        # Rounding in `stop - begin` would make some windows a sample longer.
        seconds = stop - begin if settings.window_seconds == "whole" else settings.window_seconds
        imu_TC = resample_all(streams, settings.imu_channels, begin, seconds, settings.imu_rate)
        about = _columns_of(recording) | {"label": labels[number][1]}
        row = {"window": f"{recording.id}:{number}", **about}
        imu = np.ascontiguousarray(imu_TC.T).ravel()
        rows.append(row | {"video": recording.video, "start": begin, "end": stop, "imu": imu})
    if whole and not kept:
        fault = f"all of its {len(whole)} windows are over boundaries of intervals or of null_class"
        fix = "set boundary: majority, or windows: unlabelled under null_class"
        raise PrepareError("windows.left-out", f"{fault}; {fix}")
    if not rows:
        raise PrepareError(
            "windows.gaps",
            f"every window has a gap of over {MAX_GAP_SECONDS:g} s in its IMU samples, or a still "
            "picture",
        )
    return rows, len(kept)


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


Files = tuple[tuple[ImuStream, ...], VideoTrack | None]
"""The streams of a recording, or a part of it, and the track of its video, if it has one."""


def seconds_of(files: Files) -> tuple[float, float]:
    """Where the first of the files begins and the last one ends, by the video's clock."""
    streams, track = files
    begin = min(stream.time_N[0] for stream in streams)
    end = max(stream.time_N[-1] + 1 / stream.rate for stream in streams)
    return (begin, end) if track is None else (min(begin, track.start), max(end, track.end))


def part_of(recording: Recording, files: Files) -> Files:
    """What a recording that is a part of its files has of them, as if they had been cut there.
    Raises PrepareError if its span, or all of its labels, are not of these files."""
    (streams, track), (begin, stop) = files, seconds_of(files)
    (first, last), rounding = recording.span, MAX_GAP_SECONDS
    found = f"its files run from {begin:.1f} s to {stop:.1f} s of the video's clock, and"
    starts = recording.start is None or begin - rounding <= first < stop
    ends = recording.end is None or begin < last <= stop + rounding
    if not (starts and ends):
        fault = f"it is to run from {first:.1f} s to {last:.1f} s"
        raise PrepareError("windows.beyond", f"{found} {fault}; correct start and end")
    labelled = recording.intervals or ()
    if labelled and not any(s < stop and begin < e for s, e, _ in labelled):
        fault = f"its labels from {labelled[0][0]:.1f} s to {labelled[-1][1]:.1f} s"
        raise PrepareError("windows.labels-beyond", f"{found} {fault}; correct their clock")
    if not recording.is_part:
        return files
    parts = []
    for stream in streams:
        inside = slice(*np.searchsorted(stream.time_N, [first, last]))
        if inside.stop - inside.start < 2:
            fault = f"no samples from {first:.1f} s to {last:.1f} s"
            raise PrepareError("windows.no-samples", f"{fault}; correct start and end")
        parts.append(replace(stream, time_N=stream.time_N[inside], imu_NC=stream.imu_NC[inside]))
    if track is not None and not (first < track.end and track.start < last):
        fault = f"no video from {first:.1f} s to {last:.1f} s"
        raise PrepareError("windows.no-video", f"{fault}; correct start and end")
    return tuple(parts), track and track.part(first, last)


def _columns_of(recording: Recording) -> dict[str, Any]:
    names = {name: getattr(recording, name) for name in ("split", "group", "label")}
    return {"recording": recording.id, **names}


Sliced = tuple[list[dict[str, Any]], dict[str, Any]]
"""For one recording: the rows of `WINDOW_SCHEMA` and the row of `QUALITY_SCHEMA`."""


def slice_chunk(
    reader: Reader,
    chunk: list[Recording],
    settings: DatasetConfig,
    videos: Path,
    versions: Mapping[str, Fingerprint] = {},
) -> Iterator[Sliced]:
    """Windows and quality of several recordings, one after the other. A recording that fails has a
    single row with the reason instead of windows. `videos` is the folder for small copies,
    `versions` those that files in buckets have to have. Raises StoreError and ChangedError."""
    opened = _Opened(reader, settings)
    for recording in chunk:
        about, here = _columns_of(recording), recording
        try:
            with on_this_machine(recording, versions) as here:
                files = opened.files_of(here)
                streams, track = part_of(recording, files)
                about |= measure_quality(streams, track)
                rows, count = slice_recording(recording, streams, track, settings)
                if recording.video and settings.videos == "shrink":
                    small = transcode(here.video, videos, recording.video)
                    rows = [{**row, "video": small} for row in rows]
            about["windows"] = len(rows)
            about["drawn_from"] = count if count > len(rows) else None
            spans = [(row["start"], row["end"]) for row in rows]
            about["window_seconds"] = _covered(spans)
            about["labels_outside"] = seconds_outside(recording.intervals or (), *seconds_of(files))
            labels = [row["label"] for row in rows]
            about["classes"] = [
                {"label": label, "windows": n} for label, n in Counter(labels).items() if label
            ]
            about["last_labelled"] = labels[-1] is not None
            about["constant_windows"] = sum(has_constant_channel(streams, *span) for span in spans)
        except (StoreError, ChangedError):  # not the recording's fault
            raise
        except Exception as error:  # one bad recording must not stop the others
            reason = f"{type(error).__name__}: {error}"
            for copy, file in zip(here.files, recording.files, strict=True):
                reason = reason.replace(copy, file)
            about["rejected"] = redacted(reason)
            about["passing"] = is_passing(error)
            rows = [{**_columns_of(recording), "rejected": about["rejected"]}]
        yield rows, about


class _Opened:
    """The files of the recording before, which may also be those of the next one."""

    def __init__(self, reader: Reader, settings: DatasetConfig) -> None:
        self._reader, self._settings = reader, settings
        self._of: Recording | None = None
        self._files: Files = (), None

    def files_of(self, recording: Recording) -> Files:
        """The whole streams and the track, read once for neighbours that are parts of the same
        files. Raises ImuError and VideoError."""
        own: dict[str, Any] = {"id": "", "split": "", "group": "", "label": None}
        own |= {"start": None, "end": None, "intervals": None}
        key = replace(recording, **own) if recording.is_part else None
        if key is None or key != self._of:
            self._of = None  # nothing of a file that cannot be read
            streams = _streams(self._reader, recording, self._settings)
            self._files = streams, read_track(recording.video) if recording.video else None
            self._of = key
        return self._files


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that are in one or more of spans, which are in the order of time."""
    nexts = [start for start, _ in spans[1:]] + [math.inf]
    return sum(min(end, until) - start for (start, end), until in zip(spans, nexts, strict=True))


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
