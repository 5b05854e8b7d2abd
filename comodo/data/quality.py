"""How good a recording is: what is measured of its IMU stream while it is sliced.

Judges a stream by itself and beside the length of its video. Knows no files, windows or Ray.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from comodo.data.imu import ImuStream

if TYPE_CHECKING:
    import pandas as pd  # half a second that who only plans need not wait

QUALITY_SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("rejected", pa.string()),  # the reason, for a recording without windows
        ("windows", pa.int64()),
        ("window_seconds", pa.float64()),  # of all its windows together
        ("video_seconds", pa.float64()),  # null without a video
        ("imu_seconds", pa.float64()),
        ("drift", pa.float64()),  # IMU's length less the video's, s
        ("rate", pa.float64()),  # Hz
        ("rate_spread", pa.float64()),  # share of the usual distance of two samples
        ("gaps", pa.int64()),
        ("longest_gap", pa.float64()),  # s; 0 without one
        ("gravity", pa.float64()),  # g
        ("saturated", pa.float64()),  # share of samples
        ("notes", pa.list_(pa.string())),
    ]
)

# The narrowest ranges that MEMS sensors are made with (Bosch BMI160 data sheet: 2 g, 125 deg/s),
# less a little for calibration. An extreme below them is no sensor's limit.
NARROWEST_RANGE_C = 0.95 * np.array([2.0] * 3 + [125.0] * 3)
MIN_SATURATED_RUN = 3  # samples in a row at a channel's extreme; fewer are the peak of a movement


@dataclass(frozen=True)
class QualityCheck:
    """A measure that can tell a bad recording: what is outside of `low` to `high` is flagged."""

    column: str
    title: str
    """With its unit, as an axis shows it."""
    low: float
    high: float
    means: str
    """What a flag says."""

    def flags(self, table: "pd.DataFrame") -> "pd.Series[bool]":
        """Which recordings it flags; none that could not be measured."""
        values = table[self.column]
        return (values < self.low) | (values > self.high)


QUALITY_CHECKS = (
    QualityCheck("gravity", "median |acc| (g)", 0.8, 1.2,
          "the unit is not what was said, gravity was taken out, or it moves hard throughout"),
    QualityCheck("saturated", "saturated (share)", 0, 0.01,
          "the sensor's range is too narrow for the movement"),
    QualityCheck("rate_spread", "jitter (of a step)", 0, 0.5,
          "samples come unevenly: the clock is of their arrival, or samples were lost"),
    QualityCheck("longest_gap", "longest gap (s)", 0, 0,
          "windows with the gap are left out"),
    QualityCheck("drift", "IMU less video (s)", -1, 1,
          "IMU and video differ in length; see whether they begin together"),
)  # fmt: skip


def measure_quality(
    stream: ImuStream, video_seconds: float | None, longest_gap: float
) -> dict[str, Any]:
    """The measured columns of `SCHEMA` for one stream.

    Args:
        video_seconds: None without a video.
        longest_gap: seconds between two samples from which on they are a gap.

    The rate's spread is the distance from the 5th to the 95th percentile of the steps, gaps left
    out, over their median. Gravity is the median length of the acceleration: 1 g unless the body
    falls or jumps most of the time.
    """
    step_M = np.diff(stream.time_N)
    gap_M = step_M > longest_gap
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
    """Share of samples that stay at their channel's extreme, of the channel that has most.

    `imu_NC` in g and deg/s. Only extremes that can be a sensor's limit count.
    """
    shares = [0.0]
    for channel_N, narrowest in zip(imu_NC.T, NARROWEST_RANGE_C, strict=True):
        held_N = np.zeros(len(channel_N), bool)
        low, high = channel_N.min(), channel_N.max()
        for extreme in (low, high):
            if low < high and abs(extreme) >= narrowest and len(channel_N) >= MIN_SATURATED_RUN:
                runs = np.lib.stride_tricks.sliding_window_view(
                    channel_N == extreme, MIN_SATURATED_RUN
                )
                for start in range(MIN_SATURATED_RUN):
                    held_N[start : start + len(runs)] |= runs.all(axis=1)
        shares.append(float(held_N.mean()))
    return max(shares)
