"""Telemetry of GoPro cameras: real payloads, where the shared recordings are, and made ones whose
samples tell when they were measured."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comodo.data.imu import STANDARD_GRAVITY, ImuError, ImuStream, has_gap
from comodo.data.readers.gopro import GoproDataset, GoproReader, Packet, stream_of
from comodo.data.recordings import DatasetError
from comodo.data.video import first_frame_seconds
from tests.conftest import sliced
from tests.errors import raises
from tests.gopro_files import PACKET, Track, add_tracks, packet, sensor, write_gopro
from tests.paths import SHARED

USUAL = (200, 200)  # accelerometer and gyroscope samples of a packet


def read(file: Path) -> ImuStream:
    reader = GoproReader(GoproDataset(kind="gopro", path=str(file.parent)))
    (recording,) = (r for r in reader.recordings() if r.id == file.name)
    (stream,) = reader.read_imu(recording)
    return stream


def wave(time_N: np.ndarray, hz: float) -> np.ndarray:
    """Three axes, [N, 3], that tell at which time they were measured."""
    return np.stack([np.sin(2 * np.pi * hz * time_N + phase) for phase in (0, 1, 2)], axis=1) + 2


def payload(start: float, counts: tuple[int, int], fraction: float = 1.0) -> bytes:
    """A packet of so many accelerometer and gyroscope samples, spread evenly from `start` on over
    a packet's time; or what a sensor with fewer than usual measured in a fraction of it."""
    streams = []
    for key, count, hz in zip(("ACCL", "GYRO"), counts, (0.7, 0.4), strict=True):
        seconds = PACKET / 1000 * (fraction if count < USUAL[0] else 1)
        values = wave(start + np.arange(count) * seconds / max(1, count), hz)
        unit = STANDARD_GRAVITY if key == "ACCL" else np.pi / 180
        streams += [sensor(key, values * unit)] if count else []
    return packet(*streams)


def payloads(counts: Sequence[tuple[int, int]], start: float = 0.0) -> list[bytes]:
    return [payload(start + k * PACKET / 1000, pair) for k, pair in enumerate(counts)]


def track(counts: Sequence[tuple[int, int]], edits: Sequence[tuple[int, int]] = ()) -> Track:
    return Track(payloads(counts), [PACKET] * len(counts), edits)


def assert_right(stream: ImuStream, shift: float = 0.0, tolerance: float = 2e-3) -> None:
    """Samples are what was measured at their times, `shift` s before."""
    time_N = stream.time_N - shift
    np.testing.assert_allclose(stream.imu_NC[:, :3], wave(time_N, 0.7), atol=tolerance)
    np.testing.assert_allclose(stream.imu_NC[:, 3:], wave(time_N, 0.4), atol=tolerance)


@pytest.fixture(scope="module")
def faults() -> Path:
    """Real payloads in tracks with holes and late starts."""
    folder = SHARED / "faults" / "gopro"
    if not folder.is_dir():
        pytest.skip(f"no files with faults at {folder}")
    return folder


def test_real_telemetry_as_telemetry_parser_reads_it(shared_data: Path) -> None:
    file = shared_data / "gopro" / "max-heromode.mp4"
    stream = read(file)
    assert len(stream.time_N) == 2082 and stream.notes == ()
    assert stream.rate == pytest.approx(197.5, abs=0.1)
    assert stream.time_N[0] == 0 and stream.time_N[-1] == pytest.approx(10.538, abs=0.001)
    parser = pytest.importorskip("telemetry_parser")
    rows = parser.Parser(str(file)).normalized_imu()
    acc_N3 = np.array([row["accl"] for row in rows]) / STANDARD_GRAVITY
    gyro_N3 = np.array([row["gyro"] for row in rows])
    np.testing.assert_allclose(stream.imu_NC, np.hstack([acc_N3, gyro_N3]), rtol=1e-6)


def test_real_packets_keep_their_times(faults: Path) -> None:
    whole, hole = read(faults / "whole.mp4"), read(faults / "no_imu_from_4_to_7s.mp4")
    outside_N = (whole.time_N < 4.0035) | (whole.time_N > 7.0065)
    assert (hole.time_N == whole.time_N[outside_N]).all()
    assert (hole.imu_NC == whole.imu_NC[outside_N]).all()
    assert np.diff(hole.time_N).max() == pytest.approx(3.008, abs=0.001)
    late = read(faults / "imu_begins_at_3s.mp4")
    assert late.time_N[0] == pytest.approx(3.003) and len(late.time_N) == 1489
    edited = read(faults / "track_begins_at_2s.mp4")
    np.testing.assert_allclose(edited.time_N, whole.time_N + 2.002)
    assert (edited.imu_NC == whole.imu_NC).all()


