"""Which trials run, what is told to the search, and what a second run finds."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import Sweep, load_sweep
from comodo.ledger import Ledger
from comodo.store import Store, write_json
from comodo.trial import Evaluation, Trial
from tests.test_config import sweep_file


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def ledger_of(sweep: Sweep, store: Store) -> Ledger:
    pairs = {(t.dataset, t.teacher) for t in map(sweep.with_values, sweep.points())}
    return Ledger(sweep, store, dict.fromkeys(pairs, ("w", "f")), Evaluation())


def grid(tmp_path: Path, **changes: Any) -> Sweep:
    changes = {"search__space": {"method.queue_size": [8, 16]}, "seeds": [0, 1], **changes}
    return load_sweep(sweep_file(tmp_path, **changes))


def finish(store: Store, trial: Trial, accuracy: float = 0.5) -> None:
    folder = store.folder("trials", trial.key)
    write_json(folder / "trained.json", {"history": []})
    for _, _, place in trial.measures():
        write_json(folder / f"{place}.json", {"val/acc1": accuracy})


def drain(ledger: Ledger) -> list[Trial]:
    asked = []
    while (trial := ledger.next_trial()) is not None:
        asked.append(trial)
    return asked


def test_each_seed_once_with_one_untrained_student_beside(tmp_path: Path, store: Store) -> None:
    asked = drain(ledger_of(grid(tmp_path), store))
    methods = [trial.config.method.name for trial in asked]
    assert methods == ["none", "none", "comodo", "comodo", "comodo", "comodo"]
    assert len({trial.key for trial in asked}) == 6
    alone = drain(ledger_of(grid(tmp_path, references=[]), store))
    assert [trial.config.method.name for trial in alone] == ["comodo"] * 4
    swept = grid(tmp_path, references=["supervised"], search__space={"learning_rate": [1e-3, 1e-2]})
    twins = [t for t in drain(ledger_of(swept, store)) if t.config.method.name == "supervised"]
    assert [(t.seed, t.config.learning_rate) for t in twins] == [(0, 3e-4), (1, 3e-4)]


def test_finished_trials_are_read_not_run(tmp_path: Path, store: Store) -> None:
    sweep = grid(tmp_path)
    first = drain(ledger_of(sweep, store))
    for trial in first[:4]:
        finish(store, trial)
    second = ledger_of(sweep, store)
    assert drain(second) == first[4:]
    assert second.done() == 4
    assert [trial.key for trial in second.unfinished()] == [trial.key for trial in first[4:]]


def test_pruned_stays_pruned_and_failed_is_tried_again(tmp_path: Path, store: Store) -> None:
    sweep = grid(tmp_path, early_stopping={"name": "asha"})
    ledger = ledger_of(sweep, store)
    asked = drain(ledger)
    for trial in asked[:4]:
        finish(store, trial)
        ledger.end(trial, "finished", "")
    ledger.end(asked[4], "pruned", "slow")
    ledger.end(asked[5], "failed", "NaN")
    assert drain(ledger_of(sweep, store)) == [asked[5]]
    patient = drain(ledger_of(grid(tmp_path), store))
    assert [trial.key for trial in patient] == [trial.key for trial in asked[4:]]


class Notes:
    """Proposals that are asked twice and remember what they are told."""

    def __init__(self) -> None:
        self.points = [{"epochs": 1}, {"epochs": 2}]
        self.told: list[tuple[dict[str, Any], float | None]] = []

    def ask(self) -> dict[str, Any] | None:
        return self.points.pop(0) if self.points else None

    def tell(self, values: dict[str, Any], score: float | None) -> None:
        self.told.append((values, score))


def test_a_search_is_told_means_over_seeds_and_failures(tmp_path: Path, store: Store) -> None:
    search = {"sampler": "random", "space": {"epochs": [1, 2]}}
    file = sweep_file(tmp_path, search=search, seeds=[0, 1], budget={"trials": 4})
    ledger = ledger_of(load_sweep(file), store)
    notes = Notes()
    ledger._proposals = notes
    *untrained, a, b, c, d = drain(ledger)
    assert len(untrained) == 2
    for trial, accuracy in ((b, 0.4), (a, 0.6), (c, 0.9)):
        finish(store, trial, accuracy)
        ledger.end(trial, "finished", "")
    assert notes.told == [({"epochs": 1}, 0.5)]
    ledger.end(d, "failed", "the loss became nan")
    assert notes.told[1] == ({"epochs": 2}, None)
