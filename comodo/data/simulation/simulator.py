"""Simulated egocentric recordings: one head, carrying a camera and an IMU, moves through a scene;
sensors of other names than `head` are worn at a hand.

Writes MP4 videos and IMU CSV files of the same motion, which `FolderReader` reads.
A demonstration, not a model of any real data set.

World axes are x ahead, y left, z up. The head has the same axes and is rotated in the world by yaw,
pitch (positive looks down) and roll.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from comodo.config.channels import CHANNELS, quantity_of, sensor_of
from comodo.core.store import atomic
from comodo.data.simulation import scenery
from comodo.data.simulation.scenery import FRAME_PX

FloatArray = NDArray[np.float64]
Vector = tuple[float, float, float]
Key = tuple[int, str, int]  # subject, activity, recording

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
class Activity:
    """An activity: the scenes where it takes place, and the motion of head and hands.

    `move_m` (ahead, left, up) and `turn_deg` (roll, pitch, yaw) are amplitudes at `rhythm_hz`; on
    foot, the rhythm counts single steps, and sideways motion and roll have half its rate.
    `sharpness` changes the waveform from a sinusoid (near 0) to pulses. `look_deg` is the range of
    the gaze. `eye_m` is the height of the eyes above the floor, or above the bench if `at_bench`.
    `hands` counts the hands in view, which move by `reach`, right and up, in half frame widths.
    """

    scenes: tuple[str, ...]
    rhythm_hz: float
    move_m: Vector
    turn_deg: Vector
    sharpness: float = 0.5
    on_foot: bool = False
    speed_m_s: float = 0.0
    slope_deg: float = 0.0
    pitch_deg: float = 5.0
    look_deg: float = 6.0
    eye_m: float = 1.6
    at_bench: bool = False
    hands: int = 0
    reach: tuple[float, float] = (0.0, 0.0)


# fmt: off
ACTIVITIES: dict[str, Activity] = {
    "walking": Activity(
        ("street", "park", "office"), 1.8, (0.010, 0.020, 0.018), (1.5, 1.2, 1.5),
        on_foot=True, speed_m_s=1.3, look_deg=12),
    "running": Activity(
        ("street", "park", "gym"), 2.6, (0.012, 0.018, 0.035), (2.5, 2.5, 2.5),
        on_foot=True, speed_m_s=2.9, sharpness=0.8, look_deg=8),
    "cycling": Activity(
        ("street", "park", "gym"), 1.4, (0.006, 0.012, 0.005), (2.0, 0.8, 1.0),
        on_foot=True, speed_m_s=5.0, pitch_deg=12, look_deg=9, eye_m=1.5, hands=2),
    "stairs_up": Activity(
        ("stairwell",), 1.6, (0.018, 0.022, 0.022), (2.0, 2.5, 1.5),
        on_foot=True, speed_m_s=0.6, slope_deg=30, pitch_deg=8, look_deg=7),
    "stairs_down": Activity(
        ("stairwell",), 1.9, (0.008, 0.018, 0.020), (1.5, 2.0, 1.5),
        on_foot=True, speed_m_s=0.7, slope_deg=-30, pitch_deg=25, look_deg=7, sharpness=2.0),
    "chopping": Activity(
        ("kitchen",), 2.4, (0.001, 0.001, 0.0020), (0.3, 0.8, 0.3),
        sharpness=3.0, pitch_deg=38, eye_m=0.6, at_bench=True, hands=2, reach=(0.0, 0.22)),
    "stirring": Activity(
        ("kitchen",), 1.2, (0.004, 0.005, 0.001), (1.0, 0.6, 1.0),
        pitch_deg=36, eye_m=0.6, at_bench=True, hands=1, reach=(0.18, 0.14)),
    "hammering": Activity(
        ("workshop",), 1.7, (0.003, 0.002, 0.0040), (0.8, 1.6, 0.8),
        sharpness=5.0, pitch_deg=34, eye_m=0.6, at_bench=True, hands=2, reach=(0.0, 0.4)),
    "sawing": Activity(
        ("workshop",), 1.5, (0.012, 0.004, 0.004), (0.8, 1.6, 1.0),
        pitch_deg=36, eye_m=0.6, at_bench=True, hands=2, reach=(0.1, 0.3)),
    "typing": Activity(
        ("office", "living_room"), 4.0, (0.0002, 0.0002, 0.0002), (0.08, 0.08, 0.08),
        pitch_deg=18, look_deg=5, eye_m=0.5, at_bench=True, hands=2, reach=(0.06, 0.04)),
    "reading": Activity(
        ("office", "living_room", "park"), 0.3, (0.002, 0.002, 0.002), (0.3, 0.3, 1.5),
        pitch_deg=32, look_deg=3, eye_m=0.5, at_bench=True, hands=1, reach=(0.05, 0.02)),
    "talking": Activity(
        ("kitchen", "office", "living_room"), 0.8, (0.004, 0.006, 0.002), (1.0, 2.5, 2.0),
        pitch_deg=2, look_deg=16),
}
# fmt: on


@dataclass(frozen=True)
class Scenario:
    """One recording to write; `subject_seed` gives a subject the same gait in all of them."""

    id: str
    subject: str
    activity: str
    scene: str
    split: str
    labelled: bool
    seconds: float
    seed: int
    subject_seed: int


@dataclass(frozen=True)
class Trajectory:
    """The motion behind both modalities, T samples at TRAJECTORY_HZ."""

    time_s: FloatArray
    position_m: FloatArray  # (T, 3), of the head in the world
    rotation: Rotation  # (T), from head axes to world axes
    travel_m: FloatArray  # (T,), along the way
    hands: FloatArray  # (T, 2), from rest, right and up, in half frame widths
    swing: FloatArray  # (T,), of the arms on foot, ahead, -1 to 1


def plan_recordings(
    subjects: int, recordings: int, seconds: float, labelled: float, seed: int
) -> list[Scenario]:
    """One row per recording: `recordings` of each activity by each subject, `seconds` s long.

    Subjects, never recordings, are split: about 60 % train, 20 % val, 20 % test. The
    share `labelled` of the train recordings of each activity, at least one, has a label; all val
    and test recordings do. The same arguments give the same rows. Limits: see `SimulatedDataset`.
    """
    rng = np.random.default_rng(seed)
    splits = _splits(subjects, rng)
    keys = list(product(range(subjects), ACTIVITIES, range(recordings)))
    seeds = rng.integers(0, 2**31, len(keys))
    subject_seeds = rng.integers(0, 2**31, subjects)
    with_label = _with_label(keys, splits, labelled, rng)
    return [
        Scenario(
            id=f"s{subject:02d}_{activity}_{recording}",
            subject=f"s{subject:02d}",
            activity=activity,
            scene=str(rng.choice(ACTIVITIES[activity].scenes)),
            split=splits[subject],
            labelled=(subject, activity, recording) in with_label,
            seconds=seconds,
            seed=int(own_seed),
            subject_seed=int(subject_seeds[subject]),
        )
        for (subject, activity, recording), own_seed in zip(keys, seeds, strict=True)
    ]


def _splits(subjects: int, rng: np.random.Generator) -> list[str]:
    """The split of each subject."""
    held_out = max(1, round(0.2 * subjects))
    splits = ["val"] * held_out + ["test"] * held_out + ["train"] * (subjects - 2 * held_out)
    return [splits[position] for position in rng.permutation(subjects)]


def _with_label(
    keys: list[Key], splits: list[str], share: float, rng: np.random.Generator
) -> set[Key]:
    """Keys of the recordings that have a label."""
    chosen = {key for key in keys if splits[key[0]] != "train"}
    train: defaultdict[str, list[Key]] = defaultdict(list)
    for key in keys:
        if key not in chosen:
            train[key[1]].append(key)
    for of_activity in train.values():
        count = max(1, round(share * len(of_activity)))
        chosen.update(of_activity[i] for i in rng.permutation(len(of_activity))[:count])
    return chosen


def write_recording(row: Scenario, folder: Path, channels: Sequence[str] = CHANNELS) -> None:
    """Writes folder/imu/<id>.csv, with all axes of the sensors that have these channels, and
    folder/videos/<id>.mp4, each complete or not at all."""
    moved = trajectory(row)
    sensors = list(dict.fromkeys(map(sensor_of, channels)))
    names = [f"{sensor}.{c}".lstrip(".") for sensor in sensors for c in CHANNELS]
    header = ["time_s", *(f"{name} [{UNITS[quantity_of(name)]}]" for name in names)]
    with atomic(folder / "imu" / f"{row.id}.csv") as path:
        table = measured_imu(row, moved, sensors)
        np.savetxt(path, table, "%.5f", delimiter=",", header=",".join(header), comments="")
    with atomic(folder / "videos" / f"{row.id}.mp4") as path:
        _encode(path, row, moved)


def trajectory(row: Scenario) -> Trajectory:
    """Motion of the head for `row.seconds` of the activity, in the subject's own manner."""
    activity = ACTIVITIES[row.activity]
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


