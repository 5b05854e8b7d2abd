"""How many trials fit, and what never will."""

import pytest

from comodo.cluster import ClusterError, capacity, concurrent_trials


@pytest.mark.usefixtures("ray_cluster")
def test_concurrency_follows_the_cluster() -> None:
    assert (capacity().cpus, capacity().gpus) == (2, 1)  # as conftest starts it
    assert concurrent_trials(1, 0, None) == 2
    assert concurrent_trials(0.5, 0, 3) == 3
    assert concurrent_trials(0.5, 0.5, None) == 2
    assert concurrent_trials(2, 1, None) == 1


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("cpus", "gpus"), [(3, 0), (1, 2)])
def test_what_no_node_can_hold_is_refused(cpus: float, gpus: float) -> None:
    with pytest.raises(ClusterError, match="lower cpus_per_trial or gpus_per_trial"):
        concurrent_trials(cpus, gpus, None)
