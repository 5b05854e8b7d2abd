"""Recordings to windows, without Ray: spans, clocks that jump, damaged files among good ones."""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comodo.config import TeacherConfig
from comodo.core.store import Store
from comodo.data.frames import VideoTrack
from comodo.data.imu import ImuStream
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.recordings import Recording
from comodo.data.slicing import (
    WINDOW_SCHEMA,
    PrepareError,
    drawn,
    slice_chunk,
    slice_recording,
    window_numbers,
)
from comodo.runtime.decode import decode_batch
from tests.conftest import write_imu
from tests.data.test_video import make_video
from tests.errors import raises

COUNT = 200


@given(
    start=st.floats(-10, 100),
    lengths=st.lists(st.floats(0.5, 60), min_size=1, max_size=4),
    gap=st.floats(1, 1e9),
    seconds=st.floats(0.5, 60),
)
def test_windows_tile_what_is_sampled(
    start: float, lengths: list[float], gap: float, seconds: float
) -> None:
    """Against a plain formulation: every window of the tiling that some sample falls into."""
    begins = [start + sum(lengths[:i]) + i * gap for i in range(len(lengths))]
    stretches = [b + np.arange(0, n, 0.1) for b, n in zip(begins, lengths, strict=True)]
    time_N = np.concatenate(stretches)
    end = time_N[-1] + 0.1
    numbers = window_numbers(time_N, start, end, seconds, 0.5)
    assert numbers == sorted(set(numbers))
    assert all(start + (i + 1) * seconds <= end + 1e-5 * seconds + 1e-6 for i in numbers)
    held = np.unique(np.floor((time_N - start) / seconds)).astype(int)
    count = (end - start) / seconds
    assert {i for i in held if i + 1 < count - 1e-5} <= set(numbers) <= set(held)


def folder(manifest: Path, **settings: object) -> FolderDataset:
    values = {"window_seconds": 1.0, "imu_rate": 25.0, **settings}
    return FolderDataset(kind="folder", path=str(manifest), **values)


class TestClocks:
    """Decided: samples after a jump forward are as good as those before, only windows with the
    jump are left out; a clock that runs backwards says nothing about when its samples were."""

    def windows(self, time_N: np.ndarray, video: float | None, **settings: object) -> list[str]:
        imu_NC = np.random.default_rng(0).normal(size=(len(time_N), 6)).astype(np.float32)
        recording = Recording("r", "v.mp4" if video else "", "i.csv", "train", "g")
        config = folder(Path(__file__), window_seconds=2.0).model_copy(update=settings)
        track = None if video is None else VideoTrack(video, ())
        rows, _ = slice_recording(recording, [ImuStream(time_N, imu_NC)], track, config)
        assert all(np.isfinite(row["imu"]).all() and len(row["imu"]) == 300 for row in rows)
        return [row["window"] for row in rows]

    @pytest.mark.parametrize("jump", [7200.0, 1.7e9, 1e15])
    def test_a_jump_forward(self, jump: float) -> None:
        time_N = np.arange(500) / 50
        time_N[250:] += jump
        found = self.windows(time_N, video=None)
        after = [int(name.removeprefix("r:")) for name in found[2:]]
        assert found[:2] == ["r:0", "r:1"]
        assert 1 <= len(after) <= 2 and all(number >= jump / 2 for number in after)
        assert self.windows(time_N, video=9.0) == ["r:0", "r:1"]  # the rest is past the video
        with raises(PrepareError, "windows.gaps"):
            self.windows(time_N, video=None, window_seconds="whole")

    def test_a_jump_within_a_window_costs_that_window(self) -> None:
        time_N = np.arange(500) / 50
        time_N[125:] += 0.7  # 2.5 s become 3.2 s
        assert self.windows(time_N, video=None) == ["r:0", "r:2", "r:3", "r:4"]


