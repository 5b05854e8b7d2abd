"""The machine on which a sweep is planned. Starts nothing."""

import os
from dataclasses import dataclass
from pathlib import Path

from comodo.config import Resources
from comodo.core.machine import usable_cpus
from comodo.search.capacity import cluster_address, trials_that_fit


@dataclass(frozen=True)
class Machine:
    """This machine, on which trials run unless there is a cluster."""

    cpus: int
    gpus: int | None  # None: cannot be counted
    cluster: str | None = None
    """Address of the cluster; its resources are known only after connecting."""

    def holds(self, needed: Resources) -> int | None:
        """How many trials fit at once; None: not known."""
        if self.cluster is not None or (needed.gpus_per_worker and self.gpus is None):
            return None
        return trials_that_fit([(self.cpus, self.gpus or 0)], needed)


def this_machine() -> Machine:
    """The same counts as Ray's, which take seconds to get."""
    gpus: int | None = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if Path("/dev/dxg").exists() and not gpus:  # WSL shares the GPU of Windows without a number
        gpus = None
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None and gpus is not None:
        gpus = min(gpus, len([name for name in visible.split(",") if name.strip()]))
    return Machine(usable_cpus(), gpus, cluster_address())
