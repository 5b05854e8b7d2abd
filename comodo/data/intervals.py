"""Labelled intervals of recordings, the label of a window from them, and spans that several
recordings share. Knows no reader and no values of an IMU.

Letters: N samples.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from comodo.config.dataset_base import NullClass
from comodo.config.datasets import DatasetConfig
from comodo.core.errors import nearest
from comodo.data.names import common_form
from comodo.data.recordings import (
    LEFT_OUT,
    DatasetError,
    Interval,
    Recording,
    file_identity,
)

CLOSE = 1e-6  # of a window, for rounding
SHARES = {"majority": 0.0, "drop": 1.0}
TOUCHING = 1e-6  # seconds: spans and intervals that overlap by less only touch


def checked(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals in the order of time, those of one label that overlap or touch as one. Raises
    ValueError for one that does not end after its start, or two labels at the same time."""
    found: list[Interval] = []
    for start, end, label in sorted(intervals):
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise ValueError(f"'{label}' from {start:g} to {end:g} s has no length")
        if found and start <= found[-1][1] + TOUCHING and label == found[-1][2]:
            found[-1] = (found[-1][0], max(end, found[-1][1]), label)
        elif found and start < found[-1][1] - TOUCHING:
            before = f"'{found[-1][2]}' from {found[-1][0]:g} to {found[-1][1]:g} s"
            raise ValueError(f"'{label}' from {start:g} to {end:g} s is in {before}; keep one")
        else:
            found.append((start, end, label))
    return tuple(found)


def intervals_of(
    label_N: Sequence[str | None] | npt.NDArray[Any], time_N: npt.NDArray[np.float64]
) -> tuple[Interval, ...]:
    """The intervals of labels of single samples, None: without one. An interval lasts from its
    first sample to the sample after its last, of which the end of the recording is a median step
    after the one before. `time_N` ascends, in seconds."""
    label_N = np.asarray(label_N, object)
    if len(label_N) != len(time_N):
        raise ValueError(f"{len(label_N)} labels of {len(time_N)} samples")
    if not len(time_N):
        return ()
    step = float(np.median(np.diff(time_N))) if len(time_N) > 1 else CLOSE
    first = np.flatnonzero(np.append([True], label_N[1:] != label_N[:-1])).tolist()
    bounds = [*time_N[first].tolist(), float(time_N[-1]) + step]
    labels = label_N[first].tolist()
    spans = zip(pairwise(bounds), labels, strict=True)
    return checked((start, end, str(label)) for (start, end), label in spans if label is not None)


def window_label(
    intervals: Sequence[Interval], start: float, end: float, boundary: str | float
) -> tuple[bool, str | None]:
    """Whether there is a window of this span, and its label: that of the largest of its parts, of
    equal ones the first. `intervals`: as `checked`; `boundary`: of the data set's settings."""
    seconds = dict[str | None, float]()  # in the order of time; None: without a label
    reached = start
    for begin, stop, label in intervals[bisect_right(intervals, start, key=lambda i: i[1]) :]:
        if begin >= end:
            break
        begin, stop = max(begin, start), min(stop, end)
        if begin > reached:
            seconds[None] = seconds.get(None, 0.0) + begin - reached
        seconds[label] = seconds.get(label, 0.0) + stop - begin
        reached = stop
    seconds[None] = seconds.get(None, 0.0) + end - reached
    rounding = CLOSE * (end - start)
    most = max(seconds.values())
    largest = next(label for label, part in seconds.items() if part >= most - rounding)
    share = SHARES[boundary] if isinstance(boundary, str) else boundary
    is_enough = most >= share * (end - start) - rounding
    return is_enough and largest != LEFT_OUT, largest


def label_of(
    recording: Recording, start: float, end: float, boundary: str | float
) -> tuple[bool, str | None]:
    """As `window_label`, of a window of this recording."""
    if recording.intervals is None:
        return True, recording.label
    return window_label(recording.intervals, start, end, boundary)


def seconds_outside(intervals: Sequence[Interval], start: float, end: float) -> float:
    """How much of intervals is outside of a span."""
    return sum(max(0.0, start - s) + max(0.0, e - end) if s < end and start < e else e - s
               for s, e, _ in intervals)  # fmt: skip


def window_count(seconds: float, settings: DatasetConfig) -> float:
    """How many windows there are in so many seconds, with a fraction; not of `whole` recordings."""
    length = settings.window_seconds
    assert length != "whole"
    stride = settings.stride_seconds or length
    return max(0.0, (seconds - (length - stride)) / stride)


