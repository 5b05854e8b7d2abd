"""What Ray Tune is told to do with trials."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from comodo.config import ConfigError, Resources, read_sweep_file
from comodo.core.store import Store
from comodo.runtime.tune import LedgerSearcher, StudentsASHA, _scheduler
from comodo.search.budget import BudgetTracker
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation
from tests.config.test_load import sweep_file

TRAINED = 6  # epochs


@dataclass
class TuneTrial:
    """What a scheduler looks at of Tune's trial."""

    trial_id: str
    config: dict[str, Any]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    file = sweep_file(
        tmp_path,
        search__space={"method.queue_size": [8, 16]},
        trial__epochs=TRAINED,
        references=["none", "supervised"],
        early_stopping={"name": "asha", "grace_epochs": 3, "reduction_factor": 2},
    )
    sweep = read_sweep_file(file)
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    return Ledger(sweep, Store(tmp_path / "store"), pairs, Evaluation())


def asked(ledger: Ledger) -> list[TuneTrial]:
    searcher = LedgerSearcher(ledger, BudgetTracker(ledger.sweep, ledger.folder), Resources(), "")
    configs = iter(lambda: searcher.suggest("t"), Searcher.FINISHED)
    return [TuneTrial(config["key"], config) for config in configs]


def decide(asha: StudentsASHA, trial: TuneTrial, epoch: int, accuracy: float) -> str:
    result = {"epoch": epoch, "val/quick_acc1": accuracy, "train/loss": 1.0}
    return asha.on_trial_result(SimpleNamespace(), trial, result)


@pytest.mark.parametrize("stops_early", [True, False])
def test_the_process_of_a_trial_that_ended_is_for_one_that_waits_for_none(
    ledger: Ledger, stops_early: bool
) -> None:
    sweep = ledger.sweep.model_copy(update={} if stops_early else {"early_stopping": None})
    ended, waiting, running, new, last = (
        SimpleNamespace(trial_id=str(number), status="PENDING") for number in range(5)
    )
    trials, scheduler = [ended, waiting, running], _scheduler(sweep)
    tune = SimpleNamespace(get_trials=lambda: trials)
    assert [scheduler.choose_trial_to_run(tune) for _ in trials] == trials
    assert scheduler.choose_trial_to_run(tune) is None
    ended.status, running.status = "TERMINATED", "RUNNING"
    trials += [new, last]  # while a process starts for `waiting`
    assert [scheduler.choose_trial_to_run(tune) for _ in range(3)] == [new, last, None]


def test_references_are_neither_judged_nor_judged_by(ledger: Ledger) -> None:
    asha = _scheduler(ledger.sweep)
    assert isinstance(asha, StudentsASHA)
    _, supervised, one, other = trials = asked(ledger)
    assert [t.config["judged"] for t in trials] == [False, False, True, True]
    for trial in trials:
        asha.on_trial_add(SimpleNamespace(), trial)
    assert decide(asha, supervised, 3, 0.9) == asha.CONTINUE
    asha.on_trial_complete(SimpleNamespace(), supervised, {"epoch": 6, "val/quick_acc1": 0.9})
    assert decide(asha, one, 3, 0.4) == asha.CONTINUE
    assert decide(asha, supervised, 3, 0.1) == asha.CONTINUE
    assert decide(asha, other, 3, 0.3) == asha.STOP


def test_a_trial_at_its_last_epoch_is_measured(ledger: Ledger) -> None:
    asha = _scheduler(ledger.sweep)
    assert isinstance(asha, StudentsASHA)
    *_, one, other = asked(ledger)
    for trial in (one, other):
        asha.on_trial_add(SimpleNamespace(), trial)
    for epoch in (3, TRAINED):  # both are rungs
        assert decide(asha, one, epoch, 0.2 * epoch) == asha.CONTINUE
    assert decide(asha, other, 3, 0.7) == asha.CONTINUE
    assert decide(asha, other, TRAINED, 0.7) == asha.CONTINUE


def test_a_space_of_impossible_trials_stops_the_sweep_where_it_can_go_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = BudgetTracker(ledger.sweep, ledger.folder)

    def refuse() -> None:
        raise ConfigError("search.space.epochs", "search.space.epochs: odd")

    monkeypatch.setattr(ledger, "next_trial", refuse)
    assert LedgerSearcher(ledger, limits, Resources(), "").suggest("t") == Searcher.FINISHED
    assert limits.reason == "search.space.epochs: odd"
