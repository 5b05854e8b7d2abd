"""The pool of actors that compute features, and what limits its speed."""

import numpy as np
import pytest

from comodo.runtime.actor_pool import (
    PROCESS_BYTES,
    TEACHER_BATCH,
    WORKING_COPIES,
    Balance,
    Node,
    actor_pool,
)

GIB = 1 << 30
PIXELS = 16 * 224 * 224 * 3  # of VideoMAE
WINDOW = WORKING_COPIES * 4 * PIXELS  # bytes


def test_one_actor_for_each_cpu_where_there_is_memory() -> None:
    pool = actor_pool([Node(8, 0, 128 * GIB), Node(4, 0, 64 * GIB)], GIB, PIXELS)
    assert (pool.actors, pool.threads, pool.batch, pool.gpus) == (12, 1, TEACHER_BATCH, 0)
    assert pool.cpus + pool.decode_cpus == 1


@pytest.mark.parametrize("gib", [2, 4, 8, 16, 32, 64, 128, 512])
@pytest.mark.parametrize("weights", [GIB // 64, GIB, 4 * GIB])
def test_actors_fit_into_memory(gib: int, weights: int) -> None:
    nodes = [Node(64, 0, gib * GIB), Node(16, 0, gib * GIB / 4)]
    pool = actor_pool(nodes, weights, PIXELS)
    assert 1 <= pool.batch <= TEACHER_BATCH
    assert pool.actors * pool.threads <= 80
    needed = PROCESS_BYTES + weights + pool.batch * WINDOW
    for node in nodes:
        here = node.cpus // pool.threads
        fits = here * needed <= node.memory
        assert fits or (pool.threads == 16 and pool.batch == 1)  # the smaller node is all taken
    # A smaller batch comes before fewer actors, and nothing is left out that would fit.
    if pool.threads > 1:
        assert (pool.threads - 1) * gib * GIB / 64 < PROCESS_BYTES + weights + WINDOW


def test_each_gpu_has_an_actor_and_a_core_is_left_for_decoding() -> None:
    for cpus, gpus in ((16, 1), (2, 4), (1, 1)):
        pool = actor_pool([Node(cpus, gpus, 8 * GIB)], GIB, PIXELS)
        assert (pool.actors, pool.gpus, pool.batch) == (gpus, 1, TEACHER_BATCH)
        assert pool.actors * pool.cpus + pool.decode_cpus <= cpus
    nothing = actor_pool([], GIB, PIXELS)
    assert (nothing.actors, nothing.threads) == (1, 1)


def times(computed: float, waited: float, windows: int = 4) -> dict[str, np.ndarray]:
    """A pass, as the actor reports it for each window."""
    pairs = {"computed": computed, "waited": waited}
    return {name: np.full(windows, seconds / windows) for name, seconds in pairs.items()}


def test_what_limits_the_speed_is_measured_after_each_actor_s_first_pass() -> None:
    balance = Balance()
    assert balance.sentence(0) == ""
    for _ in range(2):  # two actors, one pass each
        balance.add(times(9.0, np.nan))
    assert balance.sentence(8) == balance.note() == ""
    for _ in range(2):
        balance.add(times(9.5, 0.5))
    assert balance.note() == "the teacher computes 95% of the time"
    assert balance.sentence(16) == (
        "the teacher computed 95% of the time, and waited for frames 5%: the teacher limits the "
        "speed"
    )
    assert balance.sentence(17) == ""  # others are not back
    balance.add(times(1.0, 19.0, 8))
    found = balance.sentence(24)
    assert found.startswith("the teacher computed 50% of the time")
    assert "decoding limits the speed" in found and "videos: shrink" in found
