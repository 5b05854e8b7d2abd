"""What is simulated: the activities, and which recordings of them there are.

Knows neither motion nor pictures.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

import numpy as np

from comodo.data.recordings import Interval

Vector = tuple[float, float, float]
Key = tuple[int, str, int]  # subject, activity, recording


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
NULL = "null"
"""The class of the pauses, in which a person looks around."""
MOTIONS = ACTIVITIES | {
    NULL: Activity((), 0.3, (0.003, 0.004, 0.002), (0.5, 1.0, 2.0), pitch_deg=3, look_deg=20)
}


@dataclass(frozen=True)
class Scenario:
    """One activity, or a pause; `subject_seed` gives a subject the same gait in all of them."""

    id: str
    subject: str
    activity: str
    scene: str
    split: str
    labelled: bool
    seconds: float
    seed: int
    subject_seed: int


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


@dataclass(frozen=True)
class SimulatedRecording:
    """One recording to write: an activity, or several with pauses between them."""

    id: str
    parts: tuple[Scenario, ...]

    @property
    def ends(self) -> list[float]:
        """Where each part ends, in seconds."""
        return list(accumulate(part.seconds for part in self.parts))

    @property
    def intervals(self) -> list[Interval]:
        """The labelled parts."""
        spans = pairwise([0.0, *self.ends])
        parts = zip(spans, self.parts, strict=True)
        return [(start, end, part.activity) for (start, end), part in parts if part.labelled]
