"""How many trials fit, and what never will."""

from typing import Any

import pytest

from comodo.cluster import ClusterError, capacity, concurrent_trials
from comodo.config import Resources


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("asked", "trials"),
    [
        ({}, 2),
        ({"cpus_per_worker": 0.5, "max_concurrent_trials": 3}, 3),
        ({"cpus_per_worker": 0.5, "gpus_per_worker": 0.5}, 2),
        ({"cpus_per_worker": 2, "gpus_per_worker": 1}, 1),
        ({"workers": 2, "cpus_per_worker": 0.5}, 1),
        ({"workers": 2, "cpus_per_worker": 0.4}, 2),
    ],
)
def test_concurrency_follows_the_cluster(asked: dict[str, Any], trials: int) -> None:
    assert (capacity().cpus, capacity().gpus) == (2, 1)  # as conftest starts it
    assert concurrent_trials(Resources(**asked)) == trials


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "asked",
    [
        {"cpus_per_worker": 3},
        {"gpus_per_worker": 2},
        {"workers": 3},
        {"workers": 2, "cpus_per_worker": 1},  # nothing is left for the driver
    ],
)
def test_what_can_never_fit_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="lower .*cpus_per_worker"):
        concurrent_trials(Resources(**asked))