def listed_counts(recording: Recording, settings: DatasetConfig) -> list[tuple[str | None, int]]:
    """The classes of a recording, each with about how many windows it has, as far as that is known
    without opening it: by the lengths of intervals, otherwise 1."""
    if recording.intervals is None:
        return [(recording.label, 1)]
    length, (begin, stop) = settings.window_seconds, recording.span
    each = settings.stride_seconds or length
    assert each != "whole"
    seconds = dict.fromkeys(recording.labels, 0.0)
    for start, end, label in recording.intervals:
        if label in seconds:
            seconds[label] += max(0.0, min(end, stop) - max(start, begin))
    return [(label, max(1, round(sum_ / each))) for label, sum_ in seconds.items()] or [(None, 1)]


def most_labelled_windows(recording: Recording, settings: DatasetConfig, label: str) -> int:
    """An upper bound of the windows that have a label of one of the recording's intervals."""
    length, (begin, stop) = settings.window_seconds, recording.span
    assert length != "whole"
    stride = settings.stride_seconds or length
    parts = (min(e, stop) - max(s, begin) for s, e, of in recording.intervals or () if of == label)
    return sum(math.floor((part + length) / stride) + 1 for part in parts if part > 0)


def without_null(recordings: Sequence[Recording], null: NullClass | None) -> list[Recording]:
    """The recordings, in which the null class is no class. Raises DatasetError if none has it."""
    if null is None:
        return list(recordings)
    known = {label for recording in recordings for label in recording.labels}
    if null.label not in known:
        message = f"null_class.label: no class '{null.label}'{nearest(null.label, known)}"
        raise DatasetError("dataset.no-null-class", message)
    found = []
    for recording in recordings:
        if recording.intervals is not None:
            renamed = ((s, e, LEFT_OUT if label == null.label else label)
                       for s, e, label in recording.intervals)  # fmt: skip
            kept = (i for i in renamed if null.windows == "drop" or i[2] != LEFT_OUT)
            found.append(replace(recording, intervals=tuple(kept)))
        elif recording.label != null.label:
            found.append(recording)
        elif null.windows == "unlabelled":
            found.append(replace(recording, label=None))
    if not found:
        message = f"null_class: every recording is of the class '{null.label}'"
        raise DatasetError("dataset.no-recordings", f"{message}; set windows: unlabelled")
    return found


def overlapping(recordings: Sequence[Recording]) -> Iterator[tuple[int, int]]:
    """Places of each two recordings that have a stretch of the same file in common, at least one of
    which is a part of it."""
    if not any(recording.is_part for recording in recordings):
        return  # most sets, whose files need not be looked at
    spans_of = defaultdict[Any, list[tuple[float, float, int]]](list)
    for place, recording in enumerate(recordings):
        begin, stop = recording.span
        if recording.video:
            spans_of[file_identity(recording.video)].append((begin, stop, place))
        if recording.imu != recording.video and recording.imu_offset != "estimate":
            # So that spans are of the file's own clock; of several sensors, whose offsets its other
            # recordings have too, of the video's.
            shift = recording.imu_offset if isinstance(recording.imu_offset, float) else 0.0
            spans_of[file_identity(recording.imu)].append((begin - shift, stop - shift, place))
    found = set[tuple[int, int]]()
    for spans in spans_of.values():
        if not any(recordings[place].is_part for _, _, place in spans):
            continue
        open_spans: list[tuple[float, int]] = []  # until when, and whose
        for begin, stop, place in sorted(spans):
            open_spans = [span for span in open_spans if span[0] > begin + TOUCHING]
            for _, other in open_spans:
                pair = min(other, place), max(other, place)
                if pair not in found and any(recordings[p].is_part for p in pair):
                    found.add(pair)
                    yield pair
            open_spans.append((stop, place))


def refuse_shared(recordings: Sequence[Recording], names: Sequence[str], what: str) -> None:
    """Raises DatasetError for two recordings that share a stretch of a file and are in two splits,
    or of two groups: `what` is `split` or `group`. `names`: of the recordings."""
    for one, other in overlapping(recordings):
        first, second = recordings[one], recordings[other]
        of = [r.split if what == "split" else r.group for r in (first, second)]
        if common_form(of[0]) != common_form(of[1]):
            fault = f"{names[one]} and {names[other]} overlap in time, in the {what}s"
            fix = f"give them one {what}, or correct start and end"
            message = f"{fault} '{of[0]}' and '{of[1]}'; {fix}"
            raise DatasetError("dataset.shared-span", message)
