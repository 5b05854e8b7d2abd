"""What the trials of each round get: resources of the cluster, and a GPU's share by what earlier
trials needed.

Tune keeps the finished trials of a run in memory, some 80 KB each, and goes through them all at
every step. So the trials run in rounds, each a Tuner of its own. At the end of a round, places stay
empty until its last trial has ended: half a trial per place if trials take equally long, which is
one percent of a round with 50 trials per place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from comodo.config import Resources, TrialConfig
from comodo.core.console import console
from comodo.runtime.cluster import Capacity, concurrent_trials
from comodo.search.capacity import gpu_share, resolved
from comodo.search.ledger import Ledger
from comodo.search.records import TrainedRecord

ROUND_TRIALS_PER_PLACE = 50
# Rounds of one trial per place, while the memory of a student is not known.
MAX_SHORT_ROUNDS = 3


@dataclass(frozen=True)
class Round:
    """A number of trials that get the same resources."""

    resources: Resources
    concurrent: int
    trials: int


class Rounds:
    """The rounds of one run of a sweep, each chosen when it begins."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._short, self._shown = ledger, 0, ""

    def next(self) -> Round:
        """The next round; prints how many trials run at once when that changes. Raises ClusterError
        if the cluster has no room for a trial."""
        requested, gpus = self._ledger.sweep.resources, Capacity().gpus
        share: float | None = 1.0
        if requested.gpus_per_worker == "auto" and gpus and requested.workers == 1:
            share = gpu_share(self._ledger.sweep, self._measured())
        resources = resolved(requested, gpus, share or 1.0)
        concurrent = concurrent_trials(resources)
        each = f", each on {resources.gpus:g} GPU" if resources.gpus else ""
        if (places := f"up to {concurrent} trials at once{each}") != self._shown:
            console.print(places)
            self._shown = places
        is_short = share is None and self._short < MAX_SHORT_ROUNDS
        self._short += is_short
        return Round(
            resources, concurrent, concurrent * (1 if is_short else ROUND_TRIALS_PER_PLACE)
        )

    def _measured(self) -> Iterator[tuple[TrialConfig, int, int]]:
        for trial in self._ledger.trials.values():
            record = TrainedRecord.find(self._ledger.store.folder("trials", trial.key))
            if record is not None and record.gpu_memory and record.peak_memory:
                yield trial.config, record.peak_memory["cuda"], record.gpu_memory