def measured_imu(row: Scenario, moved: Trajectory, sensors: Sequence[str] = (HEAD,)) -> FloatArray:
    """The CSV's table: time in s, and for each sensor acceleration in g, angular rate in deg/s.
    Each recording has its own mounting angles, gains and biases; the devices add noise, and their
    common times jitter. A sensor without a name is at the head."""
    rng = np.random.default_rng([row.seed, 1])
    nominal_s = np.arange(round(row.seconds * IMU_HZ)) / IMU_HZ
    time_s = nominal_s + rng.uniform(0, 0.2 / IMU_HZ, len(nominal_s))
    columns = [time_s[:, None]]
    for sensor in sensors:
        body = moved if sensor in ("", HEAD) else hand_of(moved)
        mount = Rotation.from_rotvec(rng.normal(0, MOUNT_DEG, 3), degrees=True)
        parts = (specific_force_g(body), 0.02, 0.03), (angular_rate_deg_s(body), 1.0, 2.0)
        for ideal, bias, noise in parts:
            sensed = mount.apply(_at(time_s, body.time_s, ideal))
            sensed = sensed * rng.normal(1, 0.03, 3) + rng.normal(0, bias, 3)
            columns.append(sensed + rng.normal(0, noise, sensed.shape))
    return np.concatenate(columns, axis=1)


