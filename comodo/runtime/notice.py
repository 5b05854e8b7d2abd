"""Notices that a node will be taken away, as spot machines are."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import ray
import ray.exceptions

from comodo.runtime.ray_private import draining_nodes

POLL_SECONDS = 2.0


def this_node() -> str:
    """Ray's name of the node that this process is on."""
    return ray.get_runtime_context().get_node_id()


@contextmanager
def notice_of(nodes: set[str]) -> Iterator[Callable[[], bool]]:
    """Yields whether Ray knows that one of these nodes will be taken away, as spot machines are.

    A thread asks Ray while the block runs. Ray does not ask a cloud: it is notified by
    `ray drain-node`, which deploy/spot_notice.py runs on AWS, and drains a node itself when
    `ray start --block` gets a signal to end, as from Kubernetes.
    """
    given, over = threading.Event(), threading.Event()

    def ask() -> None:
        while not given.is_set() and not over.wait(POLL_SECONDS):
            # Errors mean that the head does not answer now; the next poll asks again.
            with suppress(RuntimeError, OSError, ray.exceptions.RayError):
                if nodes & draining_nodes():
                    given.set()

    threading.Thread(target=ask, name="notice", daemon=True).start()
    try:
        yield given.is_set
    finally:
        over.set()
