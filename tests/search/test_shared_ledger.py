"""Several drivers of one sweep, each in a process of its own, as on machines that share a disk."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from comodo.config import Sweep
from comodo.config.space import canonical
from comodo.core.store import Store, read_json, write_json
from comodo.search.ledger import Ledger
from comodo.search.records import read_asked, read_ended
from comodo.search.shared_ledger import SharedLedger, forget_failures
from comodo.search.trial import Evaluation
from tests.helpers import forkserver
from tests.search.test_ledger import finish, grid, search

LIMIT = 400  # seconds, on a busy machine


def shared(sweep: Sweep, store: Store) -> SharedLedger:
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    return SharedLedger(sweep, store, pairs, Evaluation(), leads=False)


def own(sweep: Sweep, store: Store) -> Ledger:
    pairs = dict.fromkeys(sweep.trained_on(), ("w", "f"))
    return Ledger(sweep, store, pairs, Evaluation())


def drive(
    make: Callable[[Sweep, Store], Ledger],
    sweep: Sweep,
    folder: Path,
    name: str,
    drivers: int,
) -> None:
    """Runs trials, each a moment long, while there are any; writes the keys of those that it ran.
    Of a search each second configuration fails."""
    store = Store(folder)
    ledger, ran = make(sweep, store), []
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ready").touch()
    while len(list(folder.glob("*.ready"))) < drivers:  # so that none has done all before
        time.sleep(0.02)
    while (trial := ledger.next_trial()) is not None or ledger.elsewhere:
        if trial is None:
            time.sleep(0.05)
            continue
        ran.append(trial.key)
        time.sleep(0.05)
        if sweep.search.sampler != "grid" and trial.config.epochs % 2:
            ledger.end(trial, "failed", "odd")
        else:
            finish(store, trial, accuracy=trial.config.epochs / 1000)
            ledger.end(trial, "finished", "")
        write_json(folder / f"{name}.ran", ran)
    ledger.release()


def started(
    make: Callable[[Sweep, Store], Ledger], sweep: Sweep, folder: Path, drivers: int
) -> list[BaseProcess]:
    context = forkserver()
    processes: list[BaseProcess] = []
    for number in range(drivers):
        processes.append(
            context.Process(target=drive, args=(make, sweep, folder, f"d{number}", drivers))
        )
        processes[-1].start()
    return processes


def run(make: Callable[[Sweep, Store], Ledger], sweep: Sweep, folder: Path, drivers: int) -> None:
    for process in started(make, sweep, folder, drivers):
        process.join(LIMIT)
        assert process.exitcode == 0


def ran(folder: Path) -> Counter[str]:
    """How often each trial was run."""
    return Counter(key for path in folder.glob("*.ran") for key in read_json(path))


@pytest.mark.slow
def test_a_grid_is_run_once_by_three_drivers(tmp_path: Path) -> None:
    sweep = grid(tmp_path, search__space={"method.queue_size": [8, 16, 32]}, seeds=[0, 1, 2])
    folder = tmp_path / "store"
    run(shared, sweep, folder, drivers=3)
    counts = ran(folder)
    assert set(counts.values()) == {1}
    whole = own(sweep, Store(folder))
    assert whole.next_trial() is None and whole.done() == len(counts) == len(whole.planned())
    assert len(list(folder.glob("*.ran"))) > 1, "one driver did all"
    assert not list(folder.glob("trials/*/driver.json")), "claims are left"


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("random", marks=pytest.mark.slow)])
def test_a_search_proposes_its_budget_once(tmp_path: Path, sampler: str) -> None:
    space = {"epochs": {"min": 1, "max": 999, "integer": True}}
    changes = {"search__sampler": sampler, "budget": {"trials": 24}, "references": []}
    sweep = search(tmp_path, space, **changes)
    folder = tmp_path / "store"
    run(shared, sweep, folder, drivers=3)
    asked = read_asked(folder / "sweeps" / sweep.name)
    assert len(asked) == len({canonical(one.values) for one in asked}) == 12
    assert ran(folder) == Counter(key for one in asked for key in one.trials)
    odd = {key for one in asked if one.values["epochs"] % 2 for key in one.trials}
    assert read_ended(folder / "sweeps" / sweep.name).keys() == odd, "an end was lost"


def test_a_failed_trial_is_tried_again_by_a_new_run_only(tmp_path: Path) -> None:
    sweep = search(tmp_path, {"epochs": [1]}, seeds=[0], budget={"trials": 1}, references=[])
    store = Store(tmp_path / "store")
    first = shared(sweep, store)
    trial = first.next_trial()
    assert trial is not None
    first.end(trial, "failed", "out of memory")
    assert shared(sweep, store).next_trial() is None, "tried again by a driver that joins the run"
    forget_failures(sweep, store)
    again = shared(sweep, store)
    assert again.next_trial() == trial
    again.end(trial, "failed", "out of memory")
    assert first.next_trial() is None and shared(sweep, store).next_trial() is None


def test_trials_of_a_driver_that_is_gone_are_run_by_the_others(tmp_path: Path) -> None:
    sweep = grid(tmp_path, seeds=[0, 1])
    folder = tmp_path / "store"
    gone = started(_claim_and_wait, sweep, folder, 1)[0]
    began = time.monotonic()
    while not list(folder.glob("trials/*/driver.json")):
        assert time.monotonic() - began < LIMIT
        time.sleep(0.05)
    assert gone.pid is not None
    first = shared(sweep, Store(folder))
    trials = []
    while (trial := first.next_trial()) is not None:
        trials.append(trial)
    assert len(first.elsewhere) == 1 and trials
    os.kill(gone.pid, signal.SIGKILL)
    gone.join()
    trial = first.next_trial()
    assert trial is not None and not first.elsewhere
    assert trial.key not in {one.key for one in trials}
    first.release()


def _claim_and_wait(sweep: Sweep, store: Store) -> Ledger:
    assert shared(sweep, store).next_trial() is not None
    time.sleep(LIMIT)
    raise AssertionError("it was to be killed")
