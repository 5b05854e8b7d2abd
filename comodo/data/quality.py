"""Quality of a recording, measured on its IMU stream and the length of its video. Knows no files,
windows or Ray."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from comodo.data.imu import ImuStream

if TYPE_CHECKING:
    import pandas as pd  # takes half a second, which planning does not need

QUALITY_SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("rejected", pa.string()),  # the reason, for a recording without windows
        ("windows", pa.int64()),
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
        ("notes", pa.list_(pa.string())),
    ]
)

# The smallest measuring ranges of MEMS sensors (Bosch BMI160 data sheet: 2 g, 125 deg/s), less 5 %
# for calibration. An extreme below them is not a sensor's limit.
MIN_RANGE_C = 0.95 * np.array([2.0] * 3 + [125.0] * 3)
MIN_SATURATED_RUN = 3  # consecutive samples at a channel's extreme; fewer are a movement's peak


@dataclass(frozen=True)
class QualityCheck:
    """A measure with its normal range: recordings outside `low` to `high` are flagged."""

    column: str
    title: str  # of a plot axis, with the unit
    low: float
    high: float
    means: str  # what a flag means

    def flags(self, table: "pd.DataFrame") -> "pd.Series[bool]":
        """Which recordings it flags; none without a measured value."""
        values = table[self.column]
        return (values < self.low) | (values > self.high)


QUALITY_CHECKS = (
    QualityCheck("gravity", "median |acc| (g)", 0.8, 1.2,
        "the unit is wrong, gravity was removed, or the sensor is in strong motion throughout"),
    QualityCheck("saturated", "saturated (share)", 0, 0.01,
        "the sensor's range is too narrow for the movement"),
    QualityCheck("rate_spread", "jitter (of a step)", 0, 0.5,
        "uneven sampling: the times are of arrival, or samples were lost"),
    QualityCheck("longest_gap", "longest gap (s)", 0, 0,
        "windows with the gap are left out"),
    QualityCheck("drift", "IMU less video (s)", -1, 1,
        "IMU and video differ in length; check that they start together"),
)  # fmt: skip


def measure_quality(
    stream: ImuStream, video_seconds: float | None, max_gap: float
) -> dict[str, Any]:
    """The measured columns of `QUALITY_SCHEMA` for one stream.

    `rate_spread` is the distance from the 5th to the 95th percentile of the time steps, without
    gaps (over `max_gap` seconds), over their median. `gravity` is the median length of the
    acceleration: 1 g unless the body falls or jumps most of the time.
    """
    step_M = np.diff(stream.time_N)
    gap_M = step_M > max_gap
    low, high = np.percentile(step_M[~gap_M], [5, 95])
    seconds = float(stream.time_N[-1] - stream.time_N[0]) + 1 / stream.rate
    return {
        "video_seconds": video_seconds,
        "imu_seconds": seconds,
        "drift": None if video_seconds is None else seconds - video_seconds,
        "rate": stream.rate,
        "rate_spread": float(high - low) * stream.rate,
        "gaps": int(gap_M.sum()),
        "longest_gap": float(step_M[gap_M].max(initial=0)),
        "gravity": float(np.median(np.linalg.norm(stream.imu_NC[:, :3], axis=1))),
        "saturated": saturated_share(stream.imu_NC),
        "notes": list(stream.notes),
    }


def saturated_share(imu_NC: np.ndarray) -> float:
    """Share of samples that stay at their channel's extreme, for the channel with the largest;
    `imu_NC` in g and deg/s. Only an extreme that can be a sensor's limit counts."""
    from scipy.ndimage import binary_opening  # slow to import, which planning does not need

    shares = [0.0]
    for channel_N, min_range in zip(imu_NC.T, MIN_RANGE_C, strict=True):
        held_N = np.zeros(len(channel_N), bool)
        low, high = channel_N.min(), channel_N.max()
        for extreme in (low, high):
            if low < high and abs(extreme) >= min_range:
                held_N |= binary_opening(channel_N == extreme, np.ones(MIN_SATURATED_RUN, bool))
        shares.append(float(held_N.mean()))
    return max(shares)
