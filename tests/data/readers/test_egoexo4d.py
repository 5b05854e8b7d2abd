"""Ego-Exo4D's documented layout, with a real VRS file of Aria glasses in place of a take's."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from comodo.data import aria_vrs
from comodo.data.imu import ImuError
from comodo.data.readers.egoexo4d import EgoExo4dDataset, EgoExo4dReader
from comodo.data.recordings import DatasetError
from tests.conftest import sliced, write_lists, write_video
from tests.errors import raises

START, FRAMES = 4, 12  # rows of timesync.csv before the take's first frame, and of it


@pytest.fixture(scope="session")
def aria(shared_data: Path) -> Path:
    """0.4 s of both IMUs, 400 and 319 samples."""
    return shared_data / "aria" / "aria_everyday_activities.vrs"


def take_of(name: str) -> dict[str, Any]:
    capture = name.rsplit("_", 1)[0]
    return {
        "take_name": name,
        "root_dir": f"takes/{name}",
        "timesync_start_idx": START - 1,
        "timesync_end_idx": START + FRAMES,
        "capture": {"capture_name": capture},
        "frame_aligned_videos": {
            "aria02": {"rgb": {"relative_path": "frame_aligned_videos/aria02_214-1.mp4"}},
            "best_exo": {"0": {"relative_path": None}},
            "cam01": {"0": {"relative_path": "frame_aligned_videos/cam01.mp4"}},
        },
    }


def make(
    folder: Path, aria: Path | None, names: list[str], seconds: float = 0.4
) -> EgoExo4dDataset:
    """Takes without timesync.csv; without `aria` their VRS files are empty."""
    for name in names:
        take = folder / "takes" / name
        write_video(take / "frame_aligned_videos" / "aria02_214-1.mp4", seconds, fps=30)
        file = take / "aria02_noimagestreams.vrs"
        file.symlink_to(aria) if aria else file.touch()
    (folder / "takes.json").write_text(json.dumps([take_of(name) for name in names]))
    lists = write_lists(folder / "lists", train=[f"{name}\tDance" for name in names])
    return EgoExo4dDataset(
        kind="egoexo4d",
        path=str(folder),
        splits=str(lists),
        window_seconds=0.1,
        imu_rate=200.0,
    )


def write_timesync(folder: Path, first_ns: float, missing: int = 0) -> Path:
    """A capture's times of frames at 30 fps, the take's first at `first_ns`, whose first `missing`
    frames were dropped."""
    frame_K = np.arange(-START, FRAMES + 5)
    time_ns_K = first_ns + frame_K / 30 * 1e9
    time_ns_K[START : START + missing] = np.nan
    file = folder / "timesync.csv"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"cam01_pts": frame_K, "aria02_214-1_capture_timestamp_ns": time_ns_K}
    pd.DataFrame(columns).to_csv(file, index=False)
    return file


def test_listing_takes_the_smaller_video_where_it_is(tmp_path: Path) -> None:
    settings = make(tmp_path, None, ["cmu_dance_01_10", "cmu_dance_01_2"])
    rows = EgoExo4dReader(settings).recordings()
    assert [(r.id, r.group, r.label, r.split) for r in rows] == [
        ("cmu_dance_01_10", "cmu_dance_01", "Dance", "train"),
        ("cmu_dance_01_2", "cmu_dance_01", "Dance", "train"),
    ]
    folder = tmp_path / "takes/cmu_dance_01_10"
    assert rows[0].imu == str(folder / "aria02_noimagestreams.vrs")
    assert rows[0].video == str(folder / "frame_aligned_videos/aria02_214-1.mp4")
    small = folder / "frame_aligned_videos/downscaled/448/aria02_214-1.mp4"
    write_video(small, 0.1)
    assert EgoExo4dReader(settings).recordings()[0].video == str(small)


def test_both_imus_in_g_and_degrees(tmp_path: Path, aria: Path) -> None:
    settings = make(tmp_path, aria, ["t_1"])
    for imu, count, rate in (("right", 400, 1000), ("left", 319, 800)):
        reader = EgoExo4dReader(settings.model_copy(update={"imu": imu}))
        (stream,) = reader.read_imu(reader.recordings()[0])
        assert len(stream.time_N) == count
        assert stream.rate == pytest.approx(rate, rel=0.01)
        assert stream.time_N[0] == 0
        assert np.median(np.linalg.norm(stream.imu_NC[:, :3], axis=1)) == pytest.approx(1, abs=0.05)
        assert 10 < np.abs(stream.imu_NC[:, 3:]).max() < 300  # deg/s
        assert "the first IMU sample is assumed to be at the first frame" in stream.notes[0]


@pytest.mark.parametrize("missing", [0, 3])
def test_timesync_gives_the_videos_clock(tmp_path: Path, aria: Path, missing: int) -> None:
    settings = make(tmp_path, aria, ["cap_9_1"])
    begin = int(aria_vrs.read_imu(str(aria), "right")[0][0])
    file = write_timesync(tmp_path / "captures/cap_9", begin + 150e6, missing)
    reader = EgoExo4dReader(settings)
    (stream,) = reader.read_imu(reader.recordings()[0])
    assert stream.time_N[0] == pytest.approx(-0.15, abs=1e-6)
    assert stream.notes == (f"clock of the video from {file}",)


def test_counted_times_need_no_timesync(tmp_path: Path, aria: Path) -> None:
    settings = make(tmp_path, aria, ["cap_9_1"])
    clock_ns_N, _ = aria_vrs.read_imu(str(aria), "right")
    write_timesync(tmp_path / "captures/cap_9", float(clock_ns_N[0]) + 150e6)
    reader = EgoExo4dReader(settings.model_copy(update={"window_times": "counted"}))
    (stream,) = reader.read_imu(reader.recordings()[0])
    rate = int(1e9 / np.mean(np.diff(clock_ns_N)))
    np.testing.assert_allclose(stream.time_N, np.arange(400) / rate)
    assert stream.notes[0].startswith(f"counted at {rate} Hz from 0 s")


@pytest.mark.parametrize(
    ("fault", "code", "names"),
    [
        (
            {"timesync_start_idx": None},
            "imu.missing-clock",
            ["takes.json", "cap_1", "timesync_start_idx"],
        ),
        ({"capture": {}}, "imu.missing-clock", ["takes.json", "cap_1"]),
        (
            {"timesync_start_idx": 90, "timesync_end_idx": 99},
            "imu.missing-clock",
            ["timesync.csv", "aria02", "91 to 99"],
        ),
        (
            {"frame_aligned_videos": {}},
            "imu.unreadable",
            ["timesync.csv", "aria01_214-1_capture_timestamp_ns"],
        ),
    ],
)
def test_a_clock_that_cannot_be_known_is_not_guessed(
    tmp_path: Path, aria: Path, fault: dict[str, Any], code: str, names: list[str]
) -> None:
    settings = make(tmp_path, aria, ["cap_1"])
    write_timesync(tmp_path / "captures/cap", 0.0)
    recording = EgoExo4dReader(settings).recordings()[0]
    (tmp_path / "takes.json").write_text(json.dumps([take_of("cap_1") | fault]))
    with raises(ImuError, code, *names):
        EgoExo4dReader(settings).read_imu(recording)


def test_windows_and_rejections(
    tmp_path: Path, aria: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["a_1", "cut_1", "junk_1", "no-mp4_1", "no-vrs_1", "other-clock_1"]
    settings = make(tmp_path, aria, [*names, "unknown_1"])
    takes = tmp_path / "takes"
    rgb = takes / "cut_1/frame_aligned_videos/aria02_214-1.mp4"
    rgb.write_bytes(rgb.read_bytes()[:1000])
    (takes / "no-mp4_1/frame_aligned_videos/aria02_214-1.mp4").unlink()
    for name in ("junk_1", "no-vrs_1"):
        (takes / name / "aria02_noimagestreams.vrs").unlink()
    (takes / "junk_1/aria02_noimagestreams.vrs").write_bytes(b"junk" * 99)
    write_timesync(tmp_path / "captures/other-clock", 1e9)
    (tmp_path / "takes.json").write_text(json.dumps([take_of(name) for name in names]))
    windows, rejected = sliced(settings)
    assert windows.keys() == {"a_1:0", "a_1:1", "a_1:2", "a_1:3"}
    assert {imu_CT.shape for imu_CT in windows.values()} == {(6, 20)}
    reasons = {
        "cut_1": "aria02_214-1.mp4: cannot be read as video",
        "junk_1": "aria02_noimagestreams.vrs: is not a VRS file",
        "no-mp4_1": "aria02_214-1.mp4",
        "no-vrs_1": "aria02_noimagestreams.vrs: no such file",
        "other-clock_1": "do not overlap",
        "unknown_1": "unknown_1: no such take in",
    }
    assert rejected.keys() == reasons.keys()
    for id, reason in reasons.items():
        assert reason in rejected[id]
    assert "DataProvider" not in "".join(capfd.readouterr())  # the VRS library's own log


def test_wrong_folders_are_refused_at_once(tmp_path: Path) -> None:
    settings = make(tmp_path, None, ["a_1", "b_1"])
    for content, code in (
        ("[]", "dataset.unknown-takes"),
        ('{"takes": 1}', "dataset.unreadable"),
        ("[", "dataset.unreadable"),
    ):
        (tmp_path / "takes.json").write_text(content)
        with raises(DatasetError, code, "takes.json"):
            EgoExo4dReader(settings).recordings()
    (tmp_path / "takes.json").unlink()
    with raises(DatasetError, "dataset.unreadable", "takes.json"):
        EgoExo4dReader(settings).recordings()
    (tmp_path / "takes.json").write_text(json.dumps([take_of("a_1")]))
    (tmp_path / "takes/a_1/aria02_noimagestreams.vrs").unlink()
    (tmp_path / "takes/b_1/aria02_noimagestreams.vrs").unlink()
    with raises(DatasetError, "dataset.no-files", "the 2 recordings"):
        EgoExo4dReader(settings).recordings()


def test_the_published_lists_share_captures(tmp_path: Path, paper_splits: Path) -> None:
    splits = paper_splits / "EgoExo4D"
    settings = make(tmp_path, None, [(splits / "val.txt").read_text().split("\t")[0]])
    reader = EgoExo4dReader(settings.model_copy(update={"splits": str(splits)}))
    recordings = reader.recordings()
    assert Counter(r.split for r in recordings) == {"train": 3495, "val": 501, "test": 998}
    assert len({r.label for r in recordings}) == 8
    known = {r.group for r in recordings if r.split == "train"}
    assert sum(r.group in known for r in recordings if r.split == "test") == 940
