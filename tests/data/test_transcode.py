"""Small copies, against their sources: frames carry their number as a grey level."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from comodo.data.frames import VideoError
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.slicing import slice_chunk
from comodo.data.transcode import FRAMES_PER_SECOND, SHORT_SIDE_PX, transcode
from comodo.data.video import decode_frames, video_seconds
from tests.conftest import write_imu
from tests.data.test_frames import ORIENTATIONS, corners, make_oriented
from tests.data.test_video import GOPRO, make_video, numbers
from tests.errors import raises

UNEVEN = [0, 10, 20, 400, 410, 900, 1000, 1500, 1510, 1900]


@pytest.mark.parametrize(("width", "height", "rotation"), [(160, 64, 0), (64, 160, 90)])
@pytest.mark.parametrize(("times_ms", "start"), [(None, 0), (None, 60), (UNEVEN, 0)])
def test_a_copy_shows_the_same_at_the_same_time(
    tmp_path: Path,
    times_ms: list[int] | None,
    start: int,
    width: int,
    height: int,
    rotation: int,
) -> None:
    source = make_video(
        tmp_path / "a.mp4", times_ms, start=start, width=width, height=height, rotation=rotation
    )
    copy = transcode(str(source), tmp_path / "copies")
    assert video_seconds(copy) == pytest.approx(
        video_seconds(source), abs=0.5 / FRAMES_PER_SECOND + 1e-6
    )
    shown = numbers(decode_frames(copy, 0, 1.9, 38, SHORT_SIDE_PX))
    for number, time in zip(shown, (np.arange(38) + 0.5) * 0.05, strict=True):
        around = [
            max(0.0, time - 0.5 / FRAMES_PER_SECOND - 1e-3),
            time + 0.5 / FRAMES_PER_SECOND + 1e-3,
        ]
        first, last = (numbers(decode_frames(source, t, t + 1e-4, 1, 32))[0] for t in around)
        assert first <= number <= last


def test_a_copy_has_the_shape_and_orientation_that_players_show(tmp_path: Path) -> None:
    for number, matrix in enumerate(ORIENTATIONS):
        source = make_oriented(tmp_path / f"{number}.mp4", matrix, Fraction(4, 3))
        copy = transcode(str(source), tmp_path / "copies")
        pair = [decode_frames(path, 0, 0.01, 1, 224)[0] for path in (source, copy)]
        assert corners(pair[0]) == corners(pair[1])
        assert np.abs(np.subtract(*pair, dtype=int)).mean() < 3


def test_a_copy_is_small_even_and_easy_to_seek(tmp_path: Path) -> None:
    copy = transcode(str(make_video(tmp_path / "a.mp4", width=640, height=480)), tmp_path)
    with av.open(copy) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == (
            "h264",
            SHORT_SIDE_PX,
            SHORT_SIDE_PX,
        )
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(20) / FRAMES_PER_SECOND)
    assert all(
        frames[i].key_frame for i in (0, FRAMES_PER_SECOND)
    )  # and wherever the picture changes


def test_a_long_source_is_copied_in_pieces_without_seams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(make_video(tmp_path / "a.mp4"))
    whole = Path(transcode(source, tmp_path / "whole")).read_bytes()
    monkeypatch.setattr("comodo.data.transcode.FRAMES_IN_MEMORY", 7)
    assert Path(transcode(source, tmp_path / "pieces")).read_bytes() == whole


def test_a_second_run_copies_nothing_and_a_changed_source_is_copied_anew(tmp_path: Path) -> None:
    source, copies = make_video(tmp_path / "a.mp4"), tmp_path / "copies"
    copy = Path(transcode(str(source), copies))
    stamp = copy.stat().st_mtime_ns
    assert transcode(str(source), copies) == str(copy)
    assert copy.stat().st_mtime_ns == stamp
    make_video(source, count=30)
    assert transcode(str(source), copies) != str(copy)


def test_a_broken_source_leaves_nothing_behind(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", container={"movflags": "faststart"})
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with raises(VideoError, "video.unreadable", "a.mp4"):
        transcode(str(source), tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []


def test_windows_point_to_the_copies_and_a_broken_file_is_rejected_alone(tmp_path: Path) -> None:
    lines = ["video,imu,split"]
    for name in "abc":
        make_video(tmp_path / f"{name}.mp4", container={"movflags": "faststart"})
        write_imu(tmp_path / f"{name}.csv", 2.0)
        lines.append(f"{name}.mp4,{name}.csv,train")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    broken = tmp_path / "b.mp4"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    settings = FolderDataset(
        kind="folder", path=str(tmp_path / "m.csv"), window_seconds=1.0, imu_rate=25.0,
        videos="shrink",
    )  # fmt: skip
    recordings = list_recordings(settings, tmp_path)
    reader = open_dataset(settings, tmp_path)
    sliced = list(slice_chunk(reader, recordings, settings, tmp_path / "copies"))
    assert [about.get("windows") for _, about in sliced] == [2, None, 2]
    assert "VideoError" in sliced[1][1]["rejected"] and "b.mp4" in sliced[1][1]["rejected"]
    copies = [str(path) for path in (tmp_path / "copies").iterdir()]
    assert {row["video"] for i in (0, 2) for row in sliced[i][0]} == set(copies)
    assert len(copies) == 2


def test_a_camera_s_file_looks_the_same(tmp_path: Path) -> None:
    if not GOPRO.exists():
        pytest.skip(f"needs {GOPRO.name}")
    copy = transcode(str(GOPRO), tmp_path)
    assert Path(copy).stat().st_size < 0.25 * GOPRO.stat().st_size
    middles = (
        np.arange(20) + 0.5
    ) / FRAMES_PER_SECOND  # times at which both show the very same frame
    for time in middles:
        span = (time - 1e-4, time + 1e-4)
        pair = (decode_frames(path, *span, 1).astype(int) for path in (GOPRO, copy))
        assert np.abs(np.subtract(*pair)).mean() < 6  # of 255, by coding