def test_windows_of_real_packets_equal_the_whole_file_s(faults: Path) -> None:
    settings = GoproDataset(kind="gopro", path=str(faults), window_seconds=2, imu_rate=100)
    windows, rejected = sliced(settings)
    assert not rejected
    counts = {"whole": 5, "track_begins_at_2s": 4, "imu_begins_at_3s": 3}
    for name, count in (counts | {"no_imu_from_4_to_7s": 3}).items():
        assert sum(id.startswith(name) for id in windows) == count
    same = [("track_begins_at_2s", i) for i in range(4)]
    same += [("no_imu_from_4_to_7s", i) for i in (0, 1, 4)]
    for name, number in same:
        found, expected = windows[f"{name}.mp4:{number}"], windows[f"whole.mp4:{number}"]
        # The filter at the edge of a hole sees other samples.
        assert np.sqrt(((found - expected) ** 2).mean(axis=1)).max() < 0.05


def test_fusion_s_float_accelerometer(faults: Path) -> None:
    stream = read(faults / "fusion_float_accelerometer.mp4")
    assert stream.rate == pytest.approx(3300 / 1.001, rel=1e-4)
    length_N = np.linalg.norm(stream.imu_NC[:, :3], axis=1) * STANDARD_GRAVITY
    assert np.median(length_N) == pytest.approx(9.31, abs=0.01)
    assert stream.notes == ("accelerometer interpolated at the gyroscope's 3297 Hz",)


@pytest.mark.parametrize(
    ("edits", "shift"),
    [
        ([], 0.0),
        ([(2002, -1), (4004, 0)], 2.002),  # begins late
        ([(3500, 1500)], -1.5),  # trimmed within a packet
        ([(500, -1), (3500, 1500)], -1.0),
    ],
)
def test_an_edit_list_moves_the_track(
    tmp_path: Path, edits: list[tuple[int, int]], shift: float
) -> None:
    stream = read(write_gopro(tmp_path / "a.mp4", track([USUAL] * 5, edits)))
    assert stream.time_N[0] == pytest.approx(shift)
    assert_right(stream, shift)


