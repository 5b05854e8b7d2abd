"""The ledger of a sweep that several drivers run at once, on any machines that see the store.

Each trial is run by the driver that has its claim, a lease in the trial's folder: a driver that is
gone loses its claims, and the others take its trials over. What the drivers propose and how trials
end is in the same files as that of a single driver. They are read before each proposal and each
change, by one driver at a time: so the drivers together propose as many configurations as one
would, none of them twice, each from all results that are stored by then.

A trial that fails is tried again by a new run of the sweep, not by drivers that join the same run:
the driver that begins a run calls `forget_failures`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from comodo.config import Sweep
from comodo.config.space import canonical
from comodo.core.lease import Lease
from comodo.core.store import Store, fetched
from comodo.search import records
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation, Trial
from comodo.search.warm_start import Arrays

CLAIM_FILE = "driver.json"  # in a trial's folder; its lease.json is that of the process that trains
ALONE_FILE = "ledger.json"  # in the sweep's folder: the lease of the driver that changes the files
RETRY_SECONDS = 0.2  # while another driver changes the files, which takes milliseconds


def forget_failures(sweep: Sweep, store: Store) -> None:
    """Removes the records of trials that a new run tries again: failed ones, and those pruned by a
    stricter rule than that of the sweep now."""
    with _alone(sweep, store):
        folder = fetched(store.folder("sweeps", sweep.name), records.ENDED_FILE)
        ends = records.read_ended(folder)
        kept = records.still_pruned(ends, sweep.early_stopping)
        if kept != ends:
            records.write_ended(folder, kept)


@contextmanager
def _alone(sweep: Sweep, store: Store) -> Iterator[None]:
    """No other driver changes the sweep's files while the block runs."""
    lease = Lease(store, "sweeps", sweep.name, ALONE_FILE)
    while not lease.take():
        time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        lease.release()


class SharedLedger(Ledger):
    """As `Ledger`; `leads`: whether this driver has the sweep's lease. `elsewhere` has the trials
    that other drivers run."""

    def __init__(
        self, sweep: Sweep, store: Store, arrays: Arrays, evaluation: Evaluation, leads: bool
    ) -> None:
        super().__init__(sweep, store, arrays, evaluation)
        self.leads = leads
        self._claims: dict[str, Lease] = {}  # tried or held, by trial
        self._held: set[str] = set()  # trials whose claim this driver has

    def record_keys(self) -> None:
        with self._alone():
            super().record_keys()

    def next_trial(self) -> Trial | None:
        """As `Ledger.next_trial`, of the trials that no other driver has claimed; None also while
        others run all that are left (`elsewhere`)."""
        with self._alone():
            while (trial := super().next_trial()) is not None:
                if self.is_over(trial):
                    self._settle_all(trial)
                elif self._claim(trial):
                    return trial
                else:
                    self.elsewhere[trial.key] = trial
            for trial in list(self.elsewhere.values()):  # of drivers that are gone
                if self._claim(trial):
                    del self.elsewhere[trial.key]
                    return trial
        return None

    def end(
        self, trial: Trial, state: str, reason: str, reached: tuple[int, float] | None = None
    ) -> None:
        with self._alone():
            super().end(trial, state, reason, reached)
        self._release(trial.key)

    def unfinished(self) -> list[Trial]:
        """Without those that other drivers run."""
        return [trial for trial in super().unfinished() if trial.key not in self.elsewhere]

    def release(self) -> None:
        """Gives back the claims of trials that have not ended."""
        for key in list(self._held):
            self._release(key)

    def _still_ended(self) -> records.Ends:
        return dict(self._ends)

    def _claim(self, trial: Trial) -> bool:
        """Whether this driver has the trial's claim now."""
        if trial.key not in self._held:
            claim = Lease(self.store, "trials", trial.key, CLAIM_FILE)
            if self._claims.setdefault(trial.key, claim).take():
                self._held.add(trial.key)
        return trial.key in self._held

    def _release(self, key: str) -> None:
        self._held.discard(key)
        if (claim := self._claims.pop(key, None)) is not None:
            claim.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """As the function `_alone`; this ledger has read the files."""
        with _alone(self.sweep, self.store):
            self._read_others()
            yield

    def _read_others(self) -> None:
        """What other drivers have proposed and ended since this was last read."""
        folder = fetched(self.folder, records.ASKED_FILE, records.ENDED_FILE)
        for asked in records.read_asked(folder):
            if canonical(asked.values) not in self._asked:
                self._asked[canonical(asked.values)] = asked
                if asked.values in self.sweep.space:
                    self._proposals.adopt(asked.values)
        before, self._ends = self._ends, records.read_ended(folder)
        self.ended |= {key: end for key, end in self._ends.items() if before.get(key) != end}
        self.store.fetch("trials", self.elsewhere.keys(), "**/*.json")
        for trial in list(self.elsewhere.values()):
            if self.is_over(trial):
                del self.elsewhere[trial.key]
                self._settle_all(trial)

    def _settle_all(self, trial: Trial) -> None:
        for configuration in list(self._open.get(trial.key, ())):
            self._settle(configuration)
