"""Band-limited resampling: values at any times, from samples at any times. Knows no streams.

The published reference resamples with a library that needs an even clock and a ratio of whole
numbers. Recorded clocks have neither, and linear interpolation, the usual way out, loses up to
half of the amplitude at 0.4 of the sampling rate.

Shapes: N samples, C channels, M requested times, J points of an even grid, K taps of the kernel.
"""

from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import i0

HALF_WIDTH = 16  # of the interpolation kernel, in samples of the lower rate
BETA = 6.0  # of its Kaiser window: 60 dB
STOP = 0.46  # of the lower rate: half amplitude when reducing the rate, so that 0.52 is at -60 dB
FIT_BAND = 0.9  # bandwidth fitted to an uneven clock, as a share of its own
FIT_HALF_WIDTH = 24
FIT_BETA = 7.5
FIT_RIDGE = 1e-3  # where samples are missing, the fit stays with the straight line
EVEN = 2e-3  # of a step: a clock that deviates by less is even
LONGEST_HOLE = 0.5  # s without samples that are filled
TABLE_STEPS = 1024  # of the tabulated kernel in a sample
MAX_WEIGHTS = 2**20  # of the kernel in memory at a time


def values_at(
    time_N: np.ndarray, value_NC: np.ndarray, rate: float, at_M: np.ndarray, to_rate: float
) -> np.ndarray:
    """Values at `at_M` (s, ascending), float64 [M, C], without what `to_rate` Hz cannot represent.

    Amplitudes are right within 1 % up to 0.4 of the lower rate. `time_N` is in s, strictly
    ascending; `rate` is its sampling rate in Hz. Before the first sample and after the last the
    signal is taken as its reflection, and across missing samples as about straight.
    """
    margin = 2 * FIT_HALF_WIDTH / min(rate, to_rate)  # more has no influence
    first = max(0, int(np.searchsorted(time_N, at_M[0] - margin)) - 1)
    near = slice(first, int(np.searchsorted(time_N, at_M[-1] + margin)) + 1)
    time_N, value_NC = time_N[near], value_NC[near].astype(np.float64)
    # A gap is shortened on both clocks: the grid would have no end where a clock jumps by years.
    step_N = np.diff(time_N, prepend=time_N[0])
    jumped_N = np.cumsum((step_N - LONGEST_HOLE).clip(0))
    at_M = at_M - jumped_N[(np.searchsorted(time_N, at_M, "right") - 1).clip(0)]
    start, step, even_JC = _even(time_N - jumped_N, value_NC, rate)
    ratio = to_rate * step if to_rate * step < 1 - EVEN else 1.0
    reach, cut = int(np.ceil(HALF_WIDTH / ratio)), 0.5 if ratio == 1 else STOP
    # Reflected at its ends, so that values and slopes go on there.
    even_JC = np.pad(even_JC, ((reach, reach), (0, 0)), "reflect", reflect_type="odd")
    place_M = ((at_M - start) / step + reach).clip(0, len(even_JC) - 1)
    parts = np.array_split(place_M, -(-len(at_M) * 2 * reach // MAX_WEIGHTS))
    kernels = (_kernel(part, len(even_JC), ratio, HALF_WIDTH, BETA, cut) for part in parts)
    return np.concatenate([kernel @ even_JC for kernel in kernels])


def _even(time_N: np.ndarray, value_NC: np.ndarray, rate: float) -> tuple[float, float, np.ndarray]:
    """Start and step (s) of an even grid, and the signal on it: the samples themselves, or the
    band-limited signal that fits samples of an uneven clock best (least squares)."""
    start, count = float(time_N[0]), len(time_N)
    step = float(time_N[-1] - start) / max(1, count - 1)
    if count < 3 or np.abs(time_N - start - np.arange(count) * step).max() < EVEN * step:
        return start, step or 1 / rate, value_NC
    step = 1 / (FIT_BAND * rate)
    count = int(np.ceil((time_N[-1] - start) / step)) + 1
    grid_J = start + np.arange(count) * step
    line_JC = np.stack([np.interp(grid_J, time_N, value_N) for value_N in value_NC.T], axis=1)
    kernel_NJ = _kernel((time_N - start) / step, count, 1.0, FIT_HALF_WIDTH, FIT_BETA, cut=0.5)
    normal_JJ = (kernel_NJ.T @ kernel_NJ + FIT_RIDGE * sparse.identity(count)).tocsc()
    rest_JC = kernel_NJ.T @ (value_NC - kernel_NJ @ line_JC)
    return start, step, line_JC + splu(normal_JJ).solve(rest_JC)


def _kernel(
    place_M: np.ndarray, count: int, ratio: float, half_width: int, beta: float, cut: float
) -> sparse.csr_matrix:
    """Matrix [M, count] from values on a grid to values at `place_M`, in steps of the grid: rows of
    a sinc of `cut * ratio` cycles in a step, in a Kaiser window. Rows sum to 1. Values next to the
    grid's ends stand for those beyond."""
    reach = int(np.ceil(half_width / ratio))
    index_MK = np.floor(place_M).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    apart_MK = (place_M[:, None] - index_MK) * ratio
    weight_MK = np.interp(np.abs(apart_MK), *_table(half_width, beta, cut))
    weight_MK /= weight_MK.sum(axis=1, keepdims=True)
    ends = np.arange(len(place_M) + 1) * 2 * reach
    columns = index_MK.clip(0, count - 1).ravel()
    return sparse.csr_matrix((weight_MK.ravel(), columns, ends), shape=(len(place_M), count))


@lru_cache
def _table(half_width: int, beta: float, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """The kernel at distances from 0 on, in samples; linear between them within 1e-6."""
    apart_K = np.linspace(0, half_width, half_width * TABLE_STEPS + 1)
    window_K = i0(beta * np.sqrt(1 - (apart_K / half_width) ** 2))
    kernel_K = np.sinc(2 * cut * apart_K) * window_K / window_K[0]
    kernel_K[-1] = 0  # and beyond
    return apart_K, kernel_K
