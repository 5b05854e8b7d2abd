"""A student's speed, measured by training it for a moment."""

from typing import Any

import pytest
import torch

from comodo.config import ComodoMethod, Resources
from comodo.training.speed_test import measure_speed
from tests.helpers import trial_config


@pytest.mark.parametrize(
    "method",
    ["l2", {"name": "comodo", "queue_size": 100_000}],  # more than the few windows that it makes
)
def test_the_trial_trains_and_nothing_is_changed(method: Any) -> None:
    trial, threads = trial_config(method=method, schedule="published"), torch.get_num_threads()
    found = measure_speed(
        trial, Resources(cpus_per_worker=2.5, gpus_per_worker=0), 40, 12, seconds=0.0
    )
    assert len(found.speeds) == 1 and found.speeds[0] > 0
    assert found.trial is trial
    if isinstance(trial.method, ComodoMethod):
        assert trial.method.queue_size == 100_000
    assert (found.samples, found.device, found.workers, found.threads) == (40, "cpu", 1, 2)
    assert found.is_speed_test and (found.kept or 0) > 0
    assert torch.get_num_threads() == threads


def test_weights_that_are_not_here_are_not_downloaded() -> None:
    trial = trial_config(student={"name": "mantis", "weights": "nobody/nothing"})
    with pytest.raises(ValueError, match="nobody/nothing is not on this machine; hf download it"):
        measure_speed(trial, Resources(), 40, 12, seconds=0.0)
