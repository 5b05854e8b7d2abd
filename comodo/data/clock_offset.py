"""How far an IMU's clock is off its video's, from the motion that camera and IMU share.

A camera that turns shifts its picture: the speed of the shift, measured between successive small
frames, rises and falls with the IMU's angular speed. Where both curves fit best lies the offset.
Knows nothing of windows or datasets.

What it cannot know: where the camera steadies its picture electronically, it is the steadied motion
that is seen, which may run ahead of the hand's by some tenths of a second.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls
from scipy.signal import correlate, correlation_lags

from comodo.data.imu import ImuStream
from comodo.data.video import frames_at_rate

FRAME_RATE = 15.0  # frames/s looked at, and samples/s of both curves
SIZE = 64  # pixels of a frame's side
MAX_VIDEO_SECONDS = 120.0  # seconds of the video, from its start
SMOOTHING = 0.1  # seconds, the standard deviation; jitter of frames and codec noise are shorter
MIN_OVERLAP_SECONDS = 5.0  # seconds

# An offset is reliable if its correlation reaches LEAST, is RATIO times any that is more than
# AROUND seconds away, and stands SIGMAS standard deviations above none. Calibrated by simulation
# (benchmarks/offset.py, 640 draws at each length): under 1 % of unrelated pairs pass; of related
# ones 34 % at 10 s, 67 % at 20 s, 87 % at 30 s and 95 % from 60 s on, 96 to 99 % of those right
# within 50 ms.
LEAST, RATIO, AROUND, SIGMAS = 0.3, 1.2, 1.0, 4.0


@dataclass(frozen=True)
class Offset:
    """Of an IMU's clock against its video's."""

    seconds: float
    """To add to the IMU's clock."""
    correlation: float
    """Of the two speeds at that offset, -1 to 1; 0 where there is nothing to compare."""
    reliable: bool


def estimate(video: str, stream: ImuStream, longest: float = 10.0) -> Offset:
    """The offset of a stream's clock, sought within `longest` seconds either way.

    Raises VideoError if the video cannot be read.
    """
    time_M, frames = frames_at_rate(video, FRAME_RATE, MAX_VIDEO_SECONDS, SIZE)
    if len(time_M) < 3:
        return Offset(0.0, 0.0, False)
    speed_M = shifts(frames.mean(axis=3)) / np.diff(time_M)
    camera_K = np.interp(_grid(time_M[0], time_M[-1]), (time_M[1:] + time_M[:-1]) / 2, speed_M)
    time_L = _grid(max(stream.time_N[0], -longest), min(stream.time_N[-1], time_M[-1] + longest))
    if len(time_L) == 0:
        return Offset(0.0, 0.0, False)
    return align(camera_K, turning(stream, time_L), longest, float(time_L[0]))


def align(camera_K: np.ndarray, turning_L3: np.ndarray, longest: float, start: float) -> Offset:
    """The offset at which the camera's speed and an IMU's turning about three axes fit best.

    Both at `RATE`; `camera_K` in any unit from 0 s on, `turning_L3` from `start` seconds of its own
    clock on. Sought are offsets of up to `longest` seconds where half of the shorter curve overlaps
    the other.
    """
    shorter = min(len(camera_K), len(turning_L3))
    least_overlap = max(MIN_OVERLAP_SECONDS * FRAME_RATE, shorter / 2)
    if shorter < least_overlap:
        return Offset(0.0, 0.0, False)
    x_K, y_L = _curve(camera_K), _curve(np.linalg.norm(turning_L3, axis=1))
    lags = correlation_lags(len(x_K), len(y_L))
    count, correlation = _correlations(x_K, y_L)
    inside = (np.abs(lags / FRAME_RATE - start) <= longest) & (count >= least_overlap)
    if not inside.any():
        return Offset(0.0, 0.0, False)
    best = int(np.where(inside, correlation, -1).argmax())
    peak = float(correlation[best])
    near = inside & (np.abs(lags - lags[best]) <= AROUND * FRAME_RATE)
    second = correlation[inside & ~near].max(initial=0)
    sigmas = np.arctanh(min(peak, 0.999)) * np.sqrt(max(count[best] / _memory(x_K, y_L) - 3, 0))
    reliable = peak >= max(LEAST, RATIO * second) and sigmas >= SIGMAS

    # A camera sees turns about some axes more than about others, least about the one it looks
    # along; which those are shows at this offset, and makes it finer.
    lag = int(lags[best])
    camera_J = camera_K[max(0, lag) : len(turning_L3) + lag]
    turning_J3 = turning_L3[max(0, -lag) : len(camera_K) - lag]
    seen_3, _ = nnls(turning_J3**2, camera_J**2)
    _, correlation = _correlations(x_K, _curve(np.sqrt(turning_L3**2 @ seen_3)))
    best = int(np.where(near, correlation, -1).argmax())
    seconds = (lags[best] + _vertex(correlation, best)) / FRAME_RATE - start
    return Offset(float(seconds), peak, bool(reliable))