def test_time_0_is_the_video_s_first_frame(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for number in range(15, 65):  # from 1.5 s on
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert first_frame_seconds(tmp_path / "a.mp4") == pytest.approx(1.5)
    imu = read(add_tracks(tmp_path / "a.mp4", track([USUAL] * 5)))
    assert imu.time_N[0] == pytest.approx(-1.5)
    assert_right(imu, -1.5)


def test_a_track_that_is_cut_is_refused(tmp_path: Path) -> None:
    file = write_gopro(tmp_path / "a.mp4", track([USUAL] * 6, [(2002, 0), (2002, 4004)]))
    with raises(ImuError, "imu.edited", "a.mp4"):
        read(file)


def test_lost_packets_leave_a_gap(tmp_path: Path) -> None:
    contents = payloads([USUAL] * 6)
    times = Track([contents[k] for k in (0, 1, 4, 5)], [PACKET, 3 * PACKET, PACKET, PACKET])
    stream = read(write_gopro(tmp_path / "a.mp4", times))
    assert has_gap(stream, 0, 6, 1.9) and len(stream.time_N) == 800
    assert_right(stream)


@pytest.mark.parametrize(
    ("counts", "expected", "notes"),
    [
        ([USUAL] * 4 + [(100, 100)], 900, 0),  # both end early
        ([USUAL] * 4 + [(200, 100)], 900, 1),  # one ends early; it is interpolated
        ([USUAL, (0, 0), USUAL, (0, 0), USUAL], 600, 0),
        ([USUAL, USUAL, (200, 0), USUAL, USUAL], 800, 1),
        ([(100, 100)] + [USUAL] * 4, 800, 2),  # starts within a packet, it is unknown where
        ([USUAL, USUAL, (90, 200), USUAL, USUAL], 800, 2),
        ([USUAL, USUAL, (400, 400), USUAL, USUAL], 800, 2),
        ([USUAL, (50, 50), USUAL, (50, 50)], 400, 2),
    ],
)
def test_packets_with_other_numbers_of_samples(
    tmp_path: Path, counts: list[tuple[int, int]], expected: int, notes: int
) -> None:
    contents = payloads(counts)
    contents[-1] = payload((len(counts) - 1) * PACKET / 1000, counts[-1], fraction=0.5)
    stream = read(write_gopro(tmp_path / "a.mp4", Track(contents, [PACKET] * len(counts))))
    assert len(stream.time_N) == pytest.approx(expected, abs=1) and len(stream.notes) == notes
    assert_right(stream)


def test_packets_of_no_duration_have_no_times() -> None:
    with raises(ImuError, "imu.missing-clock", "f: ", "accelerometer"):
        stream_of([Packet(1.0, 0.0, payload(0.0, USUAL))] * 3, 0.0, "f")


def test_packets_of_no_duration_are_left_out(tmp_path: Path) -> None:
    times = Track(
        payloads([USUAL, USUAL]) + payloads([USUAL] * 3, 1.001), [1001, 0, 1001, 1001, 1001]
    )
    stream = read(write_gopro(tmp_path / "a.mp4", times))
    assert len(stream.time_N) == 800 and len(stream.notes) == 2
    assert_right(stream)


def test_packets_out_of_order_are_refused() -> None:
    packets = [Packet(start, 1.0, payload(start, USUAL)) for start in (0.0, 2.0, 1.0)]
    with raises(ImuError, "imu.clock-backwards", "f: ", "packet 2"):
        stream_of(packets, 0.0, "f")


def test_tracks_without_telemetry_do_not_matter_and_two_with_it_are_refused(tmp_path: Path) -> None:
    other = Track([b"\0\0\0\1"] * 2, [PACKET] * 2)  # as a track of time codes
    assert_right(read(write_gopro(tmp_path / "a.mp4", other, track([USUAL] * 4))))
    file = write_gopro(tmp_path / "b.mp4", track([USUAL] * 4), track([USUAL] * 4))
    with raises(ImuError, "imu.two-sensors", "b.mp4"):
        read(file)


@settings(max_examples=20)
@given(
    slow=st.integers(40, 200),
    faster=st.floats(1.0, 16.0),
    gyro_is_fast=st.booleans(),
    jitter=st.lists(st.integers(0, 1), min_size=4, max_size=8),
    missing=st.sets(st.integers(0, 7), max_size=3),
    start=st.floats(-3, 3),
)
def test_sensors_of_any_two_rates_come_out_on_the_faster_one_s_clock(
    slow: int,
    faster: float,
    gyro_is_fast: bool,
    jitter: list[int],
    missing: set[int],
    start: float,
) -> None:
    pairs = [(slow + extra, round(slow * faster) + extra) for extra in jitter]
    counts = [pair if gyro_is_fast else pair[::-1] for pair in pairs]
    contents = payloads(counts, start)
    packets = [
        Packet(start + k * 1.001 + 5, 1.001, b"" if k in missing - {0, len(pairs) - 1} else content)
        for k, content in enumerate(contents)
    ]
    stream = stream_of(packets, 5.0, "f")
    assert stream.time_N[0] == pytest.approx(start)
    assert stream.time_N[-1] == pytest.approx(start + len(pairs) * 1.001, abs=2 / slow)
    assert stream.rate == pytest.approx(round(slow * faster) / 1.001, rel=0.05)
    assert_right(stream, tolerance=3e-3 + 20 / slow**2)  # of interpolation


def test_a_sensor_that_is_missing_is_named(tmp_path: Path) -> None:
    for counts, lacking in (((200, 0), "no gyro_x"), ((0, 200), "no acc_x")):
        write_gopro(tmp_path / "a.mp4", track([counts] * 3))
        _, rejected = sliced(GoproDataset(kind="gopro", path=str(tmp_path), window_seconds=1))
        assert f"a.mp4: {lacking}" in rejected["a.mp4"]
        assert "list the channels that recordings have" in rejected["a.mp4"]
    with raises(ImuError, "imu.missing-sensor", "a.mp4", "accelerometer or gyroscope"):
        read(write_gopro(tmp_path / "a.mp4"))


def test_one_sensor_alone_has_its_own_times(tmp_path: Path) -> None:
    folder = {"kind": "gopro", "path": str(tmp_path), "window_seconds": 1}
    write_gopro(tmp_path / "a.mp4", track([(200, 0)] * 3))
    windows, rejected = sliced(GoproDataset(**folder, channels=("acc",)))
    assert not rejected
    assert {imu_CT.shape for imu_CT in windows.values()} == {(3, 200)}
    write_gopro(tmp_path / "a.mp4", track([(200, 400)] * 3))  # both, where one is wanted
    for channels, rate in ((("acc",), 200), (("gyro_x",), 400)):
        reader = GoproReader(GoproDataset(**folder, channels=channels))
        (stream,) = reader.read_imu(reader.recordings()[0])
        assert stream.rate == pytest.approx(rate / PACKET * 1000, rel=1e-3)
        assert not stream.notes and stream.imu_NC.shape[1] == 3
    alone, _ = sliced(GoproDataset(**folder, channels=("gyro_x",)))
    both, _ = sliced(GoproDataset(**folder))
    for id, imu_CT in alone.items():
        np.testing.assert_allclose(imu_CT[0], both[id][3], atol=2e-4)  # the ends differ
    write_gopro(tmp_path / "a.mp4", track([(200, 0)] * 3))
    with raises(ImuError, "imu.missing-sensor", "a.mp4", "no gyroscope in its telemetry"):
        reader.read_imu(reader.recordings()[0])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    reader = GoproReader(GoproDataset(kind="gopro", path=str(tmp_path)))
    with raises(DatasetError, "dataset.no-files", str(tmp_path), ".mp4"):
        reader.recordings()
    for content in (b"not a video", b""):
        (tmp_path / "a.mp4").write_bytes(content)
        with raises(ImuError, "imu.unreadable", "a.mp4"):
            read(tmp_path / "a.mp4")
    (recording,) = reader.recordings()
    (tmp_path / "a.mp4").unlink()
    with raises(ImuError, "imu.missing-file", "a.mp4"):
        reader.read_imu(recording)