@given(
    rate=st.floats(5, 400),
    begin=st.floats(-20, 20),
    length=st.floats(3, 30),
    video=st.one_of(st.none(), st.floats(1, 30)),
    still=st.tuples(st.floats(0, 30), st.floats(1, 10)),
    hole=st.tuples(st.floats(0, 30), st.floats(0, 3)),
    seconds=st.floats(0.5, 5),
)
def test_every_window_is_inside_what_was_recorded(
    rate: float,
    begin: float,
    length: float,
    video: float | None,
    still: tuple[float, float],
    hole: tuple[float, float],
    seconds: float,
) -> None:
    """Against a direct formulation: which windows of the tiling have both picture and samples."""
    time_N = begin + np.arange(round(length * rate)) / rate
    time_N = time_N[(time_N < begin + hole[0]) | (time_N >= begin + sum(hole))]
    assume(len(time_N) > 10)
    track = None if video is None else VideoTrack(video, ((still[0], sum(still)),))
    recording = Recording("r", "v.mp4" if video else "", "i.csv", "train", "g")
    config = folder(Path(__file__), window_seconds=seconds)
    stream = ImuStream(time_N, np.ones((len(time_N), 6), np.float32))
    try:
        rows, _ = slice_recording(recording, [stream], track, config)
    except PrepareError:
        rows = []
    spans = [(row["start"], row["end"]) for row in rows]
    sample = 1 / stream.rate
    start = time_N[0] if track is None else max(0, time_N[0])
    start = 0.0 if track is not None and start <= sample else start
    for first, last in spans:
        assert first >= start - 1e-9 and (first - start) / seconds == pytest.approx(
            round((first - start) / seconds), abs=1e-6
        )
        assert last <= time_N[-1] + 2 * sample + 1e-5
        if track is not None:
            assert last <= track.seconds + 1e-5
            assert not (first < sum(still) and still[0] < last)
    found = {round((first - start) / seconds) for first, _ in spans}
    for number in set(range(round(40 / seconds))) - found:  # clearly good windows are all there
        first, last = start + number * seconds, start + (number + 1) * seconds
        inside_N = time_N[(time_N > first) & (time_N < last)]
        missing = np.diff(np.concatenate([[first], inside_N, [last]])).max()
        good = last <= time_N[-1] and missing <= 0.5 and len(inside_N) > 0
        if track is not None:
            good &= last <= track.seconds and not (first < sum(still) and still[0] < last)
        assert not good


def test_an_imu_without_video_is_used_from_its_first_sample() -> None:
    """Its clock starts anywhere: twelve of these 24 windows are before 0 s."""
    time_N = -24 + np.arange(48 * 50) / 50
    recording = Recording("r", "", "i.csv", "train", "g")
    stream = ImuStream(time_N, np.ones((len(time_N), 6), np.float32))
    rows, _ = slice_recording(recording, [stream], None, folder(Path(__file__), window_seconds=2.0))
    assert [row["start"] for row in rows] == pytest.approx(list(range(-24, 24, 2)))


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # it is a link to what the others are
    path.write_bytes(content)


def only_sound(path: Path) -> None:
    path.unlink()
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        output.mux(stream.encode(silence))
        output.mux(stream.encode())


def edit(path: Path, change: Callable[[list[list[str]]], None]) -> None:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    change(rows)
    replace(path, "\n".join(map(",".join, rows)).encode())


def backwards(rows: list[list[str]]) -> None:
    for row in rows[51:]:
        row[0] = f"{float(row[0]) - 3600:.3f}"


def without_gyroscope(rows: list[list[str]]) -> None:
    for row in rows[1:]:
        row[4:] = ["0"] * 3


def text_in_a_column(rows: list[list[str]]) -> None:
    rows[20][2] = "overflow"


def other_names(rows: list[list[str]]) -> None:
    rows[0] = ["time_s", *(f"a{number}" for number in range(6))]


