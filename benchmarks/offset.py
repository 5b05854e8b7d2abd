"""How often `comodo.data.clock_offset` is right, and how often it accepts unrelated pairs.

Run:    python -m benchmarks.offset        about 2 minutes
Data:   heads turning about three axes, steadily, in bursts, in strong bursts or walking; a camera
        that sees little of the third axis, its speed with noise of 0.1 to 1 times its spread; an
        IMU that started up to 5 s before it, or somebody else's IMU.
"""

import sys

import numpy as np
from scipy.ndimage import gaussian_filter1d

from comodo.data.clock_offset import FRAME_RATE, align, turning
from comodo.data.imu import ImuStream

SAMPLES = 100  # a second
KINDS = {"steady": 0.0, "bursts": 1.0, "strong bursts": 1.8, "walking": 1.0}
DRAWS = 160  # of each kind and length


def head(rng: np.random.Generator, seconds: float, kind: str) -> ImuStream:
    """A head's angular velocity, up to some tens of deg/s, changing 0.2 to 1.2 times per second."""
    count = round(seconds * SAMPLES)
    speed = rng.uniform(0.2, 1.2)
    gyro_N3 = gaussian_filter1d(rng.normal(size=(count, 3)), SAMPLES / (2 * np.pi * speed), axis=0)
    strength_N = gaussian_filter1d(rng.normal(size=count), SAMPLES * rng.uniform(0.5, 2))
    gyro_N3 *= np.exp(KINDS[kind] * strength_N / strength_N.std())[:, None] / gyro_N3.std()
    if kind == "walking":
        drift_N = gaussian_filter1d(rng.normal(size=count), 2 * SAMPLES)
        step_N = 2 * np.pi * rng.uniform(1.6, 2.2) * np.cumsum(1 + drift_N) / SAMPLES
        gait = [np.sin(step_N), 0.5 * np.sin(step_N / 2), 0.3 * np.cos(step_N)]
        gyro_N3 += np.stack(gait, axis=1) * rng.uniform(0.5, 2) * gyro_N3.std()
    imu_NC = np.concatenate([np.zeros((count, 3)), gyro_N3 * rng.uniform(10, 60)], axis=1)
    return ImuStream(np.arange(count) / SAMPLES, imu_NC)


def seen(rng: np.random.Generator, turning_K3: np.ndarray, noise: float) -> np.ndarray:
    speed_K = np.linalg.norm(turning_K3 * [1, 1, 0.1], axis=1)
    return np.abs(speed_K + rng.normal(size=len(speed_K)) * speed_K.std() * noise)


def main() -> int:
    rng = np.random.default_rng(0)
    print("seconds  unrelated believed  related believed  of those within 50 ms  median error")
    for seconds in (10, 20, 30, 60, 120):
        time_K = np.arange(1, seconds * FRAME_RATE) / FRAME_RATE
        wrong, errors = [], []
        for draw in range(DRAWS * len(KINDS)):
            kind, other_kind = (list(KINDS)[i % len(KINDS)] for i in (draw, draw // len(KINDS)))
            start = rng.uniform(0, 5)
            stream = head(rng, seconds + 10, kind)
            camera_K = seen(rng, turning(stream, time_K + start), rng.uniform(0.1, 1))
            time_L = np.arange(1, (seconds + 9) * FRAME_RATE) / FRAME_RATE
            found = align(camera_K, turning(stream, time_L), 10, 0.0)
            if found.reliable:
                errors.append(abs(found.seconds + start))
            other = head(rng, seconds + rng.uniform(0, 20), other_kind)
            other_L3 = turning(
                other, np.arange(1, (other.time_N[-1] - 1) * FRAME_RATE) / FRAME_RATE
            )
            wrong.append(align(camera_K, other_L3, 10, 0.0).reliable)
        right = np.mean(np.array(errors) < 0.05)
        print(
            f"{seconds:7}  {np.mean(wrong):18.3f}  {len(errors) / len(wrong):16.2f}  "
            f"{right:21.3f}  {np.median(errors) * 1000:9.0f} ms",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
