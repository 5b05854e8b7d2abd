"""The offset between an IMU's clock and its video's, from the motion that camera and IMU share.

When a camera turns, its picture shifts: the speed of the shift, measured between successive small
frames, rises and falls with the IMU's angular speed. The offset is where both curves correlate
most. Knows nothing of windows or data sets.

Limit: with electronic stabilisation the picture shows the stabilised motion, which may be some
tenths of a second ahead of the camera's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls
from scipy.signal import correlate, correlation_lags

from comodo.config.channels import AXES
from comodo.data.imu import ImuError, ImuStream
from comodo.data.video import frames_at_rate

FRAME_RATE = 15.0  # video frames/s that are decoded, and samples/s of both curves
FRAME_SIZE = 64  # pixels
MAX_VIDEO_SECONDS = 120.0  # of the video, from its start
SMOOTHING_SECONDS = 0.1  # standard deviation; frame jitter and codec noise are shorter
MIN_OVERLAP_SECONDS = 5.0

# Requirements of a reliable offset. Calibrated by simulation (benchmarks/offset.py, 640 draws at
# each length): under 1 % of unrelated pairs pass; of related ones 34 % at 10 s, 67 % at 20 s, 87 %
# at 30 s and 95 % from 60 s on, 96 to 99 % of those right within 50 ms.
MIN_CORRELATION = 0.3
MIN_PEAK_RATIO = 1.2  # to the highest correlation elsewhere
PEAK_SECONDS = 1.0  # half width of the peak; lags outside are elsewhere
MIN_SIGMAS = 4.0  # standard deviations of the correlation above 0


@dataclass(frozen=True)
class Offset:
    """Offset of an IMU's clock from its video's."""

    seconds: float  # to add to the IMU's clock
    correlation: float  # of both speeds, -1 to 1; 0 where there is nothing to compare
    reliable: bool


NOT_COMPARABLE = Offset(0.0, 0.0, False)


def with_gyroscope(streams: Sequence[ImuStream], source: str) -> ImuStream:
    """The first of a recording's streams whose rotation can be compared with a camera's. Raises
    ImuError if none has a gyroscope of three axes."""
    for stream in streams:
        if stream.values("gyro").shape[1] == len(AXES):
            return stream
    message = f"{source}: no gyroscope of three axes, which finding an offset needs"
    raise ImuError("imu.no-gyroscope", f"{message}; write imu_offset in seconds")


def estimate(video: str, stream: ImuStream, max_offset: float = 10.0) -> Offset:
    """The offset of a stream's clock, searched up to `max_offset` seconds either way. Raises
    VideoError."""
    time_M, frames = frames_at_rate(video, FRAME_RATE, MAX_VIDEO_SECONDS, FRAME_SIZE)
    if len(time_M) < 3:
        return NOT_COMPARABLE
    speed_M = shifts(frames.mean(axis=3)) / np.diff(time_M)
    camera_K = np.interp(_grid(time_M[0], time_M[-1]), (time_M[1:] + time_M[:-1]) / 2, speed_M)
    first, last = stream.time_N[[0, -1]]
    time_L = _grid(max(first, -max_offset), min(last, time_M[-1] + max_offset))
    if len(time_L) == 0:
        return NOT_COMPARABLE
    return align(camera_K, turning(stream, time_L), max_offset, float(time_L[0]))


def align(camera_K: np.ndarray, turning_L3: np.ndarray, max_offset: float, start: float) -> Offset:
    """The offset at which a camera's speed and an IMU's rotation about three axes correlate most.

    Both have `FRAME_RATE` samples/s: `camera_K` in any unit from 0 s on, `turning_L3` from `start`
    seconds of its own clock on. Searches the offsets of up to `max_offset` seconds at which half of
    the shorter curve overlaps the other.
    """
    shorter = min(len(camera_K), len(turning_L3))
    min_overlap = max(MIN_OVERLAP_SECONDS * FRAME_RATE, shorter / 2)
    if shorter < min_overlap:
        return NOT_COMPARABLE
    x_K, y_L = _curve(camera_K), _curve(np.linalg.norm(turning_L3, axis=1))
    lags = correlation_lags(len(x_K), len(y_L))
    count, correlation = _correlations(x_K, y_L)
    inside = (np.abs(lags / FRAME_RATE - start) <= max_offset) & (count >= min_overlap)
    if not inside.any():
        return NOT_COMPARABLE
    best = int(np.where(inside, correlation, -1).argmax())
    peak = float(correlation[best])
    near = inside & (np.abs(lags - lags[best]) <= PEAK_SECONDS * FRAME_RATE)
    second = correlation[inside & ~near].max(initial=0)
    # Fisher's z-transformation of the peak, in standard deviations.
    effective = count[best] / _samples_per_effective_one(x_K, y_L)
    sigmas = np.arctanh(min(peak, 0.999)) * np.sqrt(max(effective - 3, 0))
    reliable = peak >= max(MIN_CORRELATION, MIN_PEAK_RATIO * second) and sigmas >= MIN_SIGMAS

    # A camera sees rotation about some axes more than about others, least about its line of sight.
    # Weights of the axes, fitted at this offset, then give a more precise one.
    lag = int(lags[best])
    camera_J = camera_K[max(0, lag) : len(turning_L3) + lag]
    turning_J3 = turning_L3[max(0, -lag) : len(camera_K) - lag]
    weight_3, _ = nnls(turning_J3**2, camera_J**2)
    _, correlation = _correlations(x_K, _curve(np.sqrt(turning_L3**2 @ weight_3)))
    best = int(np.where(near, correlation, -1).argmax())
    seconds = (lags[best] + _vertex(correlation, best)) / FRAME_RATE - start
    return Offset(float(seconds), peak, bool(reliable))


def shifts(grey_MHW: np.ndarray) -> np.ndarray:
    """Pixels that the picture moves from each frame to the next, float64 [M - 1].

    Phase correlation (Kuglin and Hines, 1975), smoothed over a pixel against codec noise, its peak
    located between pixels by a parabola. Motion of over half a frame is aliased to less.
    """
    height, width = grey_MHW.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    smoothing = np.exp(-2 * (np.pi * frequency) ** 2)
    moved = np.zeros(len(grey_MHW) - 1)
    previous = None
    for number, grey in enumerate(grey_MHW):
        spectrum = np.fft.rfft2((grey - grey.mean()) * window)
        if previous is not None:
            cross = spectrum * previous.conj()
            phase = cross / np.maximum(np.abs(cross), 1e-9)
            surface = np.fft.irfft2(phase * smoothing, s=(height, width))
            surface = np.fft.fftshift(surface)
            y, x = np.unravel_index(int(surface.argmax()), surface.shape)
            down = y + _vertex(surface[:, x], int(y)) - height // 2
            right = x + _vertex(surface[y], int(x)) - width // 2
            moved[number - 1] = np.hypot(down, right)
        previous = spectrum
    return moved


def turning(stream: ImuStream, time_L: np.ndarray) -> np.ndarray:
    """Mean deg/s about each axis in the `1 / FRAME_RATE` s around each time, float64 [L, 3]."""
    rate_N3 = stream.values("gyro").astype(np.float64)
    angle_N3 = cumulative_trapezoid(rate_N3, stream.time_N, axis=0, initial=0)
    ends = time_L + np.array([[-0.5], [0.5]]) / FRAME_RATE
    turned = [np.diff(np.interp(ends, stream.time_N, angle), axis=0)[0] for angle in angle_N3.T]
    return np.stack(turned, axis=1) * FRAME_RATE


def _grid(start: float, end: float) -> np.ndarray:
    """Multiples of `1 / FRAME_RATE` seconds in [start, end]."""
    return np.arange(np.ceil(start * FRAME_RATE), np.floor(end * FRAME_RATE) + 1) / FRAME_RATE


def _curve(speed_K: np.ndarray) -> np.ndarray:
    """A speed for comparison: smooth, with mean 0 and variance 1; all 0 where nothing moves."""
    # The square root keeps one strong turn from outweighing all others.
    curve_K = np.sqrt(gaussian_filter1d(speed_K, SMOOTHING_SECONDS * FRAME_RATE))
    spread = curve_K.std()
    return (curve_K - curve_K.mean()) / (spread if spread > 1e-6 else np.inf)


def _correlations(x_K: np.ndarray, y_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each lag: how many samples overlap, and their Pearson correlation."""

    def sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return correlate(a, b, method="fft")

    ones_K, ones_L = np.ones_like(x_K), np.ones_like(y_L)
    count = sums(ones_K, ones_L).round().clip(1)
    x_sum, y_sum = sums(x_K, ones_L), sums(ones_K, y_L)
    x_spread = (sums(x_K**2, ones_L) - x_sum**2 / count) / count
    y_spread = (sums(ones_K, y_L**2) - y_sum**2 / count) / count
    shared = (sums(x_K, y_L) - x_sum * y_sum / count) / count
    # Where one of them hardly moves, there is nothing to compare.
    usable = (x_spread > 1e-3) & (y_spread > 1e-3)
    spread = np.sqrt(np.where(usable, x_spread * y_spread, 1))
    return count, np.where(usable, shared / spread, 0)


def _samples_per_effective_one(x_K: np.ndarray, y_L: np.ndarray) -> float:
    """Samples that count as one independent sample, as both curves are autocorrelated (Bartlett,
    1935)."""
    length = min(len(x_K), len(y_L)) // 2
    own = [correlate(z, z, method="fft")[len(z) :][:length] / len(z) for z in (x_K, y_L)]
    return float(1 + 2 * np.abs(own[0] * own[1]).sum())


def _vertex(values: np.ndarray, peak: int) -> float:
    """Position of a peak between its neighbours by a parabola, -0.5 to 0.5 samples."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    left, middle, right = values[peak - 1 : peak + 2]
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend < 0 else 0.0
