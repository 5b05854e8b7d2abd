"""The private names of Ray that comodo uses, each behind a function of its own.

They may change with any release of Ray: each function says what would replace its name. No other
module imports, reads or assigns what Ray does not publish. Knows nothing of trials.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from ray._private import grpc_utils, ray_constants, services, state


@contextmanager
def listening_on_loopback() -> Iterator[None]:
    """A Ray that is started in this block listens on 127.0.0.1 only, as it does by default on macOS
    and Windows.

    Replacement: ray.init with an address to bind to. It replaces a `_node_ip_address` of 127.0.0.1
    by the machine's outer address.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def newest_cluster() -> str:
    """The address that `auto` means here. Raises ConnectionError without one.

    Replacement: a limit for how long ray.init waits for a cluster to answer.
    """
    return str(services.get_ray_address_from_environment("auto", None))


def answers(address: str, seconds: float) -> bool:
    """Whether a gRPC server, as every Ray head is one, answers at HOST:PORT within this time.

    Replacement: a limit for how long ray.init waits for a cluster to answer. The private name is
    that of a channel with Ray's settings of TLS.
    """
    no_proxy = [("grpc.enable_http_proxy", 0)]  # as Ray itself connects
    with grpc_utils.init_grpc_channel(address, no_proxy) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            return False
        return True


def draining_nodes() -> set[str]:
    """Ids of the cluster's nodes that are about to be taken away.

    Replacement: a public list of them. `ray.train.get_preemption_info()` is not one: in Train's
    local mode, which trials of one worker use, it is always None, and for several workers it knows
    the workers' nodes only, not the node of the trial's own process.
    """
    return set(state.state.get_draining_nodes())
