"""How many actors compute features at once and on how many windows, from the CPUs, GPUs and memory
of the cluster; and whether they waited for frames. Knows neither Ray nor teachers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

TEACHER_BATCH = 16  # windows at most in a pass through the teacher
WORKING_COPIES = 50.0
"""Peak memory of passes by that of their frames in float32, with a margin: measured on a CPU whose
actors keep what is freed, 12 for three layers of VideoMAE-base and 37 to 42 for
EfficientNet-Lite0."""
BUSY = 0.9  # share of the time that actors compute, above which decoding is fast enough
PROCESS_BYTES = 1 << 30  # of an actor without its teacher; PyTorch alone takes 0.6 GB


class Node(NamedTuple):
    """What a machine has for the work of Ray: CPUs, GPUs, bytes of memory."""

    cpus: float
    gpus: float
    memory: float


@dataclass(frozen=True)
class ActorPool:
    """Actors that compute features, the CPUs and GPUs of each, and of each task that decodes."""

    actors: int
    cpus: float
    gpus: float
    threads: int
    """In which each actor computes, if it has no GPU."""
    decode_cpus: float
    batch: int
    """Windows at most in a pass."""


def actor_pool(nodes: Sequence[Node], weights: int, pixels: int) -> ActorPool:
    """The pool for a teacher of so many bytes of weights, which sees so many numbers (frames x
    rows x columns x colours) of each window.

    With GPUs there is one actor for each. Else one for each CPU, but fewer with more threads where
    memory is short, and smaller batches before that.
    """
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    if gpus:
        # However many GPUs there are for each core, one core is left for decoding.
        decode_cpus = min(1.0, cpus / 2)
        each = min(0.5, (cpus - decode_cpus) / int(gpus))
        return ActorPool(int(gpus), each, 1.0, 1, decode_cpus, TEACHER_BATCH)
    share = min((node.memory / max(node.cpus, 1) for node in nodes), default=math.inf)
    window, fixed = WORKING_COPIES * 4 * pixels, PROCESS_BYTES + weights
    most = max(1, int(min((node.cpus for node in nodes if node.cpus >= 1), default=1)))
    threads = min(most, max(1, math.ceil((fixed + window) / share)))
    actors = max(1, sum(int(node.cpus) // threads for node in nodes))
    room = (threads * share - fixed) / window
    batch = TEACHER_BATCH if room > TEACHER_BATCH else max(1, int(room))
    # Unequal shares keep Ray Data from fusing decoding into the actors.
    return ActorPool(actors, 0.75 * threads, 0.0, threads, 0.25, batch)


@dataclass
class Balance:
    """How long the actors computed, and how long they waited for frames before that, in seconds."""

    computed: float = 0.0
    waited: float = 0.0
    windows: int = field(default=0)
    """Of which this is known: an actor's first pass has no wait before it."""

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Adds `computed` and `waited` of windows, each its part of a pass; NaN: not known."""
        known = np.isfinite(batch["waited"])
        self.waited += float(batch["waited"][known].sum())
        self.computed += float(batch["computed"][known].sum())
        self.windows += int(known.sum())

    @property
    def busy(self) -> float:
        """The share of the time in which the actors computed."""
        return self.computed / (self.computed + self.waited)

    def note(self) -> str:
        """For a progress line; empty as long as nothing is known."""
        return f"the teacher computes {self.busy:.0%} of the time" if self.windows else ""

    def sentence(self, windows: int) -> str:
        """What limits the speed, if it is known of at least half of so many windows."""
        if not self.windows or 2 * self.windows < windows:
            return ""
        shares = f"{self.busy:.0%} of the time, and waited for frames {1 - self.busy:.0%}"
        found = f"the teacher computed {shares}"
        if self.busy >= BUSY:
            return f"{found}: the teacher limits the speed"
        return f"{found}: decoding limits the speed; videos: shrink makes it faster, or more CPUs"