def _encode(path: Path, row: Scenario, moved: Trajectory) -> None:
    """Writes the video, FRAME_PX square at VIDEO_FPS."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width = stream.height = FRAME_PX
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26"}
        stream.thread_count = 1  # many recordings are written in parallel
        for frame in frames(row, moved):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgba")))
        container.mux(stream.encode())


def frames(row: Scenario, moved: Trajectory) -> Iterator[NDArray[np.uint8]]:
    """Yields the camera's frames, uint8 (FRAME_PX, FRAME_PX, RGBA), every 1 / VIDEO_FPS s."""
    activity, scene = ACTIVITIES[row.activity], scenery.SCENES[row.scene]
    rng = np.random.default_rng([row.seed, 2])
    light = rng.uniform(0.7, 1.05) * rng.normal(1, 0.05, 3)
    atlas = scenery.atlas_of(scene, activity.at_bench, light, rng)
    skin = scenery.packed(scenery.rgb_of(scenery.SKIN) * rng.uniform(0.6, 1.1) * light)

    way = Rotation.from_euler("y", activity.slope_deg, degrees=True)  # world to the sloped scene
    samples = np.arange(round(row.seconds * VIDEO_FPS)) * (TRAJECTORY_HZ // VIDEO_FPS)
    turns = (way * moved.rotation[samples]).as_matrix()
    travel_m = moved.travel_m[samples]
    sites_m: FloatArray = way.apply(moved.position_m[samples])
    sites_m[:, 0] -= travel_m  # the far end of the scene stays ahead
    for sample, turn, site_m, along_m in zip(samples, turns, sites_m, travel_m, strict=True):
        frame = atlas[scenery.texels(scene, activity.eye_m, turn, site_m, along_m)]
        for side in (1, -1)[: activity.hands]:
            frame[scenery.hand_pixels(side, moved.hands[sample])] = skin
        yield frame.view(np.uint8).reshape(FRAME_PX, FRAME_PX, 4)