def shifts(grey_MHW: np.ndarray) -> np.ndarray:
    """Pixels that the picture moves from each frame to the next, float64 [M - 1].

    Phase correlation (Kuglin and Hines, 1975), smoothed over a pixel against coding noise, its peak
    placed between pixels by a parabola. Motion of over half a frame cannot be told from less.
    """
    height, width = grey_MHW.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    smoothing = np.exp(-2 * (np.pi * frequency) ** 2)
    moved = np.zeros(len(grey_MHW) - 1)
    before = None
    for number, grey in enumerate(grey_MHW):
        spectrum = np.fft.rfft2((grey - grey.mean()) * window)
        if before is not None:
            cross = spectrum * before.conj()
            phase = cross / np.maximum(np.abs(cross), 1e-9)
            surface = np.fft.irfft2(phase * smoothing, s=(height, width))
            surface = np.fft.fftshift(surface)
            y, x = np.unravel_index(int(surface.argmax()), surface.shape)
            down = y + _vertex(surface[:, x], int(y)) - height // 2
            right = x + _vertex(surface[y], int(x)) - width // 2
            moved[number - 1] = np.hypot(down, right)
        before = spectrum
    return moved


def turning(stream: ImuStream, time_L: np.ndarray) -> np.ndarray:
    """Degrees/s about each axis in the `1 / RATE` seconds around each time, float64 [L, 3]."""
    angle_N3 = cumulative_trapezoid(
        stream.imu_NC[:, 3:].astype(np.float64), stream.time_N, axis=0, initial=0
    )
    ends = time_L + np.array([[-0.5], [0.5]]) / FRAME_RATE
    turned = [np.diff(np.interp(ends, stream.time_N, angle), axis=0)[0] for angle in angle_N3.T]
    return np.stack(turned, axis=1) * FRAME_RATE


def _grid(start: float, end: float) -> np.ndarray:
    """Multiples of `1 / RATE` seconds in [start, end]."""
    return np.arange(np.ceil(start * FRAME_RATE), np.floor(end * FRAME_RATE) + 1) / FRAME_RATE


def _curve(speed_K: np.ndarray) -> np.ndarray:
    """A speed as it is compared: smooth, of mean 0 and variance 1; all 0 where nothing moves.

    Its root is taken, so that one strong turn does not outweigh all others.
    """
    curve_K = np.sqrt(gaussian_filter1d(speed_K, SMOOTHING * FRAME_RATE))
    spread = curve_K.std()
    return (curve_K - curve_K.mean()) / (spread if spread > 1e-6 else np.inf)


def _correlations(x_K: np.ndarray, y_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each lag, how many samples overlap, and Pearson's correlation of those."""

    def sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return correlate(a, b, method="fft")

    ones_K, ones_L = np.ones_like(x_K), np.ones_like(y_L)
    count = sums(ones_K, ones_L).round().clip(1)
    x_sum, y_sum = sums(x_K, ones_L), sums(ones_K, y_L)
    x_spread = (sums(x_K**2, ones_L) - x_sum**2 / count) / count
    y_spread = (sums(ones_K, y_L**2) - y_sum**2 / count) / count
    shared = (sums(x_K, y_L) - x_sum * y_sum / count) / count
    # Where one of them hardly moves, as it does elsewhere, there is nothing to compare.
    usable = (x_spread > 1e-3) & (y_spread > 1e-3)
    spread = np.sqrt(np.where(usable, x_spread * y_spread, 1))
    return count, np.where(usable, shared / spread, 0)


def _memory(x_K: np.ndarray, y_L: np.ndarray) -> float:
    """Samples that count as one, as both curves change slowly (Bartlett, 1935)."""
    length = min(len(x_K), len(y_L)) // 2
    own = [correlate(z, z, method="fft")[len(z) :][:length] / len(z) for z in (x_K, y_L)]
    return float(1 + 2 * np.abs(own[0] * own[1]).sum())


def _vertex(values: np.ndarray, peak: int) -> float:
    """Where between its neighbours a peak lies, by a parabola: -0.5 to 0.5."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    left, middle, right = values[peak - 1 : peak + 2]
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend < 0 else 0.0