BEFORE: dict[str, tuple[Callable[[Path], None], str]] = {
    "videos/r003.mp4": (truncate, r"VideoError: .*r003.mp4: cannot be read as video \(Invalid"),
    "videos/r021.mp4": (partial(replace, content=b""), r"r021.mp4: is empty \(0 bytes\)"),
    "videos/r044.mp4": (only_sound, "r044.mp4: has no video stream"),
    "videos/r065.mp4": (Path.unlink, r"r065.mp4: cannot be read as video \(No such file"),
    "imu/r080.csv": (Path.unlink, "ImuError: .*r080.csv: no such file"),
    "imu/r101.csv": (partial(edit, change=other_names), "r101.csv: no column acc_x; it has time_s"),
    "imu/r120.csv": (partial(edit, change=backwards), "r120.csv: the clock runs backwards at sam"),
    "imu/r147.csv": (partial(edit, change=without_gyroscope), "r147.csv: .*zero throughout"),
    "imu/r166.csv": (partial(replace, content=b""), "r166.csv: cannot be read as CSV: No columns"),
    "imu/r185.csv": (partial(edit, change=text_in_a_column), "r185.csv: column acc_y.*overflow"),
}
AFTER: dict[str, tuple[Callable[[Path], None], str]] = {
    "videos/r000.mp4": (Path.unlink, r"r000.mp4: cannot be read as video \(No such file"),
    "videos/r010.mp4": (partial(replace, content=b""), r"r010.mp4: is empty \(0 bytes\)"),
    "videos/r020.mp4": (partial(replace, content=b"text" * 999), r"r020.mp4: .*\(Invalid data"),
    "videos/r030.mp4": (only_sound, "r030.mp4: has no video stream"),
    "videos/r199.mp4": (truncate, r"r199.mp4: (ends at|cannot be read)"),
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """200 recordings of two seconds; all but the damaged are one and the same file."""
    for name in ("videos", "imu"):
        (tmp_path / name).mkdir()
    make_video(tmp_path / "one.mp4")
    make_video(tmp_path / "header_first.mp4", container={"movflags": "faststart"})
    write_imu(tmp_path / "one.csv", 2.0)
    lines = ["recording,video,imu,label,split,group"]
    for number in range(COUNT):
        video, imu = f"videos/r{number:03d}.mp4", f"imu/r{number:03d}.csv"
        os.link(tmp_path / ("header_first.mp4" if number == 199 else "one.mp4"), tmp_path / video)
        os.link(tmp_path / "one.csv", tmp_path / imu)
        lines.append(f"r{number:03d},{video},{imu},walking,train,s{number}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    return tmp_path / "manifest.csv"


def test_damaged_recordings_are_rejected_alone(manifest: Path) -> None:
    for name, (damage, _) in BEFORE.items():
        damage(manifest.parent / name)
    settings = folder(manifest)
    recordings = list_recordings(settings, manifest.parent)
    sliced = list(
        slice_chunk(open_dataset(settings, manifest.parent), recordings, settings, manifest.parent)
    )
    abouts = {about["recording"]: about for _, about in sliced}
    rejected = {id: about["rejected"] for id, about in abouts.items() if "rejected" in about}
    reasons = {Path(name).stem: reason for name, (_, reason) in BEFORE.items()}
    assert len(abouts) == COUNT and rejected.keys() == reasons.keys()
    assert len(rejected) == 0.05 * COUNT
    for id, reason in reasons.items():
        assert re.search(reason, rejected[id]), rejected[id]
    good = [rows for rows, about in sliced if "rejected" not in about]
    for rows in good:
        assert [row["window"][4:] for row in rows] == [":0", ":1"]
        for row, first in zip(rows, good[0], strict=True):
            np.testing.assert_array_equal(row["imu"], first["imu"])
    table = pa.Table.from_pylist([row for rows, _ in sliced for row in rows], schema=WINDOW_SCHEMA)
    assert len(table) == 2 * (COUNT - len(rejected)) + len(rejected)


def test_files_that_break_before_encoding_are_rejected_alone(manifest: Path) -> None:
    settings = folder(manifest)
    recordings = list_recordings(settings, manifest.parent)
    sliced = slice_chunk(
        open_dataset(settings, manifest.parent), recordings, settings, manifest.parent
    )
    rows = [row for rows, _ in sliced for row in rows]
    assert len(rows) == 2 * COUNT
    for name, (damage, _) in AFTER.items():
        damage(manifest.parent / name)
    batch = {
        key: np.array([row[key] for row in rows]) for key in ("window", "video", "start", "end")
    } | {"file": np.array(["{}"] * len(rows)), "flipped": np.zeros(len(rows), bool)}
    teacher = TeacherConfig(name="efficientnet-lite0")
    decoded = decode_batch(batch, 2, 16, Store(manifest.parent), teacher)
    reasons = np.char.add(decoded["rejected"], decoded["passing"])  # a missing file may come back
    rejected = {w: r for w, r in zip(batch["window"], reasons, strict=True) if r}
    # Of the file that ends halfway the first second is still good.
    wanted = {f"{Path(n).stem}:{i}" for n in AFTER for i in (0, 1)} - {"r199:0"}
    assert rejected.keys() == wanted
    for name, (_, reason) in AFTER.items():
        assert re.search(reason, rejected[f"{Path(name).stem}:1"])
    good_N = reasons == ""
    assert len({frames.tobytes() for frames in decoded["frames"][good_N]}) == 2  # as all were


def test_windows_of_half_a_sample_more_are_equally_long() -> None:
    stream = ImuStream(np.arange(2_000) / 100, np.zeros((2_000, 6), np.float32))
    settings = SimulatedDataset(kind="simulated", window_seconds=2.5, imu_rate=25)
    rows, _ = slice_recording(Recording("r", "", "r.csv", "train", "g"), [stream], None, settings)
    assert len(rows) == 8
    assert {len(row["imu"]) for row in rows} == {6 * 62}


@given(st.integers(1, 400), st.integers(1, 40))
def test_windows_are_drawn_as_published(windows: int, count: int) -> None:
    """Against the published code's own way: all but the last, shuffled anew for each recording with
    the seed 16349, of which it takes the first."""
    kept = list(range(3, 3 + windows))
    expected = kept[:-1]
    if len(expected) > count:
        np.random.RandomState(16349).shuffle(expected)
        expected = expected[:count]
    found = drawn(kept, count)
    assert found == sorted(found)
    if windows <= count:  # here the last one can be trained on, see `last_window`
        assert found == kept
    else:
        assert set(found) == set(expected)
    assert drawn(kept, None) == kept


def test_windows_of_training_recordings_are_drawn(tmp_path: Path) -> None:
    time_N = np.arange(2_000) / 50
    stream = ImuStream(time_N, np.ones((len(time_N), 6), np.float32))
    settings = folder(Path(__file__), window_seconds=2.0)
    few = settings.model_copy(update={"windows_per_recording": 3})
    for split, config, windows in (("train", few, 3), ("test", few, 20), ("train", settings, 20)):
        recording = Recording("r", "", "i.csv", split, "g")
        rows, count = slice_recording(recording, [stream], None, config)
        assert (len(rows), count) == (windows, 20)
        assert all(row["end"] - row["start"] == pytest.approx(2) for row in rows)
        assert all(row["start"] == pytest.approx(2 * int(row["window"][2:])) for row in rows)
    assert "windows_per_recording" not in settings.for_key()  # so that keys stay
    assert few.for_key()["windows_per_recording"] == 3


def test_what_does_not_overlap_says_when_each_runs() -> None:
    """It named the video also where there is none, and neither its span nor what to write."""
    settings = FolderDataset(kind="folder", path=__file__)
    late, early = (
        ImuStream(start + np.arange(300) / 50, np.ones((300, 1)), channels=(f"{name}.acc_x",))
        for start, name in ((159538.6, "hand"), (0.0, "foot"))
    )
    row = Recording("a", "", "a.csv", "train", "")
    fix = "correct their times, in a manifest with imu_offset"
    with raises(PrepareError, "windows.no-overlap", "the sensors do not", "0.0 s to 6.0 s", fix):
        slice_recording(row, (late, early), None, settings)
    track = VideoTrack(2.0, ())
    with raises(PrepareError, "windows.no-overlap", "and the video from 0.0 s to 2.0 s", fix):
        slice_recording(row, (late,), track, settings)
