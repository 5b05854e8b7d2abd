"""Simulated egocentric recordings: one head, carrying a camera and an IMU, moves through a scene;
sensors of other names than `head` are worn at a hand.

Writes MP4 videos and IMU CSV files of the same motion, which `FolderReader` reads.
A demonstration, not a model of any real data set.

World axes are x ahead, y left, z up. The head has the same axes and is rotated in the world by yaw,
pitch (positive looks down) and roll.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from comodo.config.channels import CHANNELS, quantity_of, sensor_of
from comodo.core.store import atomic
from comodo.data.simulation import scenery
from comodo.data.simulation.scenarios import MOTIONS, Scenario, SimulatedRecording
from comodo.data.simulation.scenery import FRAME_PX

FloatArray = NDArray[np.float64]

GRAVITY_M_S2 = 9.81
TRAJECTORY_HZ = 200
IMU_HZ = 100
VIDEO_FPS = 10
MOUNT_DEG = 25.0  # standard deviation of the device's mounting angle about each axis
UNITS = {"acc": "g", "gyro": "deg/s"}
HEAD = "head"
SHOULDER_M = (0.05, -0.2, -0.5)  # of a hand at rest, from the head, in its axes
ARM_M, ARM_DEG = 0.3, 40.0  # a hand's movement, and its turn, for a reach of 1
SWING_M, SWING_DEG = 0.15, 25.0  # of the hands with each double step


@dataclass(frozen=True)
class Trajectory:
    """The motion behind both modalities, T samples at TRAJECTORY_HZ."""

    time_s: FloatArray
    position_m: FloatArray  # (T, 3), of the head in the world
    rotation: Rotation  # (T), from head axes to world axes
    travel_m: FloatArray  # (T,), along the way
    hands: FloatArray  # (T, 2), from rest, right and up, in half frame widths
    swing: FloatArray  # (T,), of the arms on foot, ahead, -1 to 1


def write_recording(
    recording: SimulatedRecording, folder: Path, channels: Sequence[str] = CHANNELS
) -> None:
    """Writes folder/imu/<id>.csv, with all axes of the sensors that have these channels, and
    folder/videos/<id>.mp4, each complete or not at all."""
    moved = list(map(trajectory, recording.parts))
    sensors = list(dict.fromkeys(map(sensor_of, channels)))
    names = [f"{sensor}.{c}".lstrip(".") for sensor in sensors for c in CHANNELS]
    header = ["time_s", *(f"{name} [{UNITS[quantity_of(name)]}]" for name in names)]
    with atomic(folder / "imu" / f"{recording.id}.csv") as path:
        table = measured_imu(recording, moved, sensors)
        np.savetxt(path, table, "%.5f", delimiter=",", header=",".join(header), comments="")
    with atomic(folder / "videos" / f"{recording.id}.mp4") as path:
        _encode(path, recording, moved)


def trajectory(row: Scenario) -> Trajectory:
    """Motion of the head for `row.seconds` of the activity, in the subject's own manner."""
    activity = MOTIONS[row.activity]
    rng = np.random.default_rng([row.seed, 0])
    person = np.random.default_rng(row.subject_seed)
    time_s = np.arange(round(row.seconds * TRAJECTORY_HZ) + 1) / TRAJECTORY_HZ

    rate_hz = activity.rhythm_hz * person.uniform(0.85, 1.18) * rng.uniform(0.93, 1.07)
    strength = person.uniform(0.75, 1.35, 6) * rng.uniform(0.9, 1.1)
    sharpness = activity.sharpness * person.uniform(0.6, 1.6)
    lags = person.uniform(-0.8, 0.8, 6) + np.array([1.5, 0, 0, 1, 2, 0.5])

    beat = rate_hz * (1 + 0.05 * _wander(time_s, 0.2, rng))
    phase = 2 * np.pi * np.cumsum(beat) / TRAJECTORY_HZ
    rates = np.where([False, True, False, True, False, False], 0.5 if activity.on_foot else 1, 1)
    waves = strength * _wave(phase[:, None] * rates + lags, sharpness)  # (T, 6)
    if not activity.on_foot:
        waves *= _pauses(time_s, rng)[:, None]

    travel_m = activity.speed_m_s * (time_s + 0.3 * _wander(time_s, 0.1, rng))
    slope = Rotation.from_euler("y", -activity.slope_deg, degrees=True)
    drift_m = 0.03 * np.stack([_wander(time_s, 0.2, rng) for _ in range(3)], axis=-1)
    along_m = np.stack([travel_m, 0 * travel_m, 0 * travel_m], axis=-1)
    position_m = slope.apply(along_m) + drift_m + waves[:, :3] * activity.move_m

    look_deg = activity.look_deg * np.stack([_wander(time_s, 0.3, rng) for _ in range(3)], axis=-1)
    turn_deg = waves[:, 3:] * activity.turn_deg + look_deg * [0.15, 0.4, 1.0]
    turn_deg[:, 1] += activity.pitch_deg + person.normal(0, 3)
    rotation = Rotation.from_euler("ZYX", turn_deg[:, ::-1], degrees=True)
    hands = waves[:, [1, 2]] * activity.reach
    swing = waves[:, 1] * activity.on_foot
    return Trajectory(time_s, position_m, rotation, travel_m, hands, swing)


