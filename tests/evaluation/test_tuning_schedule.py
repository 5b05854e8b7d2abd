"""How long a student is fine-tuned: bounds, few-shot subsets, and what is counted beforehand."""

import numpy as np

from comodo.evaluation.feature_metrics import draws_of_ranks
from comodo.evaluation.tuning_schedule import DRAWS, tuned_windows, tuning_runs, tuning_steps


def test_steps_are_twenty_epochs_within_bounds() -> None:
    assert [tuning_steps(n) for n in (2, 80, 81, 320, 1_600, 50_000)] == [
        50,
        60,
        60,
        200,
        1_000,
        1_000,
    ]


def test_runs_are_those_of_the_few_shot_draws() -> None:
    label_N = np.repeat([0, 1, 2], [30, 7, 3])
    runs = tuning_runs(np.bincount(label_N))
    assert [k for k, *_ in runs] == [1, 5, 10, None]  # no class has 50
    for k, draws, windows in runs[:-1]:
        assert k is not None and draws == DRAWS
        for rank_N in draws_of_ranks(label_N, draws, seed=0):
            assert (rank_N < k).sum() == windows
    assert runs[-1] == (None, 1, 40)
    assert tuning_runs([])[-1] == (None, 1, 0)


def test_windows_are_counted_with_what_is_scored() -> None:
    counts = [2, 2]  # runs of 1 and of all: 50 steps of 2, three times, and 50 of 4
    assert tuned_windows(counts, 0, 0) == 3 * 50 * 2 + 50 * 4
    assert tuned_windows(counts, 30, 60) == 500 + 4 * (30 * 11 + 60) / 3
