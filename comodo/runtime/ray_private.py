"""The private names of Ray that comodo uses, each behind a function of its own.

No other module imports, reads or assigns what Ray does not publish. Knows nothing of trials.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ray._private import ray_constants, state


class PrivateName(NamedTuple):
    """A name that may change with any release of Ray."""

    module: str
    name: str
    """Dotted, from the module on."""
    purpose: str
    replacement: str


PRIVATE_NAMES = (
    PrivateName(
        "ray._private.ray_constants",
        "ENABLE_RAY_CLUSTER",
        "a Ray that is started on this machine listens on 127.0.0.1 only",
        "ray.init with an address to bind to: it replaces a _node_ip_address of 127.0.0.1 by the "
        "machine's outer address",
    ),
    PrivateName(
        "ray._private.state",
        "state.get_draining_nodes",
        "a trial saves its checkpoint and leaves a machine that is about to be taken away",
        "a public list of draining nodes. ray.train.get_preemption_info() is not one: in Train's "
        "local mode, which trials of one worker use, it is always None, and for several workers it "
        "knows the workers' nodes only, not the node of the trial's own process",
    ),
)


@contextmanager
def listening_on_loopback() -> Iterator[None]:
    """A Ray that is started in this block listens on 127.0.0.1, as it does by default on macOS and
    Windows."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def draining_nodes() -> set[str]:
    """Ids of the cluster's nodes that are about to be taken away."""
    return set(state.state.get_draining_nodes())
