"""Quality of a recording, measured on its IMU stream and its video's track. Knows no files, windows
or Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from comodo.config.channels import AXES, quantity_of, sensor_of
from comodo.data.frames import VideoTrack
from comodo.data.imu import MAX_GAP_SECONDS, ImuStream

if TYPE_CHECKING:
    import pandas as pd  # takes half a second, which planning does not need

QUALITY_SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("rejected", pa.string()),  # the reason, for a recording without windows
        ("passing", pa.bool_()),  # whether the reason may be gone at the next try
        ("windows", pa.int64()),
        ("drawn_from", pa.int64()),  # how many there were; null if none was left out by a draw
        ("window_seconds", pa.float64()),  # total of its windows
        ("video_seconds", pa.float64()),  # null without a video
        ("imu_seconds", pa.float64()),
        ("drift", pa.float64()),  # IMU's length minus the video's, s
        ("rate", pa.float64()),  # Hz
        ("rate_spread", pa.float64()),  # share of the median time step
        ("gaps", pa.int64()),
        ("longest_gap", pa.float64()),  # s; 0 without one
        ("gravity", pa.float64()),  # g
        ("saturated", pa.float64()),  # share of samples
        ("impossible", pa.int64()),  # rows left out, as no sensor measures such values
        ("peak_acc", pa.float64()),  # largest value of a channel, g
        ("peak_gyro", pa.float64()),  # deg/s
        ("turning", pa.float64()),  # deg/s in each g of motion
        ("held", pa.float64()),  # share of samples in which a sensor repeats the one before
        ("twins", pa.float64()),  # share of samples in which two axes of a sensor are equal
        ("classes", pa.list_(pa.struct([("label", pa.string()), ("windows", pa.int64())]))),
        # its labelled windows; null: an earlier version, they all have its `label`
        ("last_labelled", pa.bool_()),  # whether its last window is; null: likewise
        ("labels_outside", pa.float64()),  # s of labelled intervals that no file has
        ("constant_windows", pa.int64()),  # windows in which a channel never changes
        ("still_seconds", pa.float64()),  # of the video, in which the picture stands still
        ("notes", pa.list_(pa.string())),
        ("slices", pa.string()),  # `known_slices.slices_key`; null: an earlier version
    ]
)

# The smallest measuring ranges of MEMS sensors (Bosch BMI160 data sheet: 2 g, 125 deg/s), less 5 %
# for calibration. An extreme below them is not a sensor's limit.
MIN_RANGE = {"acc": 0.95 * 2.0, "gyro": 0.95 * 125.0}
MIN_MOTION_G = 0.05  # standard deviation of |acc|; with less, rotation over motion says nothing
MIN_SATURATED_RUN = 3  # consecutive samples at a channel's extreme; fewer are a movement's peak


@dataclass(frozen=True)
class QualityCheck:
    """A measure with its normal range: recordings outside `low` to `high` are flagged."""

    column: str
    title: str  # of a plot axis, with the unit
    low: float
    high: float
    means: str  # what a flag means
    signs: tuple[tuple[float, float, str], ...] = ()
    """Spans, from and to, of values that have one usual cause, and that cause."""

    def cause(self, value: float) -> str:
        """What a flagged value means."""
        found = (cause for low, high, cause in self.signs if low <= value <= high)
        return next(found, self.means)

    def flags(self, table: "pd.DataFrame") -> "pd.Series[bool]":
        """Which recordings it flags; none without a measured value."""
        values = table[self.column]
        return (values < self.low) | (values > self.high)

    def outside(self, value: float) -> float:
        """How far a value is outside the normal range; negative within."""
        return max(value - self.high, self.low - value)


QUALITY_CHECKS = (
    QualityCheck("gravity", "median |acc| (g)", 0.8, 1.2,
        "the unit is wrong, gravity was removed, or the sensor is in strong motion throughout",
        ((7.8, 11.8, "looks like m/s^2 declared as g; correct acc_unit"),
         (0.08, 0.12, "looks like g declared as m/s^2; correct acc_unit"))),
    QualityCheck("saturated", "saturated (share)", 0, 0.01,
        "the sensor's range is too narrow for the movement"),
    QualityCheck("impossible", "impossible samples", 0, 0,
        "values that no sensor measures, such as marks of missing ones; they are left out"),
    QualityCheck("peak_acc", "largest acceleration (g)", 0, 33,
        "over what a wearable's sensor measures: the unit is wrong, or values are damaged"),
    QualityCheck("peak_gyro", "largest rotation (deg/s)", 0, 2100,
        "over what a wearable's sensor measures: deg/s declared as rad/s, or values are damaged"),
    QualityCheck("turning", "rotation of each g of motion (deg/s)", 20, 5000,
        "rad/s declared as deg/s, or deg/s as rad/s, or a sensor that does not work",
        ((0, 20, "looks like rad/s declared as deg/s, or a gyroscope that does not work; correct "
          "gyro_unit"),
         (5000, np.inf, "looks like deg/s declared as rad/s; correct gyro_unit"))),
    QualityCheck("held", "samples that repeat the one before (share)", 0, 0.1,
        "a sensor is stuck, at zero, or slower than its rows"),
    QualityCheck("twins", "samples with two equal axes (share)", 0, 0.5,
        "two channels of a sensor are the same signal"),
    QualityCheck("constant_windows", "windows with a constant channel", 0, 0,
        "a channel is stuck or at zero throughout these windows, which are kept"),
    QualityCheck("still_seconds", "still picture (s)", 0, 0,
        "the video has no new frame for that long; these windows are left out"),
    QualityCheck("rate_spread", "jitter (of a step)", 0, 0.5,
        "uneven sampling: the times are of arrival, or samples were lost"),
    QualityCheck("longest_gap", "longest gap (s)", 0, 0,
        "windows with the gap are left out"),
    QualityCheck("drift", "IMU less video (s)", -1, 1,
        "IMU and video differ in length; check that they start together"),
    QualityCheck("labels_outside", "labels beyond the recording (s)", 0, 1,
        "the clock or the unit of its label file is another one; these labels are not used"),
)  # fmt: skip


def class_windows(row: Mapping[Any, Any]) -> dict[str, int]:
    """Labelled windows of each class in a recording; `row` has columns of `QUALITY_SCHEMA`."""
    if row["classes"] is not None:
        return {of["label"]: of["windows"] for of in row["classes"]}
    label, is_rejected = row["label"], isinstance(row["rejected"], str)
    return {label: int(row["windows"])} if isinstance(label, str) and not is_rejected else {}


def measure_quality(streams: Sequence[ImuStream], track: VideoTrack | None) -> dict[str, Any]:
    """The columns of `QUALITY_SCHEMA` that are measured on a recording's sensors and its video, if
    it has one; of several sensors the values that are furthest outside the normal range.

    `rate_spread` is the distance from the 5th to the 95th percentile of the time steps, without
    gaps (over `MAX_GAP_SECONDS`), over their mean. `gravity` is the median length of the
    acceleration: 1 g unless the body falls or jumps most of the time. `turning` is the standard
    deviation of the rotation over that of the acceleration's length, where that moves.
    """
    measured = [_quality_of(stream, track) for stream in streams]
    found = {column: value for column, value in measured[0].items() if column != "notes"}
    for check in QUALITY_CHECKS:
        values = [m[check.column] for m in measured if m.get(check.column) is not None]
        if values:
            found[check.column] = max(values, key=check.outside)
    found["gaps"] = max(m["gaps"] for m in measured)
    found["still_seconds"] = None if track is None else sum(e - s for s, e in track.still)
    return {
        "video_seconds": None if track is None else track.seconds,
        **found,
        "notes": [note for m in measured for note in m["notes"]],
    }


def _quality_of(stream: ImuStream, track: VideoTrack | None) -> dict[str, Any]:
    """The columns that are measured on one sensor; None for what its channels do not show."""
    step_M = np.diff(stream.time_N)
    gap_M = step_M > MAX_GAP_SECONDS
    low, high = np.percentile(step_M[~gap_M], [5, 95])
    seconds = float(stream.time_N[-1] - stream.time_N[0]) + 1 / stream.rate
    acc_NA, gyro_NA = stream.values("acc"), stream.values("gyro")
    sensors = [values_NA for values_NA in (acc_NA, gyro_NA) if values_NA.shape[1]]
    found: dict[str, Any] = {
        "imu_seconds": seconds,
        "drift": None if track is None else seconds - track.seconds,
        "rate": stream.rate,
        "rate_spread": float(high - low) * stream.rate,
        "gaps": int(gap_M.sum()),
        "longest_gap": float(step_M[gap_M].max(initial=0)),
        "gravity": None,
        "saturated": saturated_share(stream),
        "impossible": stream.impossible,
        "peak_acc": float(np.abs(acc_NA).max()) if acc_NA.size else None,
        "peak_gyro": float(np.abs(gyro_NA).max()) if gyro_NA.size else None,
        "turning": None,
        "held": max(map(_held_share, sensors)),
        "twins": max(map(_twin_share, sensors)),
        "notes": list(stream.notes),
    }
    if acc_NA.shape[1] == len(AXES):
        length_N = np.linalg.norm(acc_NA, axis=1)
        found["gravity"] = float(np.median(length_N))
        motion, rotation = float(length_N.std()), float(np.linalg.norm(gyro_NA.std(axis=0)))
        if motion > MIN_MOTION_G and gyro_NA.shape[1] == len(AXES):
            found["turning"] = rotation / motion
    if name := sensor_of(stream.channels[0]):
        found["notes"] = [f"{name}: {note}" for note in stream.notes]
    return found


def has_constant_channel(streams: Sequence[ImuStream], start: float, end: float) -> bool:
    """Whether a channel has the same value in all samples of a span (s)."""
    for stream in streams:
        inside_NC = stream.imu_NC[slice(*np.searchsorted(stream.time_N, [start, end]))]
        if len(inside_NC) > 1 and (np.ptp(inside_NC, axis=0) == 0).any():
            return True
    return False


def _held_share(values_NA: np.ndarray) -> float:
    """Share of samples in which no axis differs from the sample before."""
    return float((np.diff(values_NA, axis=0) == 0).all(axis=1).mean())


def _twin_share(values_NA: np.ndarray) -> float:
    """Share of the samples that change in which two axes have the same value, of the two axes that
    agree most; 0 with one axis."""
    changed_NA = values_NA[1:][(np.diff(values_NA, axis=0) != 0).any(axis=1)]
    pairs = combinations(range(values_NA.shape[1]), 2)
    if not len(changed_NA):
        return 0.0
    return max((float((changed_NA[:, a] == changed_NA[:, b]).mean()) for a, b in pairs), default=0)


def flag_lines(table: "pd.DataFrame") -> list[str]:
    """For each check that flags recordings: how many, the worst of them, and what it means.
    `table` has the columns of `QUALITY_SCHEMA`."""
    lines = []
    for check in QUALITY_CHECKS:
        flagged = table[check.flags(table)]
        if len(flagged):
            value = flagged[check.column]
            worst = flagged.iloc[int(value.map(check.outside).argmax())]
            many = f"{len(flagged):,} of {len(table):,} recordings flagged"
            found = f"{check.title} {worst[check.column]:.4g} in {worst.recording}"
            lines.append(f"{many}: {found}: {check.cause(worst[check.column])}")
    return lines


def saturated_share(stream: ImuStream) -> float:
    """Share of samples that stay at their channel's extreme, for the channel with the largest. Only
    an extreme that can be a sensor's limit counts."""
    from scipy.ndimage import binary_opening  # slow to import, which planning does not need

    shares = [0.0]
    for channel, channel_N in zip(stream.channels, stream.imu_NC.T, strict=True):
        held_N = np.zeros(len(channel_N), bool)
        low, high = channel_N.min(), channel_N.max()
        for extreme in (low, high):
            if low < high and abs(extreme) >= MIN_RANGE[quantity_of(channel)]:
                held_N |= binary_opening(channel_N == extreme, np.ones(MIN_SATURATED_RUN, bool))
        shares.append(float(held_N.mean()))
    return max(shares)
