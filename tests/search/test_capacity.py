"""How many trials fit, by arithmetic; against a running Ray see tests/runtime/test_cluster.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.config import ConfigError, Resources
from comodo.search.capacity import (
    cluster_address,
    gpu_share,
    refuse_odd_gpus,
    resolved,
    trials_that_fit,
)
from tests.chaos.toy import sweep_of
from tests.errors import raises

GIB = 1 << 30
NODES = st.lists(st.tuples(st.integers(0, 16), st.integers(0, 4)), max_size=4)


@given(nodes=NODES, cpus=st.integers(1, 4), gpus=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]))
def test_single_workers_fill_each_node_until_cpus_or_gpus_run_out(
    nodes: list[tuple[int, int]], cpus: int, gpus: float
) -> None:
    fitting = 0
    for node_cpus, node_gpus in nodes:
        free = [1.0] * node_gpus
        while node_cpus >= cpus:
            share = min(gpus, 1)
            fits = [number for number, left in enumerate(free) if left >= share]
            taken = fits[: max(1, int(gpus))] if gpus else []
            if len(taken) < gpus:
                break
            for number in taken:
                free[number] -= share
            node_cpus -= cpus
            fitting += 1
    asked = Resources(cpus_per_worker=cpus, gpus_per_worker=gpus)
    assert trials_that_fit(nodes, asked) == fitting


@given(nodes=NODES, workers=st.integers(2, 4), most=st.integers(1, 5))
def test_more_nodes_never_fit_fewer_trials_and_a_limit_holds(
    nodes: list[tuple[int, int]], workers: int, most: int
) -> None:
    asked = Resources(workers=workers)
    fitting = trials_that_fit(nodes, asked)
    assert trials_that_fit([*nodes, (workers, 0)], asked) >= fitting
    assert fitting * workers <= sum(cpus for cpus, _ in nodes)
    limited = asked.model_copy(update={"max_concurrent_trials": most})
    assert trials_that_fit(nodes, limited) == min(fitting, most)


@pytest.mark.parametrize(
    ("asked", "gpus", "share", "each"),
    [
        ({}, 0, 1.0, 0),
        ({}, 4, 1.0, 1),
        ({}, 4, 0.25, 0.25),
        ({"workers": 2}, 4, 0.25, 1),  # NCCL does not let two workers of a trial share one
        ({"gpus_per_worker": 0}, 4, 0.25, 0),
        ({"gpus_per_worker": 2}, 0, 0.25, 2),  # requested, so it is refused where there are none
    ],
)
def test_auto_takes_gpus_where_there_are_any(
    asked: dict[str, Any], gpus: int, share: float, each: float
) -> None:
    assert resolved(Resources(**asked), gpus, share).gpus == each


def test_a_gpu_is_shared_by_what_its_memory_holds() -> None:
    sweep = sweep_of({"trial": {"batch_size": 64}})
    config, total = sweep.trial, 80 * GIB
    other = config.model_copy(update={"batch_size": 128})
    assert gpu_share(sweep, []) is None
    assert gpu_share(sweep, [(other, GIB, total)]) is None
    for peak, share in ((15, 0.25), (16, 0.5), (31, 0.5), (32, 1.0), (79, 1.0)):
        measured = [(config, GIB, total), (config, peak * GIB, total), (other, 70 * GIB, total)]
        assert gpu_share(sweep, measured) == share, peak


@pytest.mark.parametrize("address", ["", "local", None])
def test_without_an_address_ray_is_started_here(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster_address() == "10.0.0.1:6379"


def test_a_share_of_one_gpu_or_whole_ones() -> None:
    for gpus in (0, 0.3, 1, 2):
        refuse_odd_gpus(Resources(gpus_per_worker=gpus))
    with raises(ConfigError, "resources.gpus_per_worker", "2.5", "at most 1, or 3"):
        refuse_odd_gpus(Resources(gpus_per_worker=2.5))
