"""The trials of a sweep by state: finished, started, trained but not measured, not started.

Reads the store's records of trials; does not know how long anything takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from comodo.config import Sweep
from comodo.config.space import Point
from comodo.core.store import Store
from comodo.report.plan.inventory import Inventory
from comodo.search.ledger import Ledger
from comodo.search.precheck import evaluation_of
from comodo.search.records import TrainedRecord, read_asked
from comodo.search.trial import Trial


@dataclass(frozen=True)
class TrialStates:
    """How far a sweep has got."""

    planned: list[Trial]
    """All trials of a grid with its references; of a search, those known so far."""
    done: int
    half_done: int
    """Trials with a checkpoint."""
    to_measure: list[Trial]
    """Trained already."""
    left: int
    """Trials to run or to measure; a search's references are not counted."""
    to_estimate: list[Trial]
    """Trials to train; of a search one trial of each kind that it may propose."""

    @property
    def to_train(self) -> int:
        return self.left - len(self.to_measure)


def trial_states(sweep: Sweep, store: Store, inventory: Inventory) -> TrialStates:
    """Looks up in the store how far each trial has got."""
    datasets, arrays = inventory.datasets, inventory.arrays
    packed = {name: dataset.packed for name, dataset in datasets.items()}
    prepared = {n: d.ready.classes.get("train", {}) for n, d in datasets.items() if d.ready}
    evaluation = evaluation_of(sweep, packed, prepared)
    ledger = Ledger(sweep, store, arrays, evaluation)

    def trials_at(points: Iterable[Point], seeds: list[int]) -> list[Trial]:
        trials = [
            Trial(config, seed, *arrays[config.dataset, config.teacher], evaluation)
            for config in map(sweep.with_values, points)
            for seed in seeds
        ]
        return list({trial.key: trial for trial in trials}.values())

    proposed = planned = ledger.planned()
    if is_search := sweep.search.sampler != "grid":
        # The ledger knows only trials that are over; asked.json has the others.
        points = [a.values for a in read_asked(ledger.folder) if a.values in sweep.space]
        proposed = trials_at(points, sweep.seeds)
    to_train: list[Trial] = []
    to_measure: list[Trial] = []
    for trial in proposed:
        if not ledger.is_over(trial):
            trained = (store.folder("trials", trial.key) / TrainedRecord.FILE).exists()
            (to_measure if trained else to_train).append(trial)
    begun = {path.parent.name for path in store.files("trials", "*/checkpoint.pt")}
    half_done = sum(trial.key in begun for trial in to_train)
    if not is_search:
        left = len(to_train) + len(to_measure)
        return TrialStates(planned, ledger.done(), half_done, to_measure, left, to_train)
    kinds = trials_at(sweep.points(), sweep.seeds[:1])
    methods = {trial.config.method.name for trial in kinds}
    done = sum(ledger.is_over(t) and t.config.method.name in methods for t in planned)
    left = max(len(to_measure), (sweep.budget.trials or 0) - done)
    return TrialStates(planned, done, half_done, to_measure, left, kinds)