def hand_of(moved: Trajectory) -> Trajectory:
    """Motion of a hand, which follows the head, works in front of it and swings on foot."""
    right, up = moved.hands.T
    reach_m = np.stack([SWING_M * moved.swing, -ARM_M * right, ARM_M * up], axis=-1)
    turn_deg = [ARM_DEG * right, -ARM_DEG * up - SWING_DEG * moved.swing]
    turn = Rotation.from_euler("xy", np.stack(turn_deg, axis=-1), degrees=True)
    position_m = moved.position_m + moved.rotation.apply(SHOULDER_M + reach_m)
    return replace(moved, position_m=position_m, rotation=moved.rotation * turn)


def _wander(time_s: FloatArray, up_to_hz: float, rng: np.random.Generator) -> FloatArray:
    """A smooth random signal (T,) with standard deviation of about 1: a sum of slow sinusoids."""
    rates_hz, starts = rng.uniform(0.1, 1, (5, 1)) * up_to_hz, rng.uniform(0, 2 * np.pi, (5, 1))
    return np.asarray(np.sqrt(2 / 5) * np.sin(2 * np.pi * rates_hz * time_s + starts).sum(axis=0))


def _wave(phase: FloatArray, sharpness: float) -> FloatArray:
    """A periodic signal from -1 to 1: a cosine at sharpness near 0, narrower pulses above."""
    lowest = np.exp(-2 * sharpness)
    pulse = np.exp(sharpness * (np.cos(phase) - 1))
    return np.asarray(2 * (pulse - lowest) / (1 - lowest) - 1)


