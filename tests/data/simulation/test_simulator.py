"""The simulated recordings: repeatable, well split, and one cause behind both modalities."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from comodo.config import CHANNELS
from comodo.data.simulation import scenery, simulator
from comodo.data.simulation.scenarios import (
    ACTIVITIES,
    NULL,
    Scenario,
    SimulatedRecording,
    plan_recordings,
)
from comodo.data.simulation.simulator import Trajectory


def row_of(activity: str, seconds: float = 5.0) -> Scenario:
    rows = plan_recordings(subjects=3, recordings=1, seconds=seconds, labelled=1.0, seed=3)
    return next(row for row in rows if row.activity == activity)


def recording_of(*rows: Scenario) -> SimulatedRecording:
    return SimulatedRecording(rows[0].id, rows)


def at_rest(turn: Rotation, samples: int = 400) -> Trajectory:
    return Trajectory(
        time_s=np.arange(samples) / simulator.TRAJECTORY_HZ,
        position_m=np.zeros((samples, 3)),
        rotation=Rotation.concatenate([turn] * samples),
        travel_m=np.zeros(samples),
        hands=np.zeros((samples, 2)),
        swing=np.zeros(samples),
    )


def test_a_level_head_at_rest_measures_one_g_upwards_and_no_rotation() -> None:
    still = at_rest(Rotation.identity())
    np.testing.assert_allclose(
        simulator.specific_force_g(still), np.tile([0, 0, 1.0], (400, 1)), atol=1e-9
    )
    np.testing.assert_allclose(simulator.angular_rate_deg_s(still), 0, atol=1e-9)


def test_a_head_looking_straight_down_measures_gravity_along_minus_x() -> None:
    force = simulator.specific_force_g(at_rest(Rotation.from_euler("y", 90, degrees=True)))
    np.testing.assert_allclose(force.mean(axis=0), [-1, 0, 0], atol=1e-9)


def test_the_sensor_adds_only_small_errors_at_rest() -> None:
    recording = recording_of(row_of("typing", seconds=2.0))
    table = simulator.measured_imu(recording, [at_rest(Rotation.identity())])
    assert table.shape == (200, 7)
    assert np.linalg.norm(table[:, 1:4], axis=1).mean() == pytest.approx(1.0, abs=0.12)
    assert np.abs(table[:, 4:].mean(axis=0)).max() < 5


@pytest.mark.parametrize("activity", ["running", "hammering", "reading"])
def test_the_gyroscope_integrates_to_the_rotation_of_the_camera(activity: str) -> None:
    moved = simulator.trajectory(row_of(activity))
    rate = simulator.angular_rate_deg_s(moved)
    turn = moved.rotation[0]
    for before, after in pairwise(rate):
        step = (before + after) / 2 / simulator.TRAJECTORY_HZ
        turn = turn * Rotation.from_rotvec(step, degrees=True)
    error_deg = np.degrees((turn.inv() * moved.rotation[-1]).magnitude())
    assert error_deg < 0.5


@pytest.mark.parametrize("activity", ["walking", "stairs_up"])
def test_the_accelerometer_integrates_to_the_way_of_the_camera(activity: str) -> None:
    moved = simulator.trajectory(row_of(activity))
    force = moved.rotation.apply(simulator.specific_force_g(moved)) - [0, 0, 1]
    step_s = 1 / simulator.TRAJECTORY_HZ
    speed = np.cumsum(force * simulator.GRAVITY_M_S2, axis=0) * step_s
    start = np.gradient(moved.position_m, moved.time_s, axis=0)[0]
    way = np.cumsum(speed + start, axis=0) * step_s
    np.testing.assert_allclose(way[-1], moved.position_m[-1] - moved.position_m[0], atol=0.15)


def test_the_picture_turns_with_the_head() -> None:
    """A small yaw to the left moves the picture to the right by what the optics say."""
    row = replace(row_of("talking", seconds=0.2), scene="office")
    yaw_deg = np.zeros(41)
    yaw_deg[20:] = 3.0  # from the second frame on
    moved = at_rest(Rotation.from_euler("y", 2, degrees=True), 41)
    turned = Rotation.from_euler("z", yaw_deg[:, None], degrees=True) * moved.rotation
    first, second = (
        picture[:, :, :3].astype(float).mean(axis=2)
        for picture in simulator.frames(row, replace(moved, rotation=turned), 2)
    )
    middle = slice(40, 88)
    errors = [
        np.abs(np.roll(first, shift, axis=1) - second)[middle, middle].mean()
        for shift in range(-10, 11)
    ]
    expected_px = np.tan(np.radians(3.0)) / scenery.VIEW_TANGENT * scenery.FRAME_PX / 2
    assert np.argmin(errors) - 10 == pytest.approx(expected_px, abs=1)


def test_files_open_have_the_right_size_and_repeat(tmp_path: Path) -> None:
    row = row_of("chopping", seconds=3.0)
    for name in ("first", "again"):
        simulator.write_recording(recording_of(row), tmp_path / name)
    csv, again = (tmp_path / n / "imu" / f"{row.id}.csv" for n in ("first", "again"))
    assert csv.read_bytes() == again.read_bytes()
    header = "time_s," + ",".join(f"{c} [{'g' if c[0] == 'a' else 'deg/s'}]" for c in CHANNELS)
    assert csv.read_text().splitlines()[0] == header
    table = np.loadtxt(csv, delimiter=",", skiprows=1)
    assert table.shape == (300, 7)
    assert np.diff(table[:, 0]).min() > 0
    assert np.diff(table[:, 0]).mean() == pytest.approx(1 / simulator.IMU_HZ, rel=0.01)

    with av.open(str(tmp_path / "first" / "videos" / f"{row.id}.mp4")) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert stream.average_rate == simulator.VIDEO_FPS
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    assert len(pictures) == 30
    assert pictures[0].shape == (scenery.FRAME_PX, scenery.FRAME_PX, 3)
    assert np.std(pictures[0]) > 5
    assert np.abs(pictures[0].astype(float) - pictures[-1]).mean() > 1


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(simulator, "_encode", fails)
    row = row_of("walking", seconds=1.0)
    with pytest.raises(OSError, match="disk full"):
        simulator.write_recording(recording_of(row), tmp_path)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == []


@pytest.mark.parametrize("activity", [*sorted(ACTIVITIES), NULL])
def test_every_activity_gives_finite_plausible_readings(activity: str) -> None:
    row = replace(row_of("talking"), activity=activity)
    table = simulator.measured_imu(recording_of(row), [simulator.trajectory(row)])
    assert np.isfinite(table).all()
    assert 0.85 < np.linalg.norm(table[:, 1:4].mean(axis=0)) < 1.15
    assert np.abs(table[:, 1:4]).max() < 8
    assert np.abs(table[:, 4:]).max() < 500


def test_parts_follow_each_other_in_samples_and_picture(tmp_path: Path) -> None:
    """Samples and picture change activity at the same time, also where a part is no whole number
    of frames, and there is no jolt where a part ends."""
    rows = row_of("walking", 2.55), row_of("typing", 1.25), row_of("running", 2.2)
    recording = recording_of(*rows)
    assert recording.ends == pytest.approx([2.55, 3.8, 6.0])
    moved = [simulator.trajectory(row) for row in rows]
    table = simulator.measured_imu(recording, moved, ["head", "wrist"])
    assert table.shape == (600, 13)
    assert np.diff(table[:, 0]).min() > 0
    force = np.linalg.norm(table[:, 1:4], axis=1)
    of_parts = [part.std() for part in np.split(force, [255, 380])]
    assert of_parts[1] < 0.1 < min(of_parts[0], of_parts[2])
    assert force[253:257].max() < force[:255].max() + 0.1

    simulator.write_recording(recording, tmp_path)
    with av.open(str(tmp_path / "videos" / f"{recording.id}.mp4")) as container:
        pictures = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    assert len(pictures) == 60
    changes = [np.abs(a - b).mean() for a, b in pairwise(pictures)]
    assert {int(i) + 1 for i in np.argsort(changes)[-2:]} == {26, 38}
