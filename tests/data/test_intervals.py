"""Labels of windows against a plain count of samples, spans of one file, and a file that is cut
against the same span of the whole file."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.io import loadmat

from comodo.config.dataset_base import NullClass
from comodo.data.frames import VideoTrack
from comodo.data.imu import ImuStream
from comodo.data.intervals import (
    checked,
    intervals_of,
    label_of,
    listed_counts,
    most_labelled_windows,
    overlapping,
    refuse_shared,
    seconds_outside,
    window_count,
    window_label,
    without_null,
)
from comodo.data.quality import QUALITY_SCHEMA, flag_lines
from comodo.data.readers import list_recordings
from comodo.data.readers.folder import FolderDataset, FolderReader
from comodo.data.recordings import LEFT_OUT, DatasetError, Interval, Recording
from comodo.data.slicing import PrepareError, part_of, slice_chunk, slice_recording, window_numbers
from tests.conftest import write_imu
from tests.errors import raises

RATE = 10
LABELS = st.sampled_from(["walk", "run", "sit", None])
RUNS = st.lists(st.tuples(LABELS, st.integers(1, 70)), min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 600), min_size=2, max_size=6, unique=True).map(sorted)


def folder(**values: object) -> FolderDataset:
    values = {"window_seconds": 2.0, "imu_rate": 20.0, "path": __file__, **values}
    return FolderDataset.model_validate({"kind": "folder", **values})


def samples(runs: list[tuple[str | None, int]]) -> tuple[np.ndarray, ImuStream]:
    """A label for each sample, None without one, and the samples, 10 in a second."""
    label_N = np.array([label for label, count in runs for _ in range(count)], object)
    values_NC = np.random.default_rng(len(label_N)).normal(size=(len(label_N), 6))
    return label_N, ImuStream(np.arange(len(label_N)) / RATE, values_NC.astype(np.float32))


def recording(**values: Any) -> Recording:
    return replace(Recording("r", "", "i.csv", "train", "g"), **values)


def plain_label(label_n: np.ndarray, boundary: str | float) -> tuple[bool, str | None]:
    """By counting samples: the label of most, of equal ones the first, if it has the share."""
    count = {label: list(label_n).count(label) for label in dict.fromkeys(label_n)}
    label = max(count, key=lambda name: count[name])
    share = {"majority": 0.0, "drop": 1.0}[boundary] if isinstance(boundary, str) else boundary
    return count[label] >= share * len(label_n) - 1e-9, label


@given(
    runs=RUNS,
    length=st.integers(2, 40),
    stride=st.integers(1, 40),
    boundary=st.sampled_from(["majority", "drop", 0.5, 0.6, 0.75, 0.9, 1.0]),
)
def test_a_window_has_the_label_that_its_samples_have(
    runs: list[tuple[str | None, int]], length: int, stride: int, boundary: str | float
) -> None:
    label_N, stream = samples(runs)
    assume(len(label_N) >= max(5, length) and stride <= length)
    config = folder(window_seconds=length / RATE, stride_seconds=stride / RATE, boundary=boundary)
    whole = recording(intervals=intervals_of(label_N, stream.time_N))
    expected, full = {}, (len(label_N) - length) // stride + 1
    for number in range(full):
        kept, label = plain_label(label_N[number * stride : number * stride + length], boundary)
        if kept:
            expected[f"r:{number}"] = label
    if not expected:
        with suppress(PrepareError):  # there may be one that lacks the last sample, see below
            rows, _ = slice_recording(whole, [stream], None, config)
            assert [row["window"] for row in rows] == [f"r:{full}"]
        return
    rows, _ = slice_recording(whole, [stream], None, config)
    # A stream may end up to a sample early, so there may be a window that lacks the last one.
    found = {row["window"]: row["label"] for row in rows if row["window"] != f"r:{full}"}
    assert found == expected


@given(runs=RUNS, cuts=CUTS, chance=st.randoms())
def test_no_sample_of_a_span_is_in_two_splits(
    runs: list[tuple[str | None, int]], cuts: list[int], chance: Any
) -> None:
    """Each sample has its number as its value: which windows have it shows where it went."""
    label_N, stream = samples([*runs, (None, 300)])
    number_NC = np.repeat(np.arange(len(label_N))[:, None] + 1.0, 6, axis=1)
    stream = replace(stream, imu_NC=number_NC.astype(np.float32))
    bounds = [cut / RATE for cut in cuts if cut < len(label_N)]
    assume(len(bounds) >= 2)
    config = folder(window_seconds=0.5, imu_rate=float(RATE))
    intervals, seen = intervals_of(label_N, stream.time_N), dict[str, set[int]]()
    for start, end in pairwise(bounds):
        split = chance.choice(["train", "val", "test"])
        part = recording(start=start, end=end, split=split, intervals=intervals)
        try:
            streams, _ = part_of(part, ((stream,), None))
            rows, _ = slice_recording(part, streams, None, config)
        except PrepareError:
            continue
        for row in rows:
            assert row["split"] == split
            inside_n = (stream.time_N >= row["start"] - 1e-6) & (stream.time_N < row["end"] - 1e-6)
            inside_n &= (stream.time_N >= start) & (stream.time_N < end)
            seen.setdefault(split, set()).update(np.flatnonzero(inside_n).tolist())
            # Values of samples outside would be below the first or above the last of the span.
            values_n = np.array(row["imu"])
            assert values_n.min() >= number_NC[inside_n].min() - 1
            assert values_n.max() <= number_NC[inside_n].max() + 1
    splits = list(seen.values())
    assert all(not a & b for i, a in enumerate(splits) for b in splits[i + 1 :])


class TestCut:
    """A file that is cut at t against the span from t of the whole file."""

    def windows(self, part: Recording, stream: ImuStream, track: VideoTrack | None) -> list[Any]:
        streams, track = part_of(part, ((stream,), track))
        config = folder(window_seconds=1.3, stride_seconds=0.7, imu_rate=25.0)
        rows, _ = slice_recording(part, streams, track, config)
        return rows

    @given(st.floats(0.5, 30), st.floats(5, 20), st.floats(8, 90))
    def test_an_imu_file_bitwise(self, start: float, seconds: float, rate: float) -> None:
        time_N = np.arange(int(60 * rate)) / rate
        imu_NC = np.random.default_rng(0).normal(size=(len(time_N), 6)).astype(np.float32)
        stream, end = ImuStream(time_N, imu_NC), start + seconds
        inside_N = (time_N >= start) & (time_N < end)
        cut = self.windows(recording(), ImuStream(time_N[inside_N], imu_NC[inside_N]), None)
        part = self.windows(recording(start=start, end=end), stream, None)
        assert [r["window"] for r in part] == [r["window"] for r in cut]
        for one, other in zip(part, cut, strict=True):
            assert (one["start"], one["end"]) == (other["start"], other["end"])
            assert np.array_equal(one["imu"], other["imu"])

    @given(st.floats(0.5, 30), st.floats(5, 20), st.floats(8, 90))
    def test_with_a_video_to_the_rounding_of_float32(
        self, start: float, seconds: float, rate: float
    ) -> None:
        """The clock of the cut file starts at the cut, so times differ by rounding."""
        time_N = np.arange(int(60 * rate)) / rate
        imu_NC = np.random.default_rng(0).normal(size=(len(time_N), 6)).astype(np.float32)
        end = start + seconds
        inside_N = (time_N >= start) & (time_N < end)
        stream = ImuStream(time_N[inside_N] - start, imu_NC[inside_N])
        cut = self.windows(recording(video="c.mp4"), stream, VideoTrack(end - start, ()))
        whole = ImuStream(time_N, imu_NC), VideoTrack(60.0, ())
        part = self.windows(recording(video="v.mp4", start=start, end=end), *whole)
        assert [r["window"] for r in part] == [r["window"] for r in cut]
        for one, other in zip(part, cut, strict=True):
            assert one["start"] - start == pytest.approx(other["start"], abs=1e-9)
            np.testing.assert_allclose(one["imu"], other["imu"], rtol=0, atol=2e-6)

    def test_a_still_picture_is_that_of_the_part(self) -> None:
        track = VideoTrack(60.0, ((3.0, 8.0), (20.0, 30.0))).part(5.0, 22.0)
        assert (track.start, track.end, track.still) == (5.0, 22.0, ((5.0, 8.0), (20.0, 22.0)))


@given(
    start=st.floats(-10, 100), length=st.floats(1, 60), seconds=st.floats(0.5, 10),
    share=st.floats(0.1, 1),
)  # fmt: skip
def test_overlapping_windows_go_from_the_first_to_the_last(
    start: float, length: float, seconds: float, share: float
) -> None:
    """Against a loop: every start that leaves room for a window."""
    stride, end = seconds * share, start + length
    time_N = np.arange(start, end, 0.05)
    found = window_numbers(time_N, start, end, seconds, 0.5, stride)
    starts = [i for i in range(3000) if start + i * stride + seconds <= end]
    assert found[: len(starts)] == starts
    assert len(found) - len(starts) <= 1  # a window that is longer by rounding
    assert int(
        window_count(length, folder(window_seconds=seconds, stride_seconds=stride)) + 1e-3
    ) >= len(starts)


INTERVALS: tuple[Interval, ...] = ((1.0, 4.0, "walk"), (4.0, 5.0, "run"), (8.0, 9.0, "sit"))


@pytest.mark.parametrize(
    ("start", "end", "boundary", "expected"),
    [
        (1.0, 4.0, "drop", (True, "walk")),
        (3.0, 5.0, "majority", (True, "walk")),  # of equal parts the first
        (3.5, 5.0, "majority", (True, "run")),
        (3.5, 5.0, 0.7, (False, "run")),
        (5.0, 8.0, "drop", (True, None)),
        (4.0, 7.0, "majority", (True, None)),  # more of it is unlabelled
        (4.0, 7.0, "drop", (False, None)),
        (20.0, 25.0, 1.0, (True, None)),
        (-9.0, 9.0, "majority", (True, None)),
    ],
)
def test_the_label_over_a_boundary(
    start: float, end: float, boundary: str | float, expected: tuple[bool, str | None]
) -> None:
    assert window_label(INTERVALS, start, end, boundary) == expected
    assert label_of(recording(label="all"), start, end, boundary) == (True, "all")


def test_intervals_are_put_in_order_and_refused() -> None:
    written = [(4.0, 6.0, "a"), (0.0, 2.0, "b"), (5.0, 7.0, "a"), (2.0, 3.0, "b")]
    assert checked(written) == ((0.0, 3.0, "b"), (4.0, 7.0, "a"))
    for wrong in ([(1.0, 1.0, "a")], [(2.0, 1.0, "a")], [(0.0, float("inf"), "a")]):
        with pytest.raises(ValueError, match="has no length"):
            checked(wrong)
    with pytest.raises(ValueError, match=r"'b' from 1 to 3 s is in 'a' from 0 to 2 s"):
        checked([(1.0, 3.0, "b"), (0.0, 2.0, "a")])


def test_labels_of_samples_as_intervals() -> None:
    time_N = np.array([0.0, 0.1, 0.2, 0.3, 5.0])
    assert intervals_of(["a", "a", None, "b", "b"], time_N) == ((0.0, 0.2, "a"), (0.3, 5.1, "b"))
    assert intervals_of(np.array([1, 1, 2, 2, 2]), time_N) == ((0.0, 0.2, "1"), (0.2, 5.1, "2"))
    assert intervals_of([], np.array([])) == ()
    with pytest.raises(ValueError, match="1 labels of 2 samples"):
        intervals_of(["a"], np.arange(2.0))


def test_sample_wise_labels_of_a_real_recording(shared_data: Path) -> None:
    """ActRecTut: 62,480 samples at 32 Hz, 573 stretches of 12 classes. Windows of 2 s have the
    label that most of their samples have."""
    file = shared_data / "actrectut/subject1_gesture/data.mat"
    if not file.is_file():
        pytest.skip(f"no {file}")
    content = loadmat(file)
    label_N = np.array([f"class {code}" for code in content["labels"].ravel()], object)
    time_N = np.arange(len(label_N)) / 32
    intervals = intervals_of(label_N, time_N)
    assert len(intervals) == 573
    stream = ImuStream(time_N, content["data"][:, :6].astype(np.float32))
    for boundary in ("majority", "drop", 0.8):
        config = folder(stride_seconds=0.5, boundary=boundary)
        rows, _ = slice_recording(recording(intervals=intervals), [stream], None, config)
        found = {int(row["window"][2:]): row["label"] for row in rows}
        for number in range((len(label_N) - 64) // 16 + 1):
            kept, label = plain_label(label_N[number * 16 : number * 16 + 64], boundary)
            assert found.get(number) == (label if kept else None)


def test_the_null_class() -> None:
    labelled = ((0.0, 5.0, "walk"), (5.0, 9.0, "null"))
    given = [recording(id="a", intervals=labelled), recording(id="b", label="null")]
    given.append(recording(id="c", label="walk"))
    assert without_null(given, None) == given
    one, two, three = without_null(given, NullClass(label="null"))
    assert (one.intervals, one.labels) == (labelled[:1], ("walk",))
    assert (two.label, three.label) == (None, "walk")
    one, three = without_null(given, NullClass(label="null", windows="drop"))
    assert (one.intervals, one.labels) == ((labelled[0], (5.0, 9.0, LEFT_OUT)), ("walk",))
    assert three.label == "walk"
    assert label_of(one, 0.0, 4.0, "majority") == (True, "walk")
    assert label_of(one, 4.0, 8.0, "majority")[0] is False
    with raises(DatasetError, "dataset.no-null-class", "'null'", "'Null'"):
        without_null(given, NullClass(label="Null"))
    with raises(DatasetError, "dataset.no-recordings", "unlabelled"):
        without_null(given[1:2], NullClass(label="null", windows="drop"))


class TestSpans:
    def test_spans_that_overlap(self) -> None:
        def parts(*spans: tuple[float | None, float | None]) -> list[tuple[int, int]]:
            return sorted(overlapping([recording(start=s, end=e) for s, e in spans]))

        assert parts((0, 5), (5, 9), (9, None)) == []
        assert parts((0, 5), (4, 9), (9, None)) == [(0, 1)]
        assert parts((None, 5), (None, None), (6, 7)) == [(0, 1), (1, 2)]
        assert parts((None, None), (None, None)) == []  # leakage notes are for these
        assert parts((0, 100), (1, 2), (3, 4)) == [(0, 1), (0, 2)]

    def test_the_clock_of_the_imu_file_counts(self) -> None:
        """The same samples with another offset, next to another video, are the same samples."""
        one = recording(video="a.mp4", start=0, end=10)
        other = recording(video="b.mp4", start=100, end=110, imu_offset=100.0)
        assert list(overlapping([one, other])) == [(0, 1)]
        assert list(overlapping([one, replace(other, imu_offset=0.0)])) == []

    def test_in_two_splits_they_are_refused(self) -> None:
        both = [recording(end=5, split="train"), recording(start=4, split="test")]
        with raises(DatasetError, "dataset.shared-span", "row 2 and row 3", "'train'", "'test'"):
            refuse_shared(both, ["row 2", "row 3"], "split")
        refuse_shared(both, ["row 2", "row 3"], "group")
        groups = [replace(both[0], group="Anna"), replace(both[1], group="ben")]
        with raises(DatasetError, "dataset.shared-span", "groups 'Anna' and 'ben'"):
            refuse_shared(groups, ["row 2", "row 3"], "group")

    def test_beyond_the_recording_they_are_refused(self) -> None:
        files = (ImuStream(np.arange(600) / 10, np.ones((600, 6), np.float32)),), None
        for start, end in ((60, 70), (50, 61), (-20, -10), (-1, 5)):
            with raises(PrepareError, "windows.beyond", "0.0 s to 60.0 s", f"{start}.0 s"):
                part_of(recording(start=float(start), end=float(end)), files)
        streams, _ = part_of(recording(start=-0.2, end=60.4), files)
        assert len(streams[0].time_N) == 600
        with raises(PrepareError, "windows.no-samples"):
            part_of(recording(start=3.01, end=3.05), files)
        with raises(PrepareError, "windows.no-video"):
            part_of(recording(start=50.0), (files[0], VideoTrack(20.0, ())))
        with raises(PrepareError, "windows.labels-beyond", "99.0 s"):
            part_of(recording(intervals=((99.0, 100.0, "a"),)), files)
        assert seconds_outside(((-1, 2, "a"), (58, 63, "b"), (70, 71, "c")), 0.0, 60.0) == 5


def test_a_listing_counts_classes_by_the_lengths_of_intervals() -> None:
    config = folder(window_seconds=2.0)
    part = recording(start=3.0, intervals=INTERVALS)
    assert part.labels == ("run", "sit", "walk")
    assert recording(end=2.0, intervals=INTERVALS).labels == ("walk",)
    long = recording(intervals=((0.0, 60.0, "walk"), (60.0, 80.0, "run")))
    assert listed_counts(long, config) == [("run", 10), ("walk", 30)]
    assert listed_counts(recording(intervals=()), config) == [(None, 1)]
    assert listed_counts(recording(label="run"), config) == [("run", 1)]


@given(runs=RUNS, stride=st.integers(1, 20))
def test_a_listing_bounds_labelled_windows(runs: list[tuple[str | None, int]], stride: int) -> None:
    label_N, stream = samples(runs)
    assume(len(label_N) >= 20)
    whole, config = (
        recording(intervals=intervals_of(label_N, stream.time_N)),
        folder(stride_seconds=stride / RATE),
    )
    rows, _ = slice_recording(whole, [stream], None, config)
    for label in whole.labels:
        found = sum(row["label"] == label for row in rows)
        assert found <= most_labelled_windows(whole, config, label)


def test_a_file_of_several_parts_is_read_once(tmp_path: Path) -> None:
    """Also with a label file, and between parts of other files each is read again."""
    for name in ("a", "b"):
        write_imu(tmp_path / f"{name}.csv", 20.0)
    (tmp_path / "a labels.csv").write_text("start,end,label\n0,7,walk\n7,14,run\n")
    (tmp_path / "m.csv").write_text(
        "imu,start,end,label,labels,split\n"
        "a.csv,0,8,,a labels.csv,train\n"
        "a.csv,8,,,a labels.csv,test\n"
        "b.csv,,10,sit,,train\n"
        "b.csv,10,20,lie,,test\n"
        "b.csv,30,40,lie,,test\n"
    )
    config = folder(path=str(tmp_path / "m.csv"))
    reader = CountingReader(config)
    listed = list_recordings(config, tmp_path)
    chunk = list(slice_chunk(reader, listed, config, tmp_path))
    assert reader.read == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    found = {
        about["recording"]: ([(row["start"], row["label"]) for row in rows], about["classes"])
        for rows, about in chunk
        if "windows" in about
    }
    assert found == {
        "a_0_8": (
            [(0, "walk"), (2, "walk"), (4, "walk"), (6, "walk")],
            [{"label": "walk", "windows": 4}],
        ),
        "a_8_end": (
            [(8, "run"), (10, "run"), (12, "run"), (14, None), (16, None), (18, None)],
            [{"label": "run", "windows": 3}],
        ),
        "b_start_10": ([(t, "sit") for t in range(0, 10, 2)], [{"label": "sit", "windows": 5}]),
        "b_10_20": ([(t, "lie") for t in range(10, 20, 2)], [{"label": "lie", "windows": 5}]),
    }
    assert [about["last_labelled"] for _, about in chunk[:2]] == [True, False]
    ((_, beyond),) = (pair for pair in chunk if "rejected" in pair[1])
    assert beyond["recording"] == "b_30_40"
    assert "its files run from 0.0 s to 20.0 s" in beyond["rejected"]


class CountingReader(FolderReader):
    def __init__(self, settings: FolderDataset) -> None:
        super().__init__(settings)
        self.read: list[str] = []

    def read_imu(self, recording: Recording) -> tuple[ImuStream, ...]:
        self.read.append(recording.imu)
        return super().read_imu(recording)


def test_overlapping_windows_count_their_seconds_once(tmp_path: Path) -> None:
    write_imu(tmp_path / "a.csv", 20.0)
    (tmp_path / "m.csv").write_text("imu,split\na.csv,train\n")
    config = folder(path=str(tmp_path / "m.csv"), stride_seconds=0.5)
    reader = FolderReader(config)
    ((rows, about),) = slice_chunk(reader, reader.recordings(), config, tmp_path)
    assert len(rows) == about["windows"] == 37
    assert about["window_seconds"] == pytest.approx(20.0)


def test_windows_of_stride_one_window_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    _, stream = samples([("walk", 700)])
    for seconds in (0.7, 1.1, 5 / 3):
        rows, _ = slice_recording(recording(), [stream], None, folder(window_seconds=seconds))
        config = folder(window_seconds=seconds, stride_seconds=seconds)
        again, _ = slice_recording(recording(), [stream], None, config)
        assert [(r["start"], r["end"]) for r in rows] == [(r["start"], r["end"]) for r in again]


def test_labels_beyond_a_recording_are_flagged(tmp_path: Path) -> None:
    write_imu(tmp_path / "a.csv", 20.0)
    (tmp_path / "l.csv").write_text("start,end,label\n0,7,walk\n15,34,run\n")
    (tmp_path / "m.csv").write_text("imu,labels,split\na.csv,l.csv,train\n")
    config = folder(path=str(tmp_path / "m.csv"))
    reader = FolderReader(config)
    ((_, about),) = slice_chunk(reader, reader.recordings(), config, tmp_path)
    assert about["labels_outside"] == pytest.approx(14.0)
    table = pa.Table.from_pylist([about], schema=QUALITY_SCHEMA).to_pandas()
    (line,) = (line for line in flag_lines(table) if "labels beyond" in line)
    assert "14 in a" in line