def _pauses(time_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Intensity of the work (T,), from nearly 0 in a pause to 1."""
    return np.asarray(0.1 + 0.9 / (1 + np.exp(-5 * (_wander(time_s, 0.3, rng) + 0.6))))


def specific_force_g(moved: Trajectory) -> FloatArray:
    """Output of an ideal accelerometer in the head (T, 3), in g: +1 upwards at rest."""
    velocity = np.gradient(moved.position_m, moved.time_s, axis=0)
    acceleration = np.gradient(velocity, moved.time_s, axis=0)
    in_world = acceleration / GRAVITY_M_S2 + np.array([0.0, 0.0, 1.0])
    return np.asarray(moved.rotation.apply(in_world, inverse=True))


def angular_rate_deg_s(moved: Trajectory) -> FloatArray:
    """Output of an ideal gyroscope in the head (T, 3), in deg/s."""
    steps = (moved.rotation[:-1].inv() * moved.rotation[1:]).as_rotvec(degrees=True)
    midpoints = (moved.time_s[:-1] + moved.time_s[1:]) / 2
    return _at(moved.time_s, midpoints, steps * TRAJECTORY_HZ)


def _at(time_s: FloatArray, known_s: FloatArray, values: FloatArray) -> FloatArray:
    """Columns of `values` (K, C), known at `known_s` (K,), interpolated to `time_s` (N,)."""
    return np.stack([np.interp(time_s, known_s, column) for column in values.T], axis=-1)


def measured_imu(
    recording: SimulatedRecording, moved: Sequence[Trajectory], sensors: Sequence[str] = (HEAD,)
) -> FloatArray:
    """The CSV's table: time in s, and for each sensor acceleration in g, angular rate in deg/s.
    `moved`: of each part. Each recording has its own mounting angles, gains and biases; the devices
    add noise, and their common times jitter. A sensor without a name is at the head."""
    rng = np.random.default_rng([recording.parts[0].seed, 1])
    nominal_s = np.arange(round(recording.ends[-1] * IMU_HZ)) / IMU_HZ
    time_s = nominal_s + rng.uniform(0, 0.2 / IMU_HZ, len(nominal_s))
    starts = [0.0, *recording.ends[:-1]]
    first = [*np.searchsorted(time_s, starts), len(time_s)]
    inside = [time_s[i:j] - start for (i, j), start in zip(pairwise(first), starts, strict=True)]
    columns = [time_s[:, None]]
    for sensor in sensors:
        bodies = moved if sensor in ("", HEAD) else [hand_of(part) for part in moved]
        mount = Rotation.from_rotvec(rng.normal(0, MOUNT_DEG, 3), degrees=True)
        for ideal_of, bias, noise in (specific_force_g, 0.02, 0.03), (angular_rate_deg_s, 1.0, 2.0):
            # Of each part by itself: where one ends and another begins, the body is elsewhere.
            ideal = [_at(t, body.time_s, ideal_of(body))
                     for t, body in zip(inside, bodies, strict=True)]  # fmt: skip
            sensed = mount.apply(np.concatenate(ideal))
            sensed = sensed * rng.normal(1, 0.03, 3) + rng.normal(0, bias, 3)
            columns.append(sensed + rng.normal(0, noise, sensed.shape))
    return np.concatenate(columns, axis=1)


def _encode(path: Path, recording: SimulatedRecording, moved: Sequence[Trajectory]) -> None:
    """Writes the video, FRAME_PX square at VIDEO_FPS."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width = stream.height = FRAME_PX
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26"}
        stream.thread_count = 1  # many recordings are written in parallel
        bounds = [round(end * VIDEO_FPS) for end in (0.0, *recording.ends)]
        counts = (last - first for first, last in pairwise(bounds))
        for row, of_part, count in zip(recording.parts, moved, counts, strict=True):
            for frame in frames(row, of_part, count):
                picture = av.VideoFrame.from_numpy_buffer(frame, format="rgba")
                container.mux(stream.encode(picture))
        container.mux(stream.encode())


def frames(row: Scenario, moved: Trajectory, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yields so many of the camera's frames, uint8 (FRAME_PX, FRAME_PX, RGBA), every
    1 / VIDEO_FPS s."""
    activity, scene = MOTIONS[row.activity], scenery.SCENES[row.scene]
    rng = np.random.default_rng([row.seed, 2])
    light = rng.uniform(0.7, 1.05) * rng.normal(1, 0.05, 3)
    atlas = scenery.atlas_of(scene, activity.at_bench, light, rng)
    skin_3 = scenery.rgb_of(scenery.SKIN) * rng.uniform(0.6, 1.1) * light
    skin = scenery.packed(list(skin_3[:, None]))

    way = Rotation.from_euler("y", activity.slope_deg, degrees=True)  # world to the sloped scene
    samples = np.arange(count) * (TRAJECTORY_HZ // VIDEO_FPS)
    turns = (way * moved.rotation[samples]).as_matrix()
    travel_m = moved.travel_m[samples]
    sites_m: FloatArray = way.apply(moved.position_m[samples])
    sites_m[:, 0] -= travel_m  # the far end of the scene stays ahead
    for sample, turn, site_m, along_m in zip(samples, turns, sites_m, travel_m, strict=True):
        seen = scenery.texels(scene, activity.eye_m, turn, site_m, along_m)
        frame = atlas.take(seen).reshape(FRAME_PX, FRAME_PX)  # faster than atlas[seen]
        for side in (1, -1)[: activity.hands]:
            scenery.draw_hand(frame, side, moved.hands[sample], skin)
        yield frame.view(np.uint8).reshape(FRAME_PX, FRAME_PX, 4)
