"""How long a student is fine-tuned, without torch, as `comodo plan` counts it beforehand.

Does not know what is trained. Shape letters: K classes.
"""

from collections.abc import Iterable

from comodo.config.measures import DECLARED

SHOTS = tuple(int(name) for name in DECLARED["fine-tuned"].metrics if name.isdecimal())
"""Labelled windows of each class that a student is fine-tuned on; besides all of them."""
DRAWS = 3  # of k windows of each class; all windows are one draw
BATCH_SIZE = 32
EPOCHS = 20
STEPS = (50, 1_000)  # at least, and at most
CHECKS = 10  # of the accuracy on val, in equal distances
MAX_VAL_WINDOWS = 2_000
FORWARD = 1 / 3  # of the time of a training step


def tuning_steps(windows: int) -> int:
    """Steps of `BATCH_SIZE` windows, or all if there are fewer, on so many labelled windows."""
    least, most = STEPS
    return min(most, max(least, EPOCHS * -(-windows // BATCH_SIZE)))


def tuning_runs(count_K: Iterable[int]) -> list[tuple[int | None, int, int]]:
    """For these numbers of labelled train windows of each class: k (None: all), the draws, and the
    windows of each draw. As in the few-shot curve, a k larger than every class is left out."""
    counts = [count for count in count_K if count]
    runs: list[tuple[int | None, int, int]] = [
        (k, DRAWS, sum(min(k, count) for count in counts))
        for k in SHOTS
        if k <= max(counts, default=0)
    ]
    return [*runs, (None, 1, sum(counts))]


def tuned_windows(count_K: Iterable[int], val: int, test: int) -> int:
    """How many windows could be trained on in the time that all runs take, at most, with so many
    labelled windows in the other splits; early stopping makes it less."""
    runs = tuning_runs(count_K)
    trained = sum(draws * tuning_steps(n) * min(n, BATCH_SIZE) for _, draws, n in runs)
    scored = sum(draws for _, draws, _ in runs) * (min(val, MAX_VAL_WINDOWS) * (CHECKS + 1) + test)
    return round(trained + FORWARD * scored)
